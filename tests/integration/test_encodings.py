"""A database that is not in UTF-8 works as far as it can, with a warning."""

import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import httpx
import psycopg
import pytest

from tests.support.pooler import PgBouncer
from tests.support.postgres import PostgresServer
from tests.support.processes import Site, wait_for
from tests.support.sandbox import Fault, Sandbox

FIX = "make another one (createdb --encoding=UTF8 --template=template0), and move there"
SiteIn = Callable[[str], Site]


@pytest.fixture
def site_in(
    postgres_server: PostgresServer, pooler: PgBouncer | None, sandbox: Sandbox, tmp_path: Path
) -> Iterator[SiteIn]:
    """A fresh, empty database in this encoding."""
    with ExitStack() as stack:

        def make(encoding: str) -> Site:
            name = f"test_{uuid.uuid4().hex}"
            with psycopg.connect(postgres_server.url, autocommit=True) as connection:
                connection.execute(
                    f"CREATE DATABASE {name} ENCODING '{encoding}' LOCALE 'C' TEMPLATE template0"
                )
            stack.callback(postgres_server.drop_database, name)
            url = postgres_server.url.rpartition("/")[0] + f"/{name}"
            return Site(pooler.url(name) if pooler else url, sandbox.url, tmp_path)

        yield make


def test_an_error_that_the_database_cannot_spell_ends_its_token_all_the_same(
    site_in: SiteIn, sandbox: Sandbox
) -> None:
    site = site_in("LATIN1")
    site.upgrade()
    sandbox.faults.add(Fault.fails("stuck", error="Prompt “stuck” is très bad …"))
    site.mint("stuck", "un café à Besançon")

    with site.supervisor(procs=1):
        ended = site.wait_until_done()

    assert ended == {"failed": 1, "uploading": 1}
    message = site.query("SELECT generation_error FROM tokens_s0 WHERE token_id = 1")
    assert message == [("Prompt ?stuck? is très bad ?",)]
    assert "un café à Besançon" in [create.prompt for create in sandbox.ledger.creates()]


def test_a_database_that_knows_no_encoding_serves_for_texts_in_utf_8(
    site_in: SiteIn, sandbox: Sandbox
) -> None:
    site = site_in("SQL_ASCII")
    site.upgrade()
    test = replace(site, database_url=f"{site.database_url}?client_encoding=UTF8")
    test.mint("“café” …")

    with site.supervisor(procs=1):
        ended = test.wait_until_done()

    assert ended == {"uploading": 1}
    assert [create.prompt for create in sandbox.ledger.creates()] == ["“café” …"]


UNREADABLE = {
    "SQL_ASCII": (r"\x756e20636166e9", 'invalid byte sequence for encoding "UTF8": 0xe9'),
    "WIN1252": (r"\x6381", "character with byte sequence 0x81"),
}


@pytest.mark.parametrize("encoding", UNREADABLE)
def test_a_prompt_that_cannot_be_read_is_set_aside(site_in: SiteIn, encoding: str) -> None:
    site = site_in(encoding)
    site.upgrade()
    prompt, reason = UNREADABLE[encoding]
    site.query(
        f"""WITH author AS (INSERT INTO authors (wallet_address, prompt_text)
                VALUES ('0x9', convert_from('{prompt}', '{encoding}')) RETURNING id)
            INSERT INTO tokens_s0 (token_id, author_id, created_at)
            SELECT 9, id, now() - interval '1 hour' FROM author"""
    )
    test = replace(site, database_url=f"{site.database_url}?client_encoding=UTF8")
    test.mint("a picture")

    with site.supervisor(procs=1) as program:
        wait_for("the other's image", lambda: test.statuses().get("uploading") == 1)
        (line,) = program.wait_for_event("token.set_aside")

    assert line["token_id"] == 9
    assert reason in line["reason"]
    assert not program.events("process.died")


def test_bytes_that_are_no_text_hide_no_other_token(site_in: SiteIn) -> None:
    site = site_in("SQL_ASCII")
    site.upgrade()
    test = replace(site, database_url=f"{site.database_url}?client_encoding=UTF8")
    test.mint("“café” " * 40)
    site.query(r"UPDATE authors SET prompt_text = prompt_text || convert_from('\xe9', 'SQL_ASCII')")
    site.query("UPDATE tokens_s0 SET status = 'failed'")

    with site.supervisor(procs=1) as program:
        page = httpx.get(program.metrics_url().replace("/metrics", "/"), trust_env=False)
        listed = site.run("tokens", "list", "--json")
        shown = site.run("tokens", "show", "1")

    assert "“café” “café” “café”" in page.text
    assert (listed.returncode, shown.returncode) == (0, 0)
    assert "“café” “café” “café”" in shown.stdout


@pytest.mark.parametrize(
    ("encoding", "message"),
    [
        (
            "SQL_ASCII",
            "the database is in SQL_ASCII: a token whose prompt is not UTF-8 is left alone",
        ),
        ("LATIN1", "the database is in LATIN1: error messages lose the characters that it lacks"),
    ],
)
def test_the_upgrade_and_the_doctor_warn_of_an_encoding_that_is_not_utf_8(
    site_in: SiteIn, encoding: str, message: str
) -> None:
    site = site_in(encoding)
    upgrade = site.run("db", "upgrade")
    doctor = site.run("doctor")

    assert (upgrade.returncode, upgrade.stderr) == (0, f"imagegen: {message}: {FIX}\n")
    assert (doctor.returncode, doctor.stderr) == (0, "")
    assert message in doctor.stdout


@pytest.mark.parametrize("variable", ["FALLBACK_CENSORED_PROMPT", "DEFAULT_PROMPT"])
def test_a_prompt_of_the_settings_that_the_database_cannot_spell_is_reported_at_the_start(
    site_in: SiteIn, variable: str
) -> None:
    site = site_in("LATIN1")
    site.upgrade()
    site.settings[variable] = "clouds … and sea"

    start = site.run("supervise")
    doctor = site.run("doctor")

    assert start.returncode == doctor.returncode == 1
    said = f"the database lacks characters of {variable}, 'clouds … and sea'"
    assert start.stderr.endswith(f"imagegen: {said}: write it without them\n")
    assert said in doctor.stdout
