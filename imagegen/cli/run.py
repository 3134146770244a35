"""`imagegen supervise` and `imagegen worker`."""

import click

from imagegen.cli.options import load_settings, settings_options, told_in_one_line

# What a worker without a supervisor has no use for.
OF_SUPERVISOR = ("procs", "watchdog_seconds", "metrics_host", "metrics_port")


@click.command()
@settings_options()
def supervise(**options: str | None) -> None:
    """Turn tokens into images, with several worker processes and /metrics. The main job.

    SIGTERM or Ctrl-C stops: work in flight may finish, the rest is handed over. A second time, or
    SIGQUIT, stops at once.

    Example: imagegen supervise --procs 2
    """
    settings = load_settings(options)
    with told_in_one_line(settings.database_url):
        from imagegen.metrics import files  # noqa: PLC0415

        with files.shared(settings.procs):
            # Only now: metrics are made by their import, and live in these files from then on.
            from imagegen import app  # noqa: PLC0415

            code = app.supervise(settings)
    raise SystemExit(code)


@click.command()
@settings_options(without=OF_SUPERVISOR)
def worker(**options: str | None) -> None:
    """Run one worker in the foreground, without a supervisor and without /metrics.

    Example: imagegen worker --log-level debug
    """
    settings = load_settings(options, without=OF_SUPERVISOR)
    with told_in_one_line(settings.database_url):
        from imagegen import app  # noqa: PLC0415

        app.work(settings)
