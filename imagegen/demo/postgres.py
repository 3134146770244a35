"""A real PostgreSQL server in a folder of its own, for `imagegen demo` and the tests."""

import os
import random
import secrets
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import IO, Self
from urllib.parse import urlsplit

import psycopg

from imagegen import owned_folders
from imagegen.demo.postgres_programs import EmbeddedPostgresError, Programs, find_package
from imagegen.text import one_line

USER = DATABASE = "imagegen"
# Below 32768, from where Linux takes the ports of outgoing connections: none of those can occupy
# the server's port while it is down.
PORTS = range(15_000, 32_000)
START_SECONDS = 60.0  # 0.1 s is usual; recovery after a crash on a slow disk takes longest
STOP_SECONDS = 30.0  # a fast shutdown writes one checkpoint; after this it is killed
POLL_SECONDS = 0.02  # a fraction of the usual start
CONNECT_TIMEOUT_SECONDS = 2  # libpq's least; for a port that accepts and then sends nothing
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
    """Starts, crashes, restarts and removes one server, which dies with the process that owns it.

    Without a folder it makes one in the system's temporary folder and removes it when closed; if
    its owner is killed, `remove_stale` removes it. A given folder is kept with its databases.

    It deletes libpq's variables from the environment: PGSSLMODE, PGSERVICE and others would change
    where the URL leads, in this process and its children.

    On Linux the server stops when the *thread* that called start() ends, so call it in a thread
    that lives as long as the server is needed.
    """

    def __init__(self, folder: Path | None = None, *, durable: bool = True) -> None:
        forget_libpq_variables()
        self.durable = durable
        self.port = _free_port()
        self._process: subprocess.Popen[bytes] | None = None
        package = find_package()  # before a folder is made
        self._lock: IO[bytes] | None = None  # of a temporary folder
        if folder is None:
            folder, self._lock = owned_folders.make(owned_folders.EMBEDDED_POSTGRES)
        self.folder = folder.absolute()
        self._programs = Programs(package, self.folder)
        self._data = self.folder / "data"
        self._password_file = self.folder / "password"

    def __enter__(self) -> Self:
        with ExitStack() as undo:
            undo.callback(self.close)
            self.start()
            undo.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def url(self) -> str:
        """The URL of the database, which no crash or restart changes."""
        address = f"127.0.0.1:{self.port}/{DATABASE}"
        return f"postgresql://{USER}:{self._password_file.read_text()}@{address}?sslmode=disable"

    @property
    def pid(self) -> int | None:
        return self._process.pid if self._process else None

    def start(self) -> None:
        """Start the server, on the same port as before, and wait until it answers."""
        if self._process is not None and self._process.poll() is None:
            return
        self._prepare_folder()
        settings = SETTINGS if self.durable else SETTINGS | SETTINGS_OF_A_THROWAWAY
        options = [f"--{name}={value}" for name, value in settings.items()]
        self._process = self._programs.start(
            "postgres", "-D", str(self._data), f"--port={self.port}", *options
        )
        with ExitStack() as undo:
            undo.callback(self.crash)
            with self._connect_when_ready(self._process) as connection:
                query = "SELECT FROM pg_database WHERE datname = %s"
                if not connection.execute(query, [DATABASE]).rowcount:
                    connection.execute(f"CREATE DATABASE {DATABASE}")
            undo.pop_all()

    def stop(self) -> None:
        """Shut down fast: connections are ended, everything is written."""
        self._end(signal.SIGINT)

    def crash(self) -> None:
        """Shut down immediately: nothing is written; the next start recovers from the log."""
        self._end(signal.SIGQUIT)

    def close(self) -> None:
        """Stop the server, and remove a temporary folder."""
        self.stop()
        if self._lock is not None:
            if self.folder.exists():
                shutil.rmtree(self.folder)
            self._lock.close()

    def _prepare_folder(self) -> None:
        """Make the folder and the cluster in it, unless they are there."""
        if self._lock is not None or not self.folder.exists():
            self.folder.mkdir(parents=True, exist_ok=True)
            self._programs.give_away(self.folder)
        self._programs.make_reachable()
        if self._data.exists():
            return
        self._password_file.touch(mode=0o600)
        self._password_file.write_text(secrets.token_hex(16))
        self._programs.give_away(self._password_file)
        # Renamed when complete, so that a killed initdb leaves nothing that looks like a cluster.
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
            # PostgreSQL's own C.UTF-8, which needs no locale of the system.
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
                # initdb and the servers that it runs are in a session of their own, which Ctrl-C
                # does not reach.
                with suppress(ProcessLookupError):  # it has just ended
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
                    what = f"PostgreSQL runs and cannot be used: {one_line(error)}"
                    raise self._error(what) from None
            time.sleep(POLL_SECONDS)
        raise self._error("PostgreSQL did not start")

    def _end(self, number: signal.Signals) -> None:
        if self._process is None:
            return
        self._process.send_signal(number)
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
        # Root skips the folders of other users: it would run programs and write files in them.
        if (folder / owned_folders.LOCK).lstat().st_uid != os.geteuid():
            continue
        programs = Programs(find_package(), folder)
        if programs.are_running():
            programs.make_reachable()
            programs.stop_server(folder / "data", STOP_SECONDS)
        if not programs.are_running():
            shutil.rmtree(folder, ignore_errors=True)


def forget_libpq_variables() -> None:
    """Delete PG… variables, so that only the URL decides how to connect, here and in children."""
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
