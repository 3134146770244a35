"""`imagegen supervise` and `imagegen worker`."""

import click

from imagegen import startup
from imagegen.cli.connection import one_line_errors
from imagegen.cli.options import exposed_secrets, load_settings, settings_options
from imagegen.metrics import shared_memory

# Settings that a worker without a supervisor does not use.
SUPERVISOR_ONLY = (
    "procs", "watchdog_seconds", "metrics_host", "metrics_port", "page", "page_password",
    "images_host", "images_port",
)  # fmt: skip


@click.command(short_help="Turn tokens into images, with several workers: the main job.")
@settings_options()
def supervise(**options: str | None) -> None:
    """Turn tokens into images, with several worker processes and /metrics. The main job.

    SIGTERM or Ctrl-C stops: work in flight may finish, the rest is handed over. A second time, or
    SIGQUIT, stops at once.

    Example: imagegen supervise --procs 2
    """
    settings = load_settings(options)
    with one_line_errors(settings.database_url):
        startup.prepare(settings, "supervisor", exposed_secrets(options))
        shared_memory.share(settings.procs)
        # Importing it makes the metrics, which are kept in this memory.
        from imagegen import app  # noqa: PLC0415

        code = app.supervise(settings)
    raise SystemExit(code)


@click.command(short_help="Run one worker in the foreground, without a supervisor.")
@settings_options(without=SUPERVISOR_ONLY)
def worker(**options: str | None) -> None:
    """Run one worker in the foreground, without a supervisor and without /metrics.

    SIGTERM or Ctrl-C stops, as for supervise. SIGHUP, also from a terminal that closes, is ignored.

    Example: imagegen worker --log-level debug
    """
    settings = load_settings(options, without=SUPERVISOR_ONLY)
    with one_line_errors(settings.database_url):
        startup.prepare(settings, "worker", exposed_secrets(options))
        from imagegen import app  # noqa: PLC0415 (as above)

        app.work(settings)
