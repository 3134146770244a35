"""The demo: a real PostgreSQL, the real `imagegen supervise`, an API, and twenty mints."""

import contextlib
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import psycopg

from imagegen.database import Connection, migrations
from imagegen.demo.postgres import EmbeddedPostgres, remove_stale
from imagegen.demo.supervise_process import SuperviseProcess, without_settings
from imagegen.demo.tokens import DEMO_TOKENS, FAULTS, DemoToken
from imagegen.sandbox import DEFAULT_TOKEN, Sandbox

# Of a prediction: slow enough to watch, and close to real models.
LATENCY_SECONDS = 1.2
MINT_EVERY_SECONDS = 0.15
POLL_SECONDS = 0.1
TIMEOUT_SECONDS = 300.0
# An image of the sandbox has about 2 kB, one of Replicate's at most a few MB.
IMAGE_BYTES = 20 * 1024 * 1024


class DemoError(Exception):
    """The demo cannot go on, for the reason in the message."""


@dataclass(frozen=True)
class Progress:
    """How far the demo is."""

    statuses: dict[str, int]  # the number of tokens in each
    refusal: str | None  # why nothing new is requested of Replicate now

    @property
    def ended(self) -> int:
        return self.statuses.get("uploading", 0) + self.statuses.get("failed", 0)


@dataclass(frozen=True)
class Result:
    """How a token ended."""

    token_id: int
    token: DemoToken
    status: str
    attempts: int
    seconds: float  # from the mint to the end
    prompts_sent: tuple[str, ...]  # one for each prediction
    error: str | None
    image_url: str | None

    @property
    def as_expected(self) -> bool:
        return self.status == self.token.ends


class Demo:
    """Starts everything that runs in a demo, and stops it on exit."""

    def __init__(self, folder: Path, live_environment: dict[str, str] | None = None) -> None:
        """`live_environment` holds the settings of the real API; None is for the sandbox."""
        self.folder = folder
        self.log_file = folder / "imagegen.log"
        self._live_environment = live_environment
        self._stack = contextlib.ExitStack()

    def __enter__(self) -> "Demo":
        with contextlib.ExitStack() as stack:
            self._make_folder()
            remove_stale()
            self.database_url = stack.enter_context(EmbeddedPostgres()).url
            migrations.upgrade(self.database_url)
            api = self._live_environment
            if api is None:
                sandbox = stack.enter_context(Sandbox(*FAULTS, latency_seconds=LATENCY_SECONDS))
                api = {"REPLICATE_API_TOKEN": DEFAULT_TOKEN, "REPLICATE_BASE_URL": sandbox.url}
            self.provider_url = api.get("REPLICATE_BASE_URL", "https://api.replicate.com")
            own = {"DATABASE_URL": self.database_url, "IMAGEGEN_METRICS_PORT": "0"}
            self._supervise = SuperviseProcess(
                without_settings(os.environ) | api | own, self.log_file
            )
            stack.callback(self._supervise.stop)
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def run(self) -> Iterator[Progress]:
        """Mint the tokens one after the other, wait until each has ended, yield the progress.

        Raises DemoError.
        """
        deadline = time.monotonic() + TIMEOUT_SECONDS
        with psycopg.connect(self.database_url, autocommit=True) as connection:
            for token_id, token in enumerate(DEMO_TOKENS, 1):
                _mint(connection, token_id, token)
                yield self._progress(connection)
                time.sleep(MINT_EVERY_SECONDS)
            while (progress := self._progress(connection)).ended < len(DEMO_TOKENS):
                yield progress
                self._check(progress, deadline)
                time.sleep(POLL_SECONDS)
            yield progress

    def results(self) -> list[Result]:
        """Return the results of all tokens, in the order of their ids."""
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
            Result(token_id, DEMO_TOKENS[token_id - 1], status, attempts, seconds or 0.0,
                   tuple(prompts or ()), error, url)
            for token_id, status, attempts, seconds, prompts, error, url in rows
        ]  # fmt: skip

    def write(self, name: str, text: str) -> Path:
        """Write a file in the demo's folder. Raises DemoError."""
        try:
            (self.folder / name).write_text(text, encoding="utf-8")
        except OSError as error:
            raise self._cannot_write(error) from None
        return self.folder / name

    def _make_folder(self) -> None:
        """Make the folder before anything is started, because it may not be writable."""
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            self.log_file.open("wb").close()
        except OSError as error:
            raise self._cannot_write(error) from None

    def _cannot_write(self, error: OSError) -> DemoError:
        folder = self.folder.absolute()
        return DemoError(f"cannot write to {folder}: {error.strerror}: choose another --folder")

    def _progress(self, connection: Connection) -> Progress:
        rows = connection.execute("SELECT status, count(*) FROM tokens_s0 GROUP BY 1")
        statuses = {str(status): int(count) for status, count in rows}
        return Progress(statuses, self._supervise.refusal())

    def _check(self, progress: Progress, deadline: float) -> None:
        if self._supervise.has_ended:
            lines = ["imagegen supervise has ended; the end of its log:"]
            raise DemoError("\n  ".join(lines + self._supervise.end_of_log()))
        if time.monotonic() > deadline:
            why = f", refused: {progress.refusal}" if progress.refusal else ""
            raise DemoError(f"not done after {TIMEOUT_SECONDS:.0f} s{why}; see {self.log_file}")


def _mint(connection: Connection, token_id: int, token: DemoToken) -> None:
    connection.execute(
        """WITH author AS (INSERT INTO authors (wallet_address, prompt_text)
           VALUES (%s, %s) RETURNING id)
           INSERT INTO tokens_s0 (token_id, author_id) SELECT %s, id FROM author""",
        [token.author, token.prompt, token_id],
    )


def fetch_image(url: str) -> bytes | None:
    """Return an image, fetched without the API token; None if that fails."""
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
