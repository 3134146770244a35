"""`python -m tests.support.sandbox`: the sandbox as a process of its own."""

import signal

import click

from tests.support.sandbox.sandbox import Sandbox

STOP_SIGNALS = {signal.SIGTERM, signal.SIGINT}


@click.command()
@click.option(
    "--port", type=click.IntRange(0, 65535), default=0, show_default=True,
    help="0 takes a free one.",
)  # fmt: skip
@click.option("--latency", default=1.0, show_default=True, help="Seconds that a prediction takes.")
def main(*, port: int, latency: float) -> None:
    """A local stand-in for Replicate's API. Prints its URL, and serves until SIGTERM or Ctrl-C."""
    # Blocked before the server's threads start, so that they inherit it and only sigwait sees one.
    signal.pthread_sigmask(signal.SIG_BLOCK, STOP_SIGNALS)
    sandbox = Sandbox(latency, port=port)
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
