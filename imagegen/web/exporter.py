"""The process that serves the status page, /metrics, /healthz and /readyz."""

import errno
import ipaddress
import socket
import threading
from collections.abc import Callable
from contextlib import ExitStack, suppress
from pathlib import Path

from prometheus_client import CollectorRegistry

from imagegen.config import Settings
from imagegen.errors import CannotStartError
from imagegen.metrics.shared_memory import SharedCollector
from imagegen.web.app import App
from imagegen.web.database_thread import NO_ANSWER, DatabaseThread
from imagegen.web.image_files import ImagesApp
from imagegen.web.server import Server
from imagegen.web.stats import check_tables

# How long a database that is away may delay the workers' start.
CONNECT_SECONDS = 1.0
# Enough for 50 MB to a next stage over a slow line.
IMAGE_SECONDS = 300.0
ANY_ADDRESS = "::"
ANY_IPV4_ADDRESS = "0.0.0.0"  # noqa: S104 (for a kernel without IPv6)
NO_HOST = "name an address of this host in --{0}-host (IMAGEGEN_{1}_HOST)"
NO_PORT = "choose another --{0}-port (IMAGEGEN_{1}_PORT; 0 takes a free one)"


def listen(host: str, port: int, what: str = "metrics") -> socket.socket:
    """Return a listening socket for the exporter; `what` is `metrics` or `images`.

    The socket outlives a restart of the exporter. The host `::` stands for all addresses of this
    host, of IPv4 too. Raises CannotStartError.
    """
    message = f"cannot serve {what} on {host}:{port}"
    no_host, no_port = (each.format(what, what.upper()) for each in (NO_HOST, NO_PORT))
    if host == ANY_ADDRESS and not socket.has_dualstack_ipv6():
        host = ANY_IPV4_ADDRESS
    try:
        family, kind, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with ExitStack() as undo:
            listening = undo.enter_context(socket.socket(family, kind))
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if host == ANY_ADDRESS:  # whatever net.ipv6.bindv6only is
                listening.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
            listening.bind(address)
            listening.listen()
            undo.pop_all()
    except UnicodeError:  # a part of it is too long, or empty
        raise CannotStartError(f"{message}: no host has such a name", no_host) from None
    except OSError as error:
        is_host = isinstance(error, socket.gaierror) or error.errno == errno.EADDRNOTAVAIL
        raise CannotStartError(
            f"{message}: {error.strerror}", no_host if is_host else no_port
        ) from None
    return listening


def serve(
    listening: socket.socket,
    settings: Settings,
    name: str,
    heartbeat: Callable[[], None],
    supervisor_silent_seconds: Callable[[], float],
    *,
    images: socket.socket | None = None,
) -> None:
    """Serve on sockets that listen already, until a signal ends the process.

    `images` is the socket of the port that serves copies of images, if there is one.

    `heartbeat` is called twice a second while it serves. `supervisor_silent_seconds` is the time
    since the supervisor's loop last went round.
    """
    process_registry = CollectorRegistry()
    process_registry.register(SharedCollector())
    database = DatabaseThread(settings.database_url, name)
    with suppress(*NO_ANSWER):  # connect before the workers, which start at the first heartbeat
        database.ask(check_tables, CONNECT_SECONDS)
    heartbeat()
    if images is not None and isinstance(settings.keep_images, Path):
        of_images = Server(
            images, ImagesApp(settings.keep_images), lambda: None, whole_seconds=IMAGE_SECONDS
        )
        threading.Thread(target=of_images.serve_forever, name="images", daemon=True).start()
    address = ipaddress.ip_address(listening.getsockname()[0])
    app = App(
        settings,
        name,
        process_registry,
        database,
        supervisor_silent_seconds,
        is_loopback=address.is_loopback,
    )
    Server(listening, app, heartbeat).serve_forever()
