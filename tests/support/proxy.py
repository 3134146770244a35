"""A TCP proxy whose connections can be made to hang, as a firewall or a dead host makes them."""

import contextlib
import socket
import threading
import time
from typing import Self


class Proxy:
    """Passes bytes on to a port of this machine until it is frozen."""

    def __init__(self, target_port: int, *, host: str = "127.0.0.1", port: int = 0) -> None:
        """It listens on `host` and `port`; 0 takes a free one."""
        self.target_port = target_port
        self.delay_seconds = 0.0  # of each piece, in either direction
        self._flowing = threading.Event()
        self._flowing.set()
        self._listening = socket.create_server((host, port))
        self.port: int = self._listening.getsockname()[1]

    def __enter__(self) -> Self:
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._flowing.set()
        self._listening.close()

    def freeze(self) -> None:
        """Connections stay, and nothing comes through; new ones are accepted and get no answer."""
        self._flowing.clear()

    def freeze_those_there(self) -> None:
        """The connections that there are hang for good; new ones work."""
        self._flowing.clear()
        self._flowing = threading.Event()
        self._flowing.set()

    def thaw(self) -> None:
        self._flowing.set()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):  # closed
            while True:
                client, _ = self._listening.accept()
                threading.Thread(target=self._connect, args=(client,), daemon=True).start()

    def _connect(self, client: socket.socket) -> None:
        with (
            contextlib.suppress(ConnectionRefusedError),  # nobody is there: the client is cut off
            client,
            socket.create_connection(("127.0.0.1", self.target_port)) as server,
        ):
            flowing = self._flowing
            back = threading.Thread(
                target=self._pass_on, args=(server, client, flowing), daemon=True
            )
            back.start()
            self._pass_on(client, server, flowing)
            back.join()

    def _pass_on(
        self, source: socket.socket, sink: socket.socket, flowing: threading.Event
    ) -> None:
        with contextlib.suppress(OSError):  # one side is gone
            while data := source.recv(65536):
                time.sleep(self.delay_seconds)
                flowing.wait()
                sink.sendall(data)
        with contextlib.suppress(OSError):
            sink.shutdown(socket.SHUT_WR)
