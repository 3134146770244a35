"""What `imagegen supervise` and `imagegen worker` are made of, put together."""

import os
import secrets
import signal
import socket
from functools import partial
from types import FrameType
from typing import TYPE_CHECKING

from imagegen import database, logs, metric_files
from imagegen.logs import log
from imagegen.settings import CONFIGURATION, Settings

if TYPE_CHECKING:
    from imagegen.child import Life
    from imagegen.worker import Worker


class CannotStartError(Exception):
    """Something that the program needs is not there; the message names it and the mend."""


def supervise(settings: Settings) -> int:
    """Run the exporter and the workers until told to stop; returns the exit code.

    Everything that can be wrong is found before the first fork. Raises CannotStartError,
    database.NotMigratedError or one of database.AWAY.
    """
    _configure_logs(settings, "supervisor")
    _check_database(settings)
    _check_certificates()
    listening = _listen(settings.metrics_host, settings.metrics_port)
    host, port = listening.getsockname()[:2]
    log.info("exporter.listening", extra={"url": f"http://{host}:{port}/metrics"})
    folder = metric_files.share()
    try:
        return _supervise(settings, listening)
    finally:
        metric_files.remove(folder)


def _supervise(settings: Settings, listening: socket.socket) -> int:
    # Imported once here, for all children, and only now: metrics are made when they are imported.
    from imagegen import exporter, worker  # noqa: F401, PLC0415
    from imagegen.child import Child  # noqa: PLC0415
    from imagegen.supervisor import Supervisor  # noqa: PLC0415

    def make_worker(slot: int) -> Child:
        role = f"worker-{slot}"
        return Child(role, partial(_work_as_child, settings, listening, role))

    supervisor = Supervisor(
        Child("exporter", partial(_export, settings, listening)),
        make_worker,
        workers=settings.procs,
        name=_unique_name(),
        grace_seconds=settings.grace_seconds,
        watchdog_seconds=settings.watchdog_seconds,
    )
    return supervisor.run()


def work(settings: Settings) -> None:
    """Run one worker in the foreground, without a supervisor or an exporter."""
    _configure_logs(settings, "worker")
    _check_certificates()
    from imagegen.worker import Worker  # noqa: PLC0415

    _check_database(settings)
    worker = Worker(settings, slot="worker", name=_unique_name())
    _run_until_stopped(worker, [signal.SIGTERM, signal.SIGINT])


def _export(settings: Settings, listening: socket.socket, life: "Life") -> None:
    from imagegen import exporter  # noqa: PLC0415

    _configure_logs(settings, "exporter")
    exporter.serve(listening, settings, life.name, life.beat)


def _work_as_child(settings: Settings, listening: socket.socket, role: str, life: "Life") -> None:
    from imagegen.worker import Worker  # noqa: PLC0415

    listening.close()
    _configure_logs(settings, role)
    worker = Worker(
        settings, slot=role, name=life.name, predecessor=life.predecessor, beat=life.beat
    )
    # Ctrl-C reaches the supervisor as well, which passes it on as SIGTERM.
    _run_until_stopped(worker, [signal.SIGTERM])


def _run_until_stopped(worker: "Worker", stops: list[signal.Signals]) -> None:
    def stop(number: int, frame: FrameType | None) -> None:
        again = worker.stopping or number == signal.SIGQUIT
        worker.stop(grace_seconds=0.0 if again else None)

    for number in [*stops, signal.SIGQUIT]:
        signal.signal(number, stop)
    try:
        worker.run()
    except database.NotMigratedError as error:
        log.critical("worker.misconfigured", extra={"error": str(error)})
        raise SystemExit(CONFIGURATION) from None
    # Slots that are still in a request would be waited for; their leases are released.
    logs.flush()
    os._exit(0)


def _configure_logs(settings: Settings, worker: str) -> None:
    logs.configure(settings.log_format, settings.log_level, settings.secrets, worker)


def _check_database(settings: Settings) -> None:
    with database.connect(settings.database_url) as connection:
        database.check_revision(connection)
        database.read_tables(connection)


def _check_certificates() -> None:
    """The ones that OpenSSL is told to trust are read at import, where an error is a traceback."""
    for variable in ("SSL_CERT_FILE", "SSL_CERT_DIR"):
        path = os.environ.get(variable)
        if path and not os.access(path, os.R_OK):
            raise CannotStartError(f"{variable} names {path!r}, which cannot be read")


def _listen(host: str, port: int) -> socket.socket:
    """The exporter's socket, made here so that a restarted exporter keeps the port."""
    try:
        family, kind, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        listening = socket.socket(family, kind)
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind(address)
        listening.listen()
    except OSError as error:
        raise CannotStartError(
            f"cannot serve metrics on {host}:{port}: {error.strerror}:"
            " choose another --metrics-port (0 takes a free one) or --metrics-host"
        ) from None
    return listening


def _unique_name() -> str:
    """No two workers, ever, share a name: the fence of every write is made of it."""
    return f"{socket.gethostname()}:{os.getpid()}-{secrets.token_hex(4)}"
