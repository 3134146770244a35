"""The embedded PostgreSQL: its promises to `imagegen demo` and to the tests, on real processes."""

import contextlib  # noqa: I001
import os
import shutil
import signal
import socket
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from imagegen.demo.postgres import EmbeddedPostgres
from imagegen.demo.postgres_programs import PACKAGE, EmbeddedPostgresError, find_package
from imagegen.demo import postgres
from tests.support.postgres import PostgresServer
from tests.support.processes import wait_for

CHECKOUT = Path(__file__).parents[2]
DEADLINE_SECONDS = 30.0  # a stop takes 0.02 s; a loaded machine must not fail the test
pytestmark = pytest.mark.direct  # a pooler before it changes none of these promises
only_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")

# Ctrl-C is ignored in what a script starts in the background; the owner must hear it there too.
OWNER = """
import signal, sys
from imagegen.demo.postgres import EmbeddedPostgres

signal.signal(signal.SIGINT, signal.default_int_handler)
with EmbeddedPostgres(durable=False) as server:
    print(server.folder, server.url, flush=True)
    sys.stdin.read()
"""

# It becomes nobody only after the imports: the interpreter may be where nobody cannot read. The
# refused connection makes psycopg import the rest.
OWNER_WITHOUT_RIGHTS = """
import contextlib, os, pwd, sys
import psycopg
from imagegen.demo.postgres import EmbeddedPostgres

sys.path.insert(0, sys.argv[1])
with contextlib.suppress(psycopg.OperationalError):
    psycopg.connect("host=127.0.0.1 port=1")
nobody = pwd.getpwnam("nobody")
os.setgroups([])
os.setgid(nobody.pw_gid)
os.setuid(nobody.pw_uid)
with EmbeddedPostgres(durable=False) as server, psycopg.connect(server.url) as connection:
    print(*connection.execute("SELECT current_user").fetchone())
"""


@pytest.fixture(scope="module")
def server() -> Iterator[EmbeddedPostgres]:
    with EmbeddedPostgres(durable=False) as server:
        yield server


def answer(url: str, query: str) -> tuple[object, ...] | None:
    with psycopg.connect(url) as connection:
        return connection.execute(query.encode()).fetchone()


def refuses(url: str) -> bool:
    try:
        psycopg.connect(url).close()
    except psycopg.OperationalError:
        return True
    return False


def start_owner() -> tuple[subprocess.Popen[str], Path, str]:
    """A process of its own that owns a server, in a group of its own like a terminal's job."""
    owner = subprocess.Popen(
        [sys.executable, "-c", OWNER],
        cwd=CHECKOUT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        start_new_session=True,
    )
    assert owner.stdout is not None
    folder, url = owner.stdout.readline().split()
    return owner, Path(folder), url


def test_the_url_leads_to_a_database_in_utc_and_utf8(server: EmbeddedPostgres) -> None:
    found = answer(
        server.url,
        "SELECT current_user, current_database(), current_setting('timezone'),"
        " current_setting('server_encoding')",
    )
    assert found == ("imagegen", "imagegen", "UTC", "UTF8")


def test_a_wrong_password_is_refused(server: EmbeddedPostgres) -> None:
    with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
        psycopg.connect(server.url, password="wrong")


def test_a_database_is_dropped_under_an_open_connection(server: EmbeddedPostgres) -> None:
    databases = PostgresServer(server.url)
    url = databases.create_database("of a test")
    with contextlib.closing(psycopg.connect(url)):
        databases.drop_database("of a test")
        assert refuses(url)


def test_a_crash_keeps_committed_rows_and_the_url() -> None:
    with EmbeddedPostgres() as server:
        url = server.url
        with psycopg.connect(url) as connection:
            connection.execute("CREATE TABLE t AS SELECT 7 AS n")
        server.crash()
        assert refuses(url)
        server.start()
        assert server.url == url
        assert answer(url, "SELECT n FROM t") == (7,)


def test_a_temporary_folder_is_removed_and_the_server_gone() -> None:
    with EmbeddedPostgres(durable=False) as server:
        url = server.url
    assert not server.folder.exists()
    with pytest.raises(psycopg.OperationalError, match="Connection refused"):
        psycopg.connect(url)


