"""Two hosts with a router between them, as network namespaces: a cut that both kernels survive."""

import contextlib
import ctypes
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Self

CLONE_NEWNET = 0x40000000
NAMESPACES = Path("/run/netns")
# `ip netns exec` mounts the files of a namespace over those of /etc.
FILES = Path("/etc/netns")
SERVER = "10.203.2.2"
# imagegen takes http only for its own host, so the server has its name there.
NAME = "localhost"
# The kernel retransmits as it does to a server that is 100 ms away.
RTO_MIN = "300ms"

LINKS = """
-n {router} link add client type veth peer name eth0 netns {client}
-n {router} link add server type veth peer name eth0 netns {server}
-n {router} address add 10.203.1.1/24 dev client
-n {router} address add 10.203.2.1/24 dev server
-n {client} address add 10.203.1.2/24 dev eth0
-n {server} address add {address}/24 dev eth0
-n {router} link set client up
-n {router} link set server up
-n {client} link set lo up
-n {client} link set eth0 up
-n {server} link set eth0 up
-n {client} route add default via 10.203.1.1 rto_min {rto_min}
-n {server} route add default via 10.203.2.1 rto_min {rto_min}
"""


def obstacle() -> str | None:
    """Return why there can be no namespaces here, if so."""
    if shutil.which("ip") is None:
        return "the program `ip` is missing (Debian's package iproute2)"
    if os.geteuid() != 0:
        return "only root may make network namespaces"
    probe = f"imagegen-probe-{os.getpid()}"
    done = subprocess.run(
        ["ip", "netns", "add", probe], capture_output=True, text=True, check=False
    )
    if done.returncode == 0:
        ip("netns", "delete", probe)
        return None
    return f"this kernel gives no network namespaces: {done.stderr.strip()}"


class Network:
    """The namespaces, which are removed on exit."""

    def __init__(self) -> None:
        names = ("client", "router", "server")
        self._names = {name: f"imagegen-{os.getpid()}-{name}" for name in names}

    def __enter__(self) -> Self:
        with contextlib.ExitStack() as undo:
            for name in self._names.values():
                ip("netns", "add", name)
                undo.callback(ip, "netns", "delete", name)
            commands = LINKS.format(**self._names, address=SERVER, rto_min=RTO_MIN)
            for command in commands.strip().splitlines():
                ip(*command.split())
            files = FILES / self._names["client"]
            files.mkdir(parents=True)
            undo.callback(shutil.rmtree, files)
            (files / "hosts").write_text(f"{SERVER} {NAME}\n")
            self._forward(True)
            self._undo = undo.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._undo.close()

    @property
    def launcher(self) -> list[str]:
        """The beginning of a command that runs on the client's side."""
        return ["ip", "netns", "exec", self._names["client"]]

    @contextlib.contextmanager
    def inside(self, name: str) -> Iterator[None]:
        """Sockets that this thread makes belong to a namespace, also when it has left again."""
        own = Path("/proc/thread-self/ns/net")
        with own.open() as before, (NAMESPACES / self._names[name]).open() as there:
            _enter(there.fileno())
            try:
                yield
            finally:
                _enter(before.fileno())

    @contextlib.contextmanager
    def cut(self) -> Iterator[None]:
        """The router drops every packet, and says nothing."""
        self._forward(False)
        try:
            yield
        finally:
            self._forward(True)

    def _forward(self, on: bool) -> None:
        with self.inside("router"):
            Path("/proc/sys/net/ipv4/ip_forward").write_text(str(int(on)))


def ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True)


def _enter(namespace: int) -> None:
    if ctypes.CDLL(None, use_errno=True).setns(namespace, CLONE_NEWNET):
        raise OSError(ctypes.get_errno(), "setns")
