"""Puts supervisor, workers and exporter together, for `imagegen supervise` and `imagegen worker`.

Importing it makes the metrics: for a supervisor, after `metrics.shared_memory.share`. What can be
wrong without them is checked before, in `startup`.
"""

import os
import platform
import signal
import socket
from dataclasses import replace
from functools import partial
from importlib import metadata
from types import FrameType

from imagegen import logs, startup
from imagegen.config import S3Location, Settings
from imagegen.logs import log
from imagegen.metrics import definitions as metrics
from imagegen.replicate import https_proxy, tls_context
from imagegen.supervisor import ChildContext, Supervisor
from imagegen.web import listen, load_templates, serve
from imagegen.worker import AccountRates, Worker, import_s3, unique_name


def supervise(settings: Settings) -> int:
    """Run the exporter and the workers until a signal stops them; return the exit code.

    TLS, proxy and port are checked before the first fork. Raises CannotStartError.
    """
    # These are made before the fork, so that the children inherit them.
    tls_context()
    https_proxy()
    load_templates()
    if isinstance(settings.keep_images, S3Location):
        import_s3()
    _count_dropped_lines()
    listening = listen(settings.metrics_host, settings.metrics_port)
    log.info("exporter.listening", extra={"url": f"{_url(listening)}/metrics"})
    images = None
    if settings.images_port is not None:
        images = listen(settings.images_host, settings.images_port, "images")
        log.info("images.listening", extra={"url": f"{_url(images)}/images/"})

    metrics.SUPERVISOR_STARTED.set_to_current_time()
    metrics.BUILD_INFO.labels(_version(), platform.python_version()).set(1)
    sockets = [each for each in (listening, images) if each]
    supervisor = Supervisor(
        partial(_export, settings, listening, images),
        partial(_work_as_child, settings, sockets, AccountRates.of(settings)),
        workers=settings.procs,
        name=unique_name(),
        grace_seconds=settings.grace_seconds,
        watchdog_seconds=settings.watchdog_seconds,
    )
    return supervisor.run()


def _url(listening: socket.socket) -> str:
    host, port = listening.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def _version() -> str:
    try:
        return metadata.version("imagegen")
    except metadata.PackageNotFoundError:  # it runs from a checkout
        return "unknown"


def work(settings: Settings) -> None:
    """Run one worker in the foreground, without a supervisor or an exporter."""
    settings = replace(settings, procs=1)  # this worker may use all of the account's rates
    _count_dropped_lines()
    tls_context()
    https_proxy()
    worker = Worker(settings, role="worker", lease_name=unique_name())
    signal.signal(signal.SIGHUP, signal.SIG_IGN)  # nobody would start another one in its place
    _run_until_stopped(worker, [signal.SIGTERM, signal.SIGINT], twice_is_at_once=True)


def _export(
    settings: Settings,
    listening: socket.socket,
    images: socket.socket | None,
    context: ChildContext,
) -> None:
    startup.configure_logs(settings, context.role)
    _count_dropped_lines()
    silent_seconds = context.supervisor_silent_seconds
    serve(listening, settings, context.name, context.heartbeat, silent_seconds, images=images)


def _work_as_child(
    settings: Settings, sockets: list[socket.socket], rates: AccountRates, context: ChildContext
) -> None:
    for each in sockets:
        each.close()
    startup.configure_logs(settings, context.role)
    _count_dropped_lines()
    worker = Worker(
        settings,
        role=context.role,
        lease_name=context.name,
        predecessor=context.predecessor,
        beat=context.heartbeat,
        ready=context.ready,
        rates=rates,
    )
    # Ctrl-C in a terminal reaches the supervisor, which sends SIGTERM. A SIGTERM to all processes
    # of the group reaches this one twice.
    _run_until_stopped(worker, [signal.SIGTERM], twice_is_at_once=False)


def _count_dropped_lines() -> None:
    logs.count_dropped(metrics.LOG_LINES_DROPPED.inc)


def _run_until_stopped(
    worker: Worker, stop_signals: list[signal.Signals], *, twice_is_at_once: bool
) -> None:
    def stop(number: int, frame: FrameType | None) -> None:
        at_once = number == signal.SIGQUIT or (twice_is_at_once and worker.stopping)
        worker.stop(grace_seconds=0.0 if at_once else None)

    for number in [*stop_signals, signal.SIGQUIT]:
        signal.signal(number, stop)
    worker.run()
    # Python's own exit would wait for slots that are in a request. Their leases are released.
    os._exit(0)
