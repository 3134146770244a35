"""The demo: a real PostgreSQL, the real `imagegen supervise`, a provider, and some mints."""

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import psycopg

from imagegen import schema
from imagegen.database import Connection
from imagegen.process import dies_with_this_process
from imagegen.sandbox.cast import CAST, FAULTS, Role
from imagegen.sandbox.postgres import EmbeddedPostgres
from imagegen.sandbox.server import DEFAULT_TOKEN, Sandbox

PROCS = 2
# A model of 1.2 s: slow enough to watch, near to what the real ones take.
LATENCY_SECONDS = 1.2
MINT_EVERY_SECONDS = 0.15
LOOK_EVERY_SECONDS = 0.1
PATIENCE_SECONDS = 300.0
STOP_SECONDS = 30.0
LOG_TAIL_LINES = 15
# An image of the demo is some 50 kB; what Replicate sends is far below this.
IMAGE_BYTES = 20 * 1024 * 1024


class DemoError(Exception):
    """The demo cannot go on; the message says why."""


@dataclass(frozen=True)
class Ending:
    """What became of a token."""

    token_id: int
    role: Role
    status: str
    attempts: int
    seconds: float  # from the mint to the end
    prompts_sent: tuple[str, ...]  # one for each prediction
    error: str | None
    image_url: str | None

    @property
    def as_expected(self) -> bool:
        return self.status == self.role.ends


class Demo:
    """Everything that runs in a demo; nothing of it when it is closed."""

    def __init__(self, folder: Path, live_environment: dict[str, str] | None = None) -> None:
        """`live_environment` holds the settings of the real API; without it, the sandbox."""
        self.folder = folder
        self.log_file = folder / "imagegen.log"
        self._live_environment = live_environment
        self._stack = contextlib.ExitStack()

    def __enter__(self) -> "Demo":
        with contextlib.ExitStack() as stack:
            self.folder.mkdir(parents=True, exist_ok=True)
            self._postgres = stack.enter_context(EmbeddedPostgres())
            self.database_url = self._postgres.url
            schema.upgrade(self.database_url)
            provider = self._live_environment
            if provider is None:
                provider = _sandbox_environment(stack)
            self.provider_url = provider.get("REPLICATE_BASE_URL", "https://api.replicate.com")
            self._supervisor = self._supervise(provider)
            stack.callback(self._stop_supervisor)
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        # Whoever presses Ctrl-C twice shall not leave half of it running.
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        self._stack.close()

    def run(self) -> Iterator[dict[str, int]]:
        """Mint the tokens one after the other, and wait until none waits or is at work.

        Yields, many times, how many tokens are in each status.
        """
        deadline = time.monotonic() + PATIENCE_SECONDS
        with psycopg.connect(self.database_url, autocommit=True) as connection:
            for token_id, role in enumerate(CAST, 1):
                _mint(connection, token_id, role)
                yield _statuses(connection)
                time.sleep(MINT_EVERY_SECONDS)
            while (statuses := _statuses(connection)).keys() & {"detected", "generating"}:
                yield statuses
                self._check(deadline)
                time.sleep(LOOK_EVERY_SECONDS)
            yield statuses

    def endings(self) -> list[Ending]:
        with psycopg.connect(self.database_url) as connection:
            rows = connection.execute(
                """SELECT t.token_id, t.status, t.generation_attempts,
                       extract(epoch FROM max(g.closed_at) - t.created_at)::float,
                       array_agg(g.prompt ORDER BY g.id) FILTER (WHERE g.prediction_id IS NOT NULL),
                       t.generation_error, t.image_url
                   FROM tokens_s0 t LEFT JOIN generations g USING (token_id)
                   GROUP BY t.id ORDER BY t.token_id"""
            ).fetchall()
        return [
            Ending(token_id, CAST[token_id - 1], status, attempts, seconds or 0.0,
                   tuple(prompts or ()), error, url)
            for token_id, status, attempts, seconds, prompts, error, url in rows
        ]  # fmt: skip

    def _supervise(self, provider: dict[str, str]) -> "subprocess.Popen[bytes]":
        environment = dict(os.environ) | provider
        environment |= {"DATABASE_URL": self.database_url, "IMAGEGEN_METRICS_PORT": "0"}
        command = [sys.executable, "-m", "imagegen", "supervise", "--procs", str(PROCS)]
        with self.log_file.open("wb") as log:
            return subprocess.Popen(  # noqa: S603 (our own program)
                command,
                stdin=subprocess.DEVNULL,
                stderr=log,
                env=environment,
                preexec_fn=dies_with_this_process(signal.SIGTERM),  # noqa: PLW1509
            )

    def _stop_supervisor(self) -> None:
        self._supervisor.terminate()
        try:
            self._supervisor.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._supervisor.kill()
            self._supervisor.wait()

    def _check(self, deadline: float) -> None:
        if self._supervisor.poll() is not None:
            tail = self.log_file.read_text().splitlines()[-LOG_TAIL_LINES:]
            raise DemoError(
                "\n  ".join(["imagegen supervise has ended; the end of its log:", *tail])
            )
        if time.monotonic() > deadline:
            raise DemoError(f"not done after {PATIENCE_SECONDS:.0f} s; see {self.log_file}")


def _mint(connection: Connection, token_id: int, role: Role) -> None:
    connection.execute(
        """WITH author AS (INSERT INTO authors (wallet_address, prompt_text)
           VALUES (%s, %s) RETURNING id)
           INSERT INTO tokens_s0 (token_id, author_id) SELECT %s, id FROM author""",
        [role.author, role.prompt, token_id],
    )


def _statuses(connection: Connection) -> dict[str, int]:
    rows = connection.execute("SELECT status, count(*) FROM tokens_s0 GROUP BY 1")
    return {str(status): int(count) for status, count in rows}


def _sandbox_environment(stack: contextlib.ExitStack) -> dict[str, str]:
    sandbox = stack.enter_context(Sandbox(latency_seconds=LATENCY_SECONDS))
    sandbox.faults.add(*FAULTS)
    return {"REPLICATE_API_TOKEN": DEFAULT_TOKEN, "REPLICATE_BASE_URL": sandbox.url}


def fetch_image(url: str) -> bytes | None:
    """An image, asked for without the API token; None where it cannot be had."""
    try:
        with httpx.stream("GET", url, timeout=15.0, trust_env=False) as response:
            if response.status_code != httpx.codes.OK:
                return None
            content = b""
            for chunk in response.iter_bytes():
                content += chunk
                if len(content) > IMAGE_BYTES:
                    return None
            return content
    except httpx.HTTPError:
        return None
