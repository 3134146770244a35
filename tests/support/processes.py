"""imagegen as a user runs it, for tests: real processes on a real database and the sandbox."""

import contextlib
import json
import os
import resource
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit

import httpx
import psycopg
from click.testing import CliRunner

from imagegen.cli import cli
from imagegen.database import migrations
from tests.support.sandbox import DEFAULT_TOKEN

T = TypeVar("T")

PATIENCE_SECONDS = 60.0
# A look often starts a connection or reads all processes: that is not done all the time.
FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS = 0.02, 0.15
ALEMBIC = threading.Lock()  # its context is the whole process's


def wait_for(what: str, look: Callable[[], T | None], seconds: float = PATIENCE_SECONDS) -> T:
    """Return what `look` returns as soon as that is true. Fails if it never is."""
    deadline = time.monotonic() + seconds
    pause_seconds = FIRST_PAUSE_SECONDS
    while time.monotonic() < deadline:
        if found := look():
            return found
        time.sleep(pause_seconds)
        pause_seconds = min(pause_seconds * 1.5, LONGEST_PAUSE_SECONDS)
    raise AssertionError(f"waited {seconds} s in vain for {what}")


@contextlib.contextmanager
def files_end_at(size: int) -> Iterator[None]:
    """As on a disk that is full: no file of this process, and of its children, can grow further."""
    _, most = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, most))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (most, most))


def all_pids() -> list[int]:
    return [int(path.name) for path in Path("/proc").glob("[0-9]*")]


def environment_of(pid: int) -> list[bytes]:
    """The variables of a process; none where it is gone, a zombie, or somebody else's.

    Only root can read those of imagegen: see imagegen/cli/core_dumps.py.
    """
    try:
        return Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
    except OSError:
        return []


@dataclass
class Site:
    """A database and a provider, and the environment in which imagegen finds them."""

    database_url: str
    provider_url: str
    folder: Path
    settings: dict[str, str] = field(default_factory=dict)
    launcher: list[str] = field(default_factory=list)  # a command that starts others, elsewhere

    @property
    def environment(self) -> dict[str, str]:
        clean = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("IMAGEGEN_", "REPLICATE_"))
        }
        return clean | {
            "DATABASE_URL": self.database_url,
            "REPLICATE_API_TOKEN": DEFAULT_TOKEN,
            "REPLICATE_BASE_URL": self.provider_url,
            "IMAGEGEN_METRICS_PORT": "0",
            "TMPDIR": str(self.folder),  # what is left there is ours; so is who has this variable
            **self.settings,
        }

    def call(self, *arguments: str) -> "subprocess.CompletedProcess[str]":
        """A command to its end, within this process: as `run`, without the CPU of a start."""
        gone: dict[str, str | None] = dict.fromkeys(os.environ.keys() - self.environment)
        done = CliRunner().invoke(
            cli, arguments, prog_name="imagegen", env=gone | self.environment,
            catch_exceptions=False,
        )  # fmt: skip
        return subprocess.CompletedProcess(arguments, done.exit_code, done.stdout, done.stderr)

    def run(self, *arguments: str) -> "subprocess.CompletedProcess[str]":
        """A command to its end, in a process of its own."""
        return subprocess.run(
            [*self.launcher, sys.executable, "-m", "imagegen", *arguments],
            env=self.environment, capture_output=True, text=True, check=False, timeout=60,
        )  # fmt: skip

    def upgrade(self) -> None:
        with ALEMBIC:
            migrations.upgrade(self.database_url)

    def log_in_as(self, user: str | None, password: str) -> None:
        """Whom the database takes imagegen for from now on; None: the same user."""
        parts = urlsplit(self.database_url)
        location = parts.netloc.rpartition("@")[2]
        netloc = f"{user or parts.username}:{password}@{location}"
        self.database_url = parts._replace(netloc=netloc).geturl()

    @property
    def database_port(self) -> int:
        port = urlsplit(self.database_url).port
        assert port
        return port

    def behind(self, port: int) -> "Site":
        """The same database, reached through a port of this host; with a folder of its own."""
        parts = urlsplit(self.database_url)
        login = parts.netloc.rpartition("@")[0]
        url = parts._replace(netloc=f"{login}@127.0.0.1:{port}").geturl()
        return Site(url, self.provider_url, self.folder / "behind", dict(self.settings))

    def query(self, sql: str, *values: object) -> list[tuple[Any, ...]]:
        with self._connect() as connection:
            connection.autocommit = True
            cursor = connection.execute(sql, values)
            return cursor.fetchall() if cursor.description else []

    def _connect(self) -> psycopg.Connection:
        return psycopg.connect(self.database_url, prepare_threshold=None)  # for a pooler's sake

    def wait_until_reachable(self) -> None:
        """After a crash: a pooler in between may not have noticed yet that the server is back."""

        def answers() -> bool:
            try:
                return bool(self.query("SELECT 1"))
            except psycopg.OperationalError:
                return False

        wait_for("the database to answer", answers)

    def mint(self, *prompts: str | None, first_token_id: int = 1) -> None:
        """One token for each prompt, each by an author of its own."""
        with self._connect() as connection:
            for token_id, prompt in enumerate(prompts, first_token_id):
                connection.execute(
                    """WITH author AS (INSERT INTO authors (wallet_address, prompt_text)
                       VALUES (%s, %s) RETURNING id)
                       INSERT INTO tokens_s0 (token_id, author_id) SELECT %s, id FROM author""",
                    [f"0x{token_id:040x}", prompt, token_id],
                )

    def log_text(self) -> str:
        """What every program of this site has logged."""
        return "".join(log.read_text() for log in sorted(self.folder.glob("log-*")))

    def processes(self) -> list[int]:
        """Return the pids of all living processes of this site, also of orphans."""
        mark = f"TMPDIR={self.environment['TMPDIR']}".encode()
        return [pid for pid in all_pids() if mark in environment_of(pid)]

    def statuses(self) -> dict[str, int]:
        """How many tokens there are in each status."""
        rows = self.query("SELECT lower(status::text), count(*) FROM tokens_s0 GROUP BY 1")
        return {str(status): int(count) for status, count in rows}

    def token(self, token_id: int = 1) -> tuple[Any, ...]:
        """Return a token's status, its attempts and its error."""
        return self.query(
            """SELECT status, generation_attempts, generation_error FROM tokens_s0
               WHERE token_id = %s""",
            token_id,
        )[0]

    def wait_until_done(self, seconds: float = PATIENCE_SECONDS) -> dict[str, int]:
        """Wait until no token waits or is at work."""

        def done() -> dict[str, int] | None:
            found = self.statuses()
            return None if found.keys() & {"detected", "generating"} else found

        return wait_for("every token to end", done, seconds)

    @contextlib.contextmanager
    def supervisor(self, *arguments: str, procs: int = 2) -> Iterator["Program"]:
        """`imagegen supervise`, its workers started; killed where the test did not end it."""
        with self.program("supervise", "--procs", str(procs), *arguments) as program:
            program.wait_until_ready(procs)
            yield program

    @contextlib.contextmanager
    def program(self, *arguments: str) -> Iterator["Program"]:
        self.folder.mkdir(exist_ok=True)
        log = self.folder / f"log-{time.monotonic_ns()}"
        with log.open("w") as stderr:
            process = subprocess.Popen(
                [*self.launcher, sys.executable, "-m", "imagegen", *arguments],
                env=self.environment, stdout=subprocess.PIPE, stderr=stderr, text=True,
            )  # fmt: skip
        with process:
            try:
                yield Program(process, log)
            finally:
                process.kill()


