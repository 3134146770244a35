"""`python -m imagegen.sandbox`: the sandbox as a process of its own."""

import signal

import click

from imagegen.sandbox.server import DEFAULT_TOKEN, Sandbox

STOP_SIGNALS = {signal.SIGTERM, signal.SIGINT}


@click.command()
@click.option(
    "--port", type=click.IntRange(0, 65535), default=0, show_default=True,
    help="0 takes a free one.",
)  # fmt: skip
@click.option("--latency", default=1.0, show_default=True, help="Seconds that a prediction takes.")
@click.option("--token", default=DEFAULT_TOKEN, show_default=True, help="The API token to accept.")
@click.option("--model", "models", multiple=True, help="A model that there is; else all are.")
@click.option("--creates-per-minute", type=int, help="A rate limit; else there is none.")
@click.option("--burst", default=1, show_default=True, help="Creates that the limit lets pass.")
def main(
    *,
    port: int,
    latency: float,
    token: str,
    models: tuple[str, ...],
    creates_per_minute: int | None,
    burst: int,
) -> None:
    """A local stand-in for Replicate's API. Prints its URL, and serves until SIGTERM or Ctrl-C."""
    # Blocked before the server's threads start, so that they inherit it and only sigwait sees one.
    signal.pthread_sigmask(signal.SIG_BLOCK, STOP_SIGNALS)
    sandbox = Sandbox(
        latency,
        token=token,
        port=port,
        models=set(models) or None,
        creates_per_minute=creates_per_minute,
        burst=burst,
    )
    try:
        sandbox.start()
    except OSError as error:
        raise click.ClickException(
            f"cannot listen on {sandbox.url}: {error.strerror}: choose another --port"
        ) from None
    with sandbox:
        click.echo(sandbox.url)
        signal.sigwait(STOP_SIGNALS)


if __name__ == "__main__":
    main()
