"""The whole system: a PostgreSQL that flushes, the sandbox, and `imagegen supervise`."""

import contextlib
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psycopg
from psycopg.rows import TupleRow

from imagegen.demo.postgres import EmbeddedPostgres
from tests.support.processes import Program, Site
from tests.support.sandbox import SandboxClient

# How the benchmark's own connections are told from imagegen's.
APPLICATION_NAME = "imagegen-benchmark"

MINT = """
    WITH minted AS (
        SELECT prompt, number::integer + coalesce((SELECT max(token_id) FROM tokens_s0), 0)
            AS token_id
        FROM unnest(%s::text[]) WITH ORDINALITY AS list (prompt, number)
    ), author AS (
        INSERT INTO authors (wallet_address, prompt_text)
        SELECT '0x' || lpad(to_hex(token_id), 40, '0'), prompt FROM minted
        RETURNING id, wallet_address
    )
    INSERT INTO tokens_s0 (token_id, author_id)
    SELECT token_id, author.id
    FROM minted JOIN author ON wallet_address = '0x' || lpad(to_hex(token_id), 40, '0')"""

UNFINISHED = "SELECT count(*) FROM tokens_s0 WHERE status IN ('detected', 'generating')"

Connection = psycopg.Connection[TupleRow]


@dataclass(frozen=True)
class System:
    """What the benchmarks measure, and what they measure it with."""

    server: EmbeddedPostgres
    sandbox: SandboxClient
    site: Site
    imagegen: Program

    def connect(self) -> Connection:
        """To imagegen's database, in autocommit."""
        return psycopg.connect(
            self.site.database_url, autocommit=True, application_name=APPLICATION_NAME
        )

    def observe(self) -> Connection:
        """To another database of the server: what is asked there is not counted as imagegen's."""
        return psycopg.connect(self.server.url, dbname="postgres", autocommit=True)


def number(connection: Connection, query: str, *values: object) -> float:
    """The one number that a query returns."""
    (found,) = connection.execute(query, values).fetchone() or (0.0,)
    return float(found)


def mint(connection: Connection, prompts: list[str]) -> None:
    """A token for each prompt, all in one transaction, committed on return."""
    connection.execute(MINT, [prompts])


def unfinished(connection: Connection) -> int:
    """How many tokens wait or are at work."""
    return int(number(connection, UNFINISHED))


@contextlib.contextmanager
def site() -> Iterator[tuple[EmbeddedPostgres, Site]]:
    """A durable server with a migrated database, and a folder that goes at the end."""
    with (
        tempfile.TemporaryDirectory(prefix="imagegen-benchmark-") as name,
        EmbeddedPostgres(durable=True) as server,
    ):
        settings = {
            "TMPDIR": name,
            # As installed: modules come compiled, whatever this shell says of a checkout.
            "PYTHONPYCACHEPREFIX": f"{name}/bytecode",
            "PYTHONDONTWRITEBYTECODE": "",
            # imagegen is measured here, not the account's limit.
            "IMAGEGEN_CREATE_RATE": "60000",
        }
        place = Site(server.url, "http://127.0.0.1:1", Path(name), settings)
        place.upgrade()
        yield server, place


@contextlib.contextmanager
def running(server: EmbeddedPostgres, place: Site, *, procs: int, slots: int) -> Iterator[System]:
    """The sandbox and imagegen at work on a site; both ended afterwards."""
    with sandbox() as client:
        place.provider_url = client.url
        place.settings["WORKER_BATCH_SIZE"] = str(slots)
        with place.supervisor(procs=procs) as imagegen:
            yield System(server, client, place, imagegen)
            imagegen.stop()


@contextlib.contextmanager
def sandbox() -> Iterator[SandboxClient]:
    """The sandbox as a process of its own, so that its work is not counted as imagegen's."""
    command = [sys.executable, "-m", "tests.support.sandbox"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            with SandboxClient(process.stdout.readline().strip()) as client:
                yield client
        finally:
            process.send_signal(signal.SIGTERM)
