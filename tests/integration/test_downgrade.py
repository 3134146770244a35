"""A downgrade works on what operators changed, and beside transactions of others."""

import threading

import psycopg
import pytest

from tests.integration.test_migrations import SCHEMA, load_glisk
from tests.support.processes import Site
from tests.support.sandbox import Sandbox

OPERATORS = {
    "trigger": "DROP TRIGGER imagegen_notify_detected ON tokens_s0",
    "function": "DROP FUNCTION imagegen_notify_detected CASCADE",
    "indexes": "DROP INDEX imagegen_tokens_failed, imagegen_tokens_detected, generations_ended,"
    " generations_requested",
    "columns": "ALTER TABLE generations DROP refusals, DROP author, DROP token_id, DROP closed_at;"
    " ALTER TABLE tokens_s0 DROP generate_after",
    "servers": "DROP TABLE imagegen_servers",
    "acts": "DROP TABLE imagegen_acts",
    "ledger": "DROP TABLE generations",
    "added": "ALTER TABLE generations ADD note text; CREATE INDEX mine ON generations (note);"
    " CREATE INDEX mine_too ON tokens_s0 (generate_after)",
    "own trigger": """CREATE FUNCTION mine() RETURNS trigger LANGUAGE plpgsql
        AS 'BEGIN RETURN NULL; END'; CREATE TRIGGER mine AFTER INSERT ON generations
        FOR EACH ROW EXECUTE FUNCTION mine()""",
}


@pytest.mark.parametrize("change", OPERATORS)
@pytest.mark.parametrize("revision", ["0001", "0004", "base"])
def test_a_downgrade_survives_what_an_operator_changed(
    empty_site: Site, change: str, revision: str
) -> None:
    load_glisk(empty_site)
    before = empty_site.query(SCHEMA)
    empty_site.upgrade()
    empty_site.query(OPERATORS[change])

    down = empty_site.call("db", "downgrade", revision, "--yes")

    assert (down.returncode, down.stderr) == (0, "")
    if revision == "base" and change != "own trigger":
        assert empty_site.query(SCHEMA) == before
    assert empty_site.call("db", "upgrade").returncode == 0
    assert empty_site.call("db", "check").returncode == 0


@pytest.mark.parametrize("revision", ["0001", "base"])
def test_objects_that_depend_on_imagegens_are_named_and_not_dropped(
    site: Site, revision: str
) -> None:
    site.query("CREATE VIEW report AS SELECT * FROM generations")

    refused = site.call("db", "downgrade", revision, "--yes")

    assert refused.returncode == 1
    assert "view report depends on" in refused.stderr
    assert refused.stderr.endswith(": drop these first\n")
    assert site.call("db", "check").returncode == 0


def test_a_migration_beside_transactions_of_the_application_ends_none_of_them(
    site: Site, sandbox: Sandbox
) -> None:
    """An application locks authors, then tokens; a migration the other way round."""
    site.mint("a cat")
    stop = threading.Event()
    errors: list[str] = []

    def mint() -> None:
        with psycopg.connect(site.database_url, prepare_threshold=None) as connection:
            while not stop.is_set():
                try:
                    with connection.transaction():
                        connection.execute("SELECT count(*) FROM generations")
                        connection.execute("UPDATE authors SET prompt_text = prompt_text")
                        connection.execute("SELECT pg_sleep(0.02)")  # as an application's work
                        connection.execute("UPDATE tokens_s0 SET status = status")
                except psycopg.errors.UndefinedTable:
                    connection.rollback()
                except psycopg.Error as error:
                    errors.append(str(error))

    threads = [threading.Thread(target=mint) for _ in range(3)]
    with site.supervisor() as program:
        site.wait_until_done()  # no worker holds a lease then
        for thread in threads:
            thread.start()
        results = []
        for command in (("downgrade", "0001", "--yes"), ("upgrade",)) * 3:
            results.append(site.run("db", *command))
        stop.set()
        for thread in threads:
            thread.join()
        assert site.wait_until_done() == {"uploading": 1}
        assert program.events("process.died") == []

    assert [(each.returncode, each.stderr) for each in results] == [(0, "")] * 6
    assert errors == []
