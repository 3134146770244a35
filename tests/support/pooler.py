"""PgBouncer in transaction mode before the tests' PostgreSQL, where a run asks for it."""

import contextlib
import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Self
from urllib.parse import urlsplit

import pytest

from imagegen.demo.postgres_programs import UNPRIVILEGED_USER
from imagegen.supervisor.forking import dies_with_this_process
from tests.support.processes import wait_for

VARIABLE = "IMAGEGEN_TEST_PGBOUNCER"

CONFIGURATION = """
[databases]
* = host={host} port={port} user={user} password={password}
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {own_port}
unix_socket_dir =
auth_type = any
pool_mode = transaction
default_pool_size = 20
max_client_conn = 200
server_login_retry = 0
"""


def through_pooler() -> bool:
    return os.environ.get(VARIABLE) == "yes"


def is_installed() -> bool:
    return _find_program() is not None


def _find_program() -> str | None:
    return shutil.which("pgbouncer", path=f"{os.environ['PATH']}:/usr/sbin")


@contextlib.contextmanager
def way_to(server_url: str) -> Iterator[str]:
    """The URL of a server's database, through a pooler of its own where the run asks for one."""
    if not through_pooler():
        yield server_url
        return
    with PgBouncer(server_url) as pooler:
        yield pooler.url(urlsplit(server_url).path.removeprefix("/"))


class PgBouncer:
    """One PgBouncer for every database of a server; it dies with the tests."""

    def __init__(self, server_url: str) -> None:
        program = _find_program()
        if program is None:
            raise pytest.UsageError(f"{VARIABLE}=yes, but there is no pgbouncer: install it")
        self._program = program
        self._server = urlsplit(server_url)
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self._port = free.getsockname()[1]

    def url(self, database: str) -> str:
        return f"postgresql://{self._server.username}@127.0.0.1:{self._port}/{database}"

    @property
    def pid(self) -> int:
        return self._process.pid

    def __enter__(self) -> Self:
        self._folder = Path(tempfile.mkdtemp(prefix="imagegen-pgbouncer-"))
        self._folder.chmod(0o755)  # it refuses to run as root, and reads this as somebody else
        configuration = self._folder / "pgbouncer.ini"
        configuration.write_text(
            CONFIGURATION.format(
                host=self._server.hostname,
                port=self._server.port,
                user=self._server.username,
                password=self._server.password,
                own_port=self._port,
            )
        )
        account = pwd.getpwnam(UNPRIVILEGED_USER) if os.geteuid() == 0 else None
        self._process = subprocess.Popen(
            [self._program, "-q", str(configuration)],
            stderr=subprocess.DEVNULL,
            user=account.pw_uid if account else None,
            group=account.pw_gid if account else None,
            extra_groups=[] if account else None,
            preexec_fn=dies_with_this_process(signal.SIGTERM),  # noqa: PLW1509
        )
        wait_for("PgBouncer to listen", self._listens)
        return self

    def __exit__(self, *_: object) -> None:
        self._process.terminate()
        self._process.wait()
        shutil.rmtree(self._folder)

    def _listens(self) -> bool:
        assert self._process.poll() is None, "PgBouncer has ended"
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self._port)) == 0
