"""PostgreSQL servers that lose their last seconds, and are then reached at the same address.

Each has two verbs. `fall_behind()` marks the moment that the server goes back to. `go_back()` kills
the server and puts what was kept of that moment in its place.
"""

import contextlib
import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Self
from urllib.parse import urlsplit

import psycopg

from imagegen.demo.postgres import EmbeddedPostgres
from tests.support.processes import wait_for

STANDBY_STATES = "SELECT sync_state FROM pg_stat_replication"
HAS_REPLAYED_ALL = """
SELECT count(*) > 0 AND bool_and(replay_lsn >= pg_current_wal_flush_lsn())
FROM pg_stat_replication"""


class Standby(EmbeddedPostgres):
    """A streaming copy of another server, with the same user and password."""

    def __init__(self, primary: EmbeddedPostgres) -> None:
        super().__init__()
        self._primary = primary

    def _initdb(self, data: Path) -> None:
        """Fill the data folder from the primary instead of making an empty cluster."""
        self._password_file.write_text(str(urlsplit(self._primary.url).password))
        arguments = [
            f"--pgdata={data}",
            f"--dbname={self._primary.url}",
            "--checkpoint=fast",
            "--write-recovery-conf",
        ]
        with self._programs.start("pg_basebackup", *arguments) as process:
            if process.wait() != 0:
                raise self._error("pg_basebackup failed")

    def promote(self) -> None:
        assert query(self, "SELECT pg_promote()") == [(True,)]


class ServerWithStandby(EmbeddedPostgres):
    """A primary and its standby, which takes over the primary's port.

    A synchronous standby has everything that was committed. An asynchronous one is cut off in
    `fall_behind()`, so that what is committed afterwards is lost.
    """

    def __init__(self, *, synchronous: bool) -> None:
        super().__init__()
        self._synchronous = synchronous
        self._standby = Standby(self)
        self._has_failed_over = False

    def __enter__(self) -> Self:
        with contextlib.ExitStack() as undo:
            undo.callback(self.close)
            self.start()
            self._standby.start()
            if self._synchronous:
                query(self, "ALTER SYSTEM SET synchronous_standby_names = '*'")
                query(self, "SELECT pg_reload_conf()")
                wait_for("a synchronous standby", self._is_standby_synchronous)
            undo.pop_all()
        return self

    def fall_behind(self) -> None:
        if not self._synchronous:
            wait_for("the standby to catch up", self._has_standby_replayed_all)
            self._standby.stop()

    def go_back(self) -> None:
        self.crash()
        self._standby.start()
        self._standby.promote()
        self._standby.stop()
        self._standby.port = self.port
        self._standby.start()
        self._has_failed_over = True

    def start(self) -> None:
        if self._has_failed_over:
            self._standby.start()
        else:
            super().start()

    def crash(self) -> None:
        if self._has_failed_over:
            self._standby.crash()
        else:
            super().crash()

    def close(self) -> None:
        self._standby.close()
        super().close()

    def _is_standby_synchronous(self) -> bool:
        return query(self, STANDBY_STATES) == [("sync",)]

    def _has_standby_replayed_all(self) -> bool:
        return query(self, HAS_REPLAYED_ALL) == [(True,)]


class ServerWithSnapshot(EmbeddedPostgres):
    """A server whose data folder is replaced by a snapshot of it, as of a cloud's disk."""

    def fall_behind(self) -> None:
        """Copy the data folder while no process of the server runs: it is of one moment."""
        with self._stopped():
            subprocess.run(["cp", "-a", self._data, self._snapshot], check=True)
        (self._snapshot / "postmaster.pid").unlink()

    def go_back(self) -> None:
        self.crash()
        shutil.rmtree(self._data)
        self._snapshot.rename(self._data)
        self.start()

    @property
    def _snapshot(self) -> Path:
        return self.folder / "snapshot"

    @contextlib.contextmanager
    def _stopped(self) -> Iterator[None]:
        """Hold the postmaster still, which then starts no other process, and its children."""
        assert self.pid is not None
        stopped = [self.pid]
        try:
            stop_process(self.pid)
            children = Path(f"/proc/{self.pid}/task/{self.pid}/children").read_text().split()
            for child in map(int, children):
                stopped.append(child)
                stop_process(child)
            yield
        finally:
            # The postmaster last: it reaps children that have ended.
            for pid in reversed(stopped):
                os.kill(pid, signal.SIGCONT)


ServerThatGoesBack = ServerWithStandby | ServerWithSnapshot


def query(server: EmbeddedPostgres, sql: str) -> list[tuple[Any, ...]]:
    """Ask the server itself, also where imagegen reaches it through a pooler."""
    with psycopg.connect(server.url, autocommit=True) as connection:
        cursor = connection.execute(sql)
        return cursor.fetchall() if cursor.description else []


def stop_process(pid: int) -> None:
    """Stop a process, and wait until its last system call has ended."""
    os.kill(pid, signal.SIGSTOP)
    wait_for("a process to stand still", lambda: state(pid) in "TZ")


def state(pid: int) -> str:
    """Return the letter of a process's state: T where it is stopped, Z where it has ended."""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
