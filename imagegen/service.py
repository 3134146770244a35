"""What `imagegen supervise` and `imagegen worker` are made of, put together."""

import errno
import os
import secrets
import signal
import socket
import ssl
import tempfile
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING

from imagegen import database, encoding, logs, metric_files, privileges
from imagegen.logs import log
from imagegen.settings import CONFIGURATION, Settings, misspelt

if TYPE_CHECKING:
    from imagegen.child import Life
    from imagegen.worker import Worker


NO_HOST = "name an address of this host in --metrics-host (IMAGEGEN_METRICS_HOST)"
NO_PORT = "choose another --metrics-port (IMAGEGEN_METRICS_PORT; 0 takes a free one)"


class CannotStartError(Exception):
    """Something that the program needs is not there; the message names it and the mend."""

    def __init__(self, said: str, mend: str) -> None:
        super().__init__(f"{said}: {mend}")
        self.said = said
        self.mend = mend


def supervise(settings: Settings) -> int:
    """Run the exporter and the workers until told to stop; returns the exit code.

    Everything that can be wrong is found before the first fork. Raises CannotStartError,
    database.NotMigratedError or one of database.AWAY.
    """
    _configure_logs(settings, "supervisor")
    _tell_misspelt_settings()
    _check_database(settings)
    load_certificates()
    listening = listen(settings.metrics_host, settings.metrics_port)
    host, port = listening.getsockname()[:2]
    log.info("exporter.listening", extra={"url": f"http://{host}:{port}/metrics"})
    folder = _share_metrics(settings)
    try:
        return _supervise(settings, listening)
    finally:
        metric_files.remove(folder)


def _share_metrics(settings: Settings) -> Path:
    try:
        return metric_files.share(settings.procs)
    except OSError as error:
        said = f"cannot keep metrics in {tempfile.tempdir or 'any folder'}: {error.strerror}"
        megabytes = metric_files.bytes_needed(settings.procs) // 2**20
        mend = f"make room there for {megabytes} MB, or set TMPDIR to a folder that has it"
        raise CannotStartError(said, mend) from None


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
    settings = replace(settings, procs=1)  # it shares the account's rates with no other
    _configure_logs(settings, "worker")
    _tell_misspelt_settings()
    load_certificates()
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


def _tell_misspelt_settings() -> None:
    for line in misspelt(os.environ):
        log.warning("setting.unknown", extra={"error": line})


def _check_database(settings: Settings) -> None:
    with database.connect(settings.database_url) as connection:
        if lacking := privileges.lacking(connection):
            said = "; ".join(str(each) for each in lacking)
            raise CannotStartError(said, " ".join(each.grant for each in lacking))
        database.check_revision(connection)
        database.read_tables(connection)
        if drawback := encoding.drawback(connection):
            log.warning("database.encoding", extra={"drawback": drawback, "mend": encoding.MEND})
        for variable, prompt in settings.fixed_prompts.items():
            if encoding.lacks_characters_of(connection, prompt):
                said = f"the database lacks characters of {variable}, {prompt!r}"
                raise CannotStartError(said, "write it without them")


def load_certificates() -> ssl.SSLContext:
    """What TLS trusts here, as httpx makes it of OpenSSL's variables. Raises CannotStartError: a
    mistake in them would be a traceback where the provider is imported."""
    import httpx  # noqa: PLC0415

    file, folders = os.environ.get("SSL_CERT_FILE"), os.environ.get("SSL_CERT_DIR", "")
    for folder in folders.split(os.pathsep):
        if folder and not (Path(folder).is_dir() and os.access(folder, os.R_OK | os.X_OK)):
            said = f"SSL_CERT_DIR names {folder!r}, which is no folder that can be read"
            raise CannotStartError(said, "unset it, or name a folder of certificates")
    try:
        return httpx.create_ssl_context()
    except OSError as error:
        if not file:
            raise
        is_other = isinstance(error, ssl.SSLError)
        why = "holds no certificate" if is_other else f"cannot be read ({error.strerror})"
        said = f"SSL_CERT_FILE names {file!r}, which {why}"
        raise CannotStartError(said, "unset it, or name a file in PEM format") from None


def listen(host: str, port: int) -> socket.socket:
    """The exporter's socket, made here so that a restarted exporter keeps the port. Raises
    CannotStartError."""
    said = f"cannot serve metrics on {host}:{port}"
    try:
        family, kind, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with ExitStack() as undo:
            listening = undo.enter_context(socket.socket(family, kind))
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listening.bind(address)
            listening.listen()
            undo.pop_all()
    except UnicodeError:  # a part of it is too long, or empty
        raise CannotStartError(f"{said}: no host has such a name", NO_HOST) from None
    except OSError as error:
        is_host = isinstance(error, socket.gaierror) or error.errno == errno.EADDRNOTAVAIL
        raise CannotStartError(
            f"{said}: {error.strerror}", NO_HOST if is_host else NO_PORT
        ) from None
    return listening


def _unique_name() -> str:
    """No two workers, ever, share a name: the fence of every write is made of it."""
    return f"{socket.gethostname()}:{os.getpid()}-{secrets.token_hex(4)}"
