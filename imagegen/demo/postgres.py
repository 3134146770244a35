"""A real PostgreSQL server in a folder of its own, for `imagegen demo` and the tests."""

import contextlib
import os
import random
import secrets
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from pathlib import Path
from typing import IO, Self
from urllib.parse import urlsplit

import psycopg

from imagegen import owned_folders
from imagegen.demo.postgres_programs import EmbeddedPostgresError, Programs, find_package

USER = DATABASE = "imagegen"
# Below the ports that Linux gives to outgoing connections (32768 and up): none of those can take
# the server's port while it is down.
PORTS = range(15_000, 32_000)
START_SECONDS = 60.0  # 0.1 s is usual; recovery after a crash on a slow disk takes longest
STOP_SECONDS = 30.0  # a fast shutdown writes one checkpoint; after this it is killed
POLL_SECONDS = 0.02  # while it starts: short against the start itself
CONNECT_TIMEOUT_SECONDS = 2  # libpq's least; for a port that accepts and then says nothing
LOG_TAIL_LINES = 15  # enough for the reason and its hint

SETTINGS = {
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",
    "max_connections": "100",
    "shared_buffers": "32MB",
    "timezone": "UTC",
    "log_timezone": "UTC",
}
SETTINGS_OF_A_THROWAWAY = {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off"}


class EmbeddedPostgres:
    """Starts, crashes, restarts and removes one server; it dies with the process that owns it.

    Without a folder it makes one in the system's temporary folder and removes it when closed; if
    its owner is killed, `remove_stale` does. A given folder is kept, and a server that is opened
    there again has its databases back.

    Its owner's environment loses libpq's variables: PGSSLMODE, PGSERVICE and their like would
    change where the URL leads, here and in every child.

    On Linux the server stops when the *thread* that called start() ends: call it from one that
    lives as long as the server is needed, best the main thread.
    """

    def __init__(self, folder: Path | None = None, *, durable: bool = True) -> None:
        forget_libpq_variables()
        self.durable = durable
        self.port = _free_port()
        self._process: subprocess.Popen[bytes] | None = None
        package = find_package()
        self._lock: IO[bytes] | None = None  # of a temporary folder
        if folder is None:
            folder, self._lock = owned_folders.make(owned_folders.EMBEDDED_POSTGRES)
        self.folder = folder.absolute()
        self._programs = Programs(package, self.folder)
        self._data = self.folder / "data"
        self._password_file = self.folder / "password"

    def __enter__(self) -> Self:
        with contextlib.ExitStack() as undo:
            undo.callback(self.close)
            self.start()
            undo.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def url(self) -> str:
        """The same from the first start on, over every crash and restart."""
        password = self._password_file.read_text()
        where = f"127.0.0.1:{self.port}/{DATABASE}"
        return f"postgresql://{USER}:{password}@{where}?sslmode=disable"

    @property
    def pid(self) -> int | None:
        return self._process.pid if self._process else None

    def start(self) -> None:
        """Start the server, on the same port as before, and wait until it answers."""
        if self._process is not None and self._process.poll() is None:
            return
        self._make_folder()
        with contextlib.ExitStack() as undo:
            self._process = self._programs.start(
                "postgres", "-D", str(self._data), *self._options()
            )
            undo.callback(self.crash)
            with self._connect_when_ready(self._process) as connection:
                found = connection.execute(
                    "SELECT 1 FROM pg_database WHERE datname = %s", (DATABASE,)
                ).fetchone()
                if found is None:
                    connection.execute(f"CREATE DATABASE {DATABASE}")
            undo.pop_all()

    def stop(self) -> None:
        """Fast shutdown: connections are ended, everything is written."""
        self._end(signal.SIGINT)

    def crash(self) -> None:
        """Immediate shutdown: nothing is written; the next start recovers from the log."""
        self._end(signal.SIGQUIT)

    def close(self) -> None:
        """Stop for good, and remove a temporary folder."""
        self.stop()
        if self._lock is not None:
            if self.folder.exists():
                shutil.rmtree(self.folder)
            self._lock.close()

    def _options(self) -> list[str]:
        settings = SETTINGS if self.durable else SETTINGS | SETTINGS_OF_A_THROWAWAY
        return [f"--port={self.port}", *(f"--{name}={value}" for name, value in settings.items())]

    def _make_folder(self) -> None:
        """Everything that a start needs; after the first one nothing is left to do."""
        if self._lock is not None or not self.folder.exists():
            self.folder.mkdir(parents=True, exist_ok=True)
            self._programs.give_away(self.folder)
        self._programs.make_reachable()
        if self._data.exists():
            return
        self._password_file.touch(mode=0o600)
        self._password_file.write_text(secrets.token_hex(16))
        self._programs.give_away(self._password_file)
        # Renamed when whole, so that a killed initdb leaves nothing that looks like a cluster.
        unfinished = self.folder / "data.unfinished"
        shutil.rmtree(unfinished, ignore_errors=True)
        unfinished.mkdir(mode=0o700)
        self._programs.give_away(unfinished)
        self._initdb(unfinished)
        unfinished.rename(self._data)

    def _initdb(self, data: Path) -> None:
        arguments = [
            f"--pgdata={data}",
            f"--username={USER}",
            f"--pwfile={self._password_file}",
            "--auth=scram-sha-256",
            "--encoding=UTF8",
            # PostgreSQL's own C.UTF-8: the same on every system, also where libc has none.
            "--locale=C",
            "--locale-provider=builtin",
            "--builtin-locale=C.UTF-8",
        ]
        if not self.durable:
            arguments.append("--no-sync")
        with self._programs.start("initdb", *arguments) as process:
            try:
                code = process.wait()
            except BaseException:
                # Ctrl-C: it and the servers that it runs are in a session of their own.
                os.killpg(process.pid, signal.SIGTERM)
                process.wait()
                raise
        if code != 0:
            raise self._error("PostgreSQL's initdb failed")

    def _connect_when_ready(
        self, process: subprocess.Popen[bytes]
    ) -> psycopg.Connection[tuple[object, ...]]:
        maintenance_url = urlsplit(self.url)._replace(path="/postgres").geturl()
        deadline = time.monotonic() + START_SECONDS
        while process.poll() is None:
            try:
                return psycopg.connect(
                    maintenance_url, autocommit=True, connect_timeout=CONNECT_TIMEOUT_SECONDS
                )
            except psycopg.OperationalError as error:
                if time.monotonic() > deadline:
                    why = " ".join(str(error).split())
                    raise self._error(f"PostgreSQL runs and cannot be used: {why}") from None
            time.sleep(POLL_SECONDS)
        raise self._error("PostgreSQL did not start")

    def _end(self, how: signal.Signals) -> None:
        if self._process is None:
            return
        self._process.send_signal(how)
        try:
            self._process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process = None

    def _error(self, what: str) -> EmbeddedPostgresError:
        log_file = self._programs.log_file
        lines = log_file.read_text(errors="replace").splitlines()[-LOG_TAIL_LINES:]
        return EmbeddedPostgresError("\n  ".join([f"{what}; the end of {log_file}:", *lines]))


def remove_stale() -> None:
    """Stop the servers of this user's processes that were killed, and remove their folders."""
    for folder in owned_folders.stale(Path(tempfile.gettempdir()), owned_folders.EMBEDDED_POSTGRES):
        # Not root's, if another user made it: root would run programs and write files in it.
        if (folder / owned_folders.LOCK).lstat().st_uid != os.geteuid():
            continue
        programs = Programs(find_package(), folder)
        if programs.are_running():
            programs.make_reachable()
            programs.stop_server(folder / "data", STOP_SECONDS)
        if not programs.are_running():
            shutil.rmtree(folder, ignore_errors=True)


def forget_libpq_variables() -> None:
    """In this process, and so in its children: a connection is what its URL says, and no more."""
    for name in [name for name in os.environ if name.startswith("PG")]:
        del os.environ[name]


def _free_port() -> int:
    for port in random.sample(PORTS, k=100):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise EmbeddedPostgresError(f"no free port on 127.0.0.1 between {PORTS[0]} and {PORTS[-1]}")