def test_a_given_folder_is_kept_and_opened_again(folder_for_all: Path) -> None:
    with EmbeddedPostgres(folder_for_all / "kept") as server, psycopg.connect(server.url) as before:
        before.execute("CREATE TABLE t AS SELECT 7 AS n")
    with EmbeddedPostgres(folder_for_all / "kept") as server:
        assert answer(server.url, "SELECT n FROM t") == (7,)


def test_kill_9_of_the_owner_leaves_no_server_behind() -> None:
    owner, folder, url = start_owner()
    with owner:
        assert not refuses(url)
        owner.kill()
    pid_file = folder / "data" / "postmaster.pid"
    wait_for("the server to shut down in order", lambda: not pid_file.exists())
    wait_for("its port to be closed", lambda: refuses(url))
    shutil.rmtree(folder)  # the one thing that the dead owner could not do


def test_ctrl_c_reaches_the_owner_which_removes_everything() -> None:
    owner, folder, url = start_owner()
    with owner:
        os.killpg(owner.pid, signal.SIGINT)
        owner.wait(DEADLINE_SECONDS)
    assert not folder.exists()
    assert refuses(url)


def test_a_failed_start_shows_the_end_of_the_log() -> None:
    server = EmbeddedPostgres(durable=False)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", server.port))
        taken.listen()
        with (
            pytest.raises(EmbeddedPostgresError, match=r"did not start(.|\n)*Address already in"),
            server,
        ):
            pass
    assert not server.folder.exists()


def test_a_server_that_lets_nobody_in_is_reported_with_its_output(
    folder_for_all: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with EmbeddedPostgres(folder_for_all / "kept") as server:
        (server.folder / "password").write_text("another")
    monkeypatch.setattr(postgres, "START_SECONDS", 0.0)
    with pytest.raises(EmbeddedPostgresError, match="runs and cannot be used: connection failed"):
        server.start()


def test_no_variable_of_libpq_keeps_the_owner_or_its_children_out(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("PGSSLMODE", "require")
    monkeypatch.setenv("PGHOSTADDR", "192.0.2.1")
    monkeypatch.setenv("PGSERVICE", "nowhere")
    with EmbeddedPostgres(durable=False) as server:
        child = [sys.executable, "-c", "import psycopg, sys; psycopg.connect(sys.argv[1]).close()"]
        assert answer(server.url, "SELECT 7") == (7,)
        assert subprocess.run([*child, server.url], check=False).returncode == 0


def test_missing_binaries_are_one_clear_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, PACKAGE, None)
    with pytest.raises(EmbeddedPostgresError, match=r"pip install 'imagegen\[demo\]'"):
        EmbeddedPostgres()


@only_root
def test_root_uses_binaries_that_only_root_can_reach(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tmp_path.chmod(0o700)
    installed = find_package()
    for original in (installed, installed.with_name(f"{PACKAGE}.libs")):
        (tmp_path / original.name).symlink_to(original)
    monkeypatch.syspath_prepend(tmp_path)
    with EmbeddedPostgres(durable=False) as server:
        assert answer(server.url, "SELECT 7") == (7,)
        server.crash()
        server.start()
        assert answer(server.url, "SELECT 7") == (7,)
    assert stat.S_IMODE(tmp_path.stat().st_mode) == 0o700


@only_root
def test_root_gets_an_error_when_the_folder_is_out_of_reach(tmp_path: Path) -> None:
    tmp_path.chmod(0o700)
    with pytest.raises(EmbeddedPostgresError, match="Permission denied"):
        EmbeddedPostgres(tmp_path / "postgres").start()


@only_root
def test_a_user_without_rights_can_own_a_server(folder_for_all: Path) -> None:
    installed = find_package()
    for original in (installed, installed.with_name(f"{PACKAGE}.libs")):
        shutil.copytree(original, folder_for_all / original.name)
    said = subprocess.run(
        [sys.executable, "-c", OWNER_WITHOUT_RIGHTS, folder_for_all],
        cwd=CHECKOUT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (said.stdout, said.stderr) == ("imagegen\n", "")
