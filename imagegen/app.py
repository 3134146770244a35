"""Puts supervisor, workers and exporter together, for `imagegen supervise` and `imagegen worker`.

Under a supervisor it is imported within `metrics.files.shared`: metrics are made at their import.
"""

import os
import secrets
import signal
import socket
from dataclasses import replace
from functools import partial
from types import FrameType

from imagegen import database, logs
from imagegen.config import Settings, unknown_variables
from imagegen.database import encoding, preflight
from imagegen.errors import CONFIGURATION, CannotStartError
from imagegen.logs import log
from imagegen.replicate import tls_context
from imagegen.supervisor import Child, Life, Supervisor
from imagegen.web import listen, serve
from imagegen.worker import Worker


def supervise(settings: Settings) -> int:
    """Run the exporter and the workers until told to stop; returns the exit code.

    Everything that can be wrong is found before the first fork. Raises CannotStartError,
    database.NotMigratedError or one of database.AWAY.
    """
    _configure_logs(settings, "supervisor")
    _warn_of_unknown_variables()
    _check_database(settings)
    tls_context()  # made here for all workers
    listening = listen(settings.metrics_host, settings.metrics_port)
    host, port = listening.getsockname()[:2]
    log.info("exporter.listening", extra={"url": f"http://{host}:{port}/metrics"})

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
    _warn_of_unknown_variables()
    tls_context()
    _check_database(settings)
    worker = Worker(settings, slot="worker", name=_unique_name())
    _run_until_stopped(worker, [signal.SIGTERM, signal.SIGINT])


def _export(settings: Settings, listening: socket.socket, life: Life) -> None:
    _configure_logs(settings, "exporter")
    serve(listening, settings, life.name, life.beat)


def _work_as_child(settings: Settings, listening: socket.socket, role: str, life: Life) -> None:
    listening.close()
    _configure_logs(settings, role)
    worker = Worker(
        settings, slot=role, name=life.name, predecessor=life.predecessor, beat=life.beat
    )
    # Ctrl-C reaches the supervisor as well, which passes it on as SIGTERM.
    _run_until_stopped(worker, [signal.SIGTERM])


def _run_until_stopped(worker: Worker, stops: list[signal.Signals]) -> None:
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


def _warn_of_unknown_variables() -> None:
    for line in unknown_variables(os.environ):
        log.warning("setting.unknown", extra={"error": line})


def _check_database(settings: Settings) -> None:
    with database.connect(settings.database_url) as connection:
        if lacking := preflight.lacking(connection):
            said = "; ".join(str(each) for each in lacking)
            raise CannotStartError(said, " ".join(each.grant for each in lacking))
        database.check_revision(connection)
        database.read_tables(connection)
        if drawback := encoding.drawback(connection):
            log.warning("database.encoding", extra={"drawback": drawback, "mend": encoding.MEND})
        for variable, prompt in settings.configured_prompts.items():
            if encoding.lacks_characters_of(connection, prompt):
                said = f"the database lacks characters of {variable}, {prompt!r}"
                raise CannotStartError(said, "write it without them")


def _unique_name() -> str:
    """No two workers, ever, share a name: the fence of every write is made of it."""
    return f"{socket.gethostname()}:{os.getpid()}-{secrets.token_hex(4)}"
