"""The process that serves the status page, /metrics, /healthz and /readyz."""

import errno
import ipaddress
import socket
from collections.abc import Callable
from contextlib import ExitStack, suppress

from prometheus_client import CollectorRegistry

from imagegen.config import Settings
from imagegen.errors import CannotStartError
from imagegen.metrics.shared_memory import SharedCollector
from imagegen.web.app import App
from imagegen.web.database_thread import NO_ANSWER, DatabaseThread
from imagegen.web.server import Server
from imagegen.web.stats import check_tables

# How long the workers' start is put off by a database that is away.
CONNECT_SECONDS = 1.0
NO_HOST = "name an address of this host in --metrics-host (IMAGEGEN_METRICS_HOST)"
NO_PORT = "choose another --metrics-port (IMAGEGEN_METRICS_PORT; 0 takes a free one)"


def listen(host: str, port: int) -> socket.socket:
    """Return the exporter's socket, which outlives a restart of it. Raises CannotStartError."""
    message = f"cannot serve metrics on {host}:{port}"
    try:
        family, kind, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with ExitStack() as undo:
            listening = undo.enter_context(socket.socket(family, kind))
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listening.bind(address)
            listening.listen()
            undo.pop_all()
    except UnicodeError:  # a part of it is too long, or empty
        raise CannotStartError(f"{message}: no host has such a name", NO_HOST) from None
    except OSError as error:
        is_host = isinstance(error, socket.gaierror) or error.errno == errno.EADDRNOTAVAIL
        raise CannotStartError(
            f"{message}: {error.strerror}", NO_HOST if is_host else NO_PORT
        ) from None
    return listening


def serve(
    listening: socket.socket,
    settings: Settings,
    name: str,
    heartbeat: Callable[[], None],
    supervisor_silent_seconds: Callable[[], float],
) -> None:
    """Serve on a socket that listens already, until a signal ends the process.

    `heartbeat` is called twice a second while it serves. `supervisor_silent_seconds` is the time
    since the supervisor's loop last went round.
    """
    process_registry = CollectorRegistry()
    process_registry.register(SharedCollector())
    database = DatabaseThread(settings.database_url, name)
    with suppress(*NO_ANSWER):  # connect before the workers, which start at the first heartbeat
        database.ask(check_tables, CONNECT_SECONDS)
    heartbeat()
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