@dataclass
class Program:
    """A running imagegen and its log."""

    process: "subprocess.Popen[str]"
    log: Path

    @property
    def pid(self) -> int:
        return self.process.pid

    def events(self, name: str | None = None) -> list[dict[str, Any]]:
        """The log's lines so far, or those of one event."""
        lines = self.log.read_text().splitlines()
        found = [json.loads(line) for line in lines if line.startswith("{") and line.endswith("}")]
        return [line for line in found if name in (None, line["event"])]

    def wait_for_event(self, name: str, count: int = 1) -> list[dict[str, Any]]:
        def look() -> list[dict[str, Any]] | None:
            found = self.events(name)
            return found if len(found) >= count else None

        return wait_for(f"{name} in the log, {count} times", look)

    def wait_until_ready(self, workers: int) -> None:
        """So many workers have started."""

        def ready() -> bool:
            assert self.process.poll() is None, self.log.read_text()
            return len(self.worker_pids()) >= workers

        wait_for("the workers to start", ready)

    def children(self) -> list[int]:
        """The processes that the supervisor forked and that live."""
        path = Path(f"/proc/{self.pid}/task/{self.pid}/children")
        return [int(pid) for pid in path.read_text().split()] if path.exists() else []

    def worker_pids(self) -> dict[str, int]:
        """The newest process of each worker slot, by the log."""
        return {line["worker"]: line["pid"] for line in self.events("worker.started")}

    def kill(self, pid: int, number: signal.Signals = signal.SIGKILL) -> None:
        os.kill(pid, number)

    def is_alive(self, pid: int) -> bool:
        """A zombie is dead: it waits for a parent that may be slow to take it in."""
        try:
            status = Path(f"/proc/{pid}/stat").read_text()
        except OSError:
            return False
        return status.rpartition(")")[2].split()[0] != "Z"

    def hang_up(self) -> None:
        """Ask for other workers in place of these, one after the other."""
        self.process.send_signal(signal.SIGHUP)

    def metrics_url(self) -> str:
        return str(self.wait_for_event("exporter.listening")[0]["url"])

    def metrics(self) -> dict[str, float]:
        """Every sample that /metrics shows, by its name and labels as written there."""
        text = httpx.get(self.metrics_url(), trust_env=False).raise_for_status().text
        lines = [line.rpartition(" ") for line in text.splitlines() if not line.startswith("#")]
        return {name: float(value) for name, _, value in lines}

    def readiness(self) -> tuple[int, str]:
        """Return what /readyz answers: its status and its text."""
        url = self.metrics_url().replace("/metrics", "/readyz")
        answer = httpx.get(url, trust_env=False)
        return answer.status_code, answer.text

    def stop(self, number: signal.Signals = signal.SIGTERM, seconds: float = 30.0) -> int:
        """Ask it to end; its exit code."""
        self.process.send_signal(number)
        return self.process.wait(seconds)
