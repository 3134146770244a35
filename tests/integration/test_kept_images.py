"""Tokens whose table refuses their image or failure: it is kept, reported and written later."""

import json

import httpx
import psycopg
import pytest

from imagegen import database
from imagegen.database import preflight
from tests.support.judge import judge
from tests.support.obstacles import DROP, OBSTACLES, ON_CLOSING
from tests.support.processes import Program, Site, wait_for
from tests.support.sandbox import Sandbox

NARROW = OBSTACLES["a narrow column"]
# Of one token, whatever becomes of it.
ONE_TOKEN = ON_CLOSING.format(
    body="IF NEW.token_id = 2 THEN RAISE 'not today'; END IF;",
    kind="TRIGGER",
    when="BEFORE UPDATE",
    deferred="",
)


def kept(site: Site) -> int:
    return len(
        site.query("SELECT 1 FROM generations WHERE closing IS NOT NULL AND image_url <> ''")
    )


def refused(program: Program) -> set[int]:
    return {line["token_id"] for line in program.events("token.closing.refused")}


def test_images_that_their_table_refuses_survive_a_kill_and_are_handed_on_unpaid(
    site: Site, sandbox: Sandbox
) -> None:
    site.query(NARROW.put)
    site.mint(*(f"picture {n}" for n in range(30)))

    with site.supervisor() as program:
        wait_for("the images to be kept", lambda: kept(site) == 30)
        assert program.metrics()["imagegen_closings_refused"] == 30
        assert len(refused(program)) == 30
        assert NARROW.message in program.events("token.closing.refused")[0]["error"]
        assert program.events("slot.crashed") == program.events("process.died") == []
    site.query(NARROW.take)
    with site.supervisor():
        assert site.wait_until_done() == {"uploading": 30}

    assert len(sandbox.ledger.creates()) == 30
    judge(site, sandbox)


@pytest.mark.parametrize("fails", [False, True])
def test_one_token_that_is_refused_holds_up_no_other_and_is_reported_everywhere(
    fails: bool, site: Site, sandbox: Sandbox
) -> None:
    site.query(ONE_TOKEN)
    site.settings["WORKER_BATCH_SIZE"] = "1"
    site.mint("one", None if fails else "the odd one", "three", "four")

    with site.supervisor(procs=1) as program:
        wait_for("the others", lambda: site.statuses() == {"uploading": 3, "generating": 1})
        program.wait_for_event("token.closing.refused")
        site.settings["IMAGEGEN_METRICS_PORT"] = program.metrics_url().split(":")[2].split("/")[0]
        shown = site.run("tokens", "show", "2").stdout
        status = site.run("status").stdout
        doctor = site.run("doctor").stdout
        page = httpx.get(program.metrics_url().replace("/metrics", "/"), trust_env=False).text
        site.query(DROP)
        retried = json.loads(site.run("tokens", "retry", "2", "--json").stdout)
        wait_for("the token", lambda: "generating" not in site.statuses(), seconds=10)

    assert "refused     by tokens_s0 since 2" in shown and "UTC: not today\n" in shown
    assert "tried again 2" in shown
    assert "refused    1 by tokens_s0: `imagegen doctor` says why" in status
    assert "wrong    tokens       tokens_s0 refuses what became of 1 token (2): not today" in doctor
    assert "warning  columns" in doctor and "trigger obstruct" in doctor
    assert "tokens_s0 refuses what became of 1 token: imagegen doctor says why." in page
    (line,) = retried["left_alone"]
    assert line == (
        "token 2 is generating: tokens_s0 refuses what became of it (not today), which is tried"
        " again now"
    )
    assert site.statuses() == ({"uploading": 3, "failed": 1} if fails else {"uploading": 4})
    assert len(sandbox.ledger.creates()) == (3 if fails else 4)
    judge(site, sandbox)


def test_tokens_that_another_session_has_locked_hold_no_slots(site: Site, sandbox: Sandbox) -> None:
    site.settings["WORKER_BATCH_SIZE"] = "2"
    sandbox.latency_seconds = 0.5
    site.mint("one", "two")
    with site.supervisor(procs=1), psycopg.connect(site.database_url) as operator:
        wait_for("work", lambda: len(sandbox.ledger.creates()) == 2)
        operator.execute("SELECT FROM tokens_s0 FOR UPDATE")
        site.mint("three", "four", first_token_id=3)
        wait_for("the others", lambda: site.statuses().get("uploading") == 2)
        operator.commit()

        assert site.wait_until_done() == {"uploading": 4}

    judge(site, sandbox)


WARNINGS = {
    "a narrow column": "tokens_s0.image_url takes 10 characters, and a URL may have 120",
    "a domain": "constraint short_check",
    "a CHECK": "constraint obstacle",
    "a unique index of an expression": "index obstacle",
    "a foreign key": "constraint obstacle",
    "a deferred foreign key": "constraint obstacle",
    "an error that may not be empty": "NOT NULL of generation_error",
    "a trigger that raises": "trigger obstruct",
    "a trigger that fails afterwards": "trigger obstruct",
}


@pytest.mark.parametrize("name", WARNINGS)
def test_an_obstacle_that_may_refuse_an_image_is_named_beforehand(name: str, site: Site) -> None:
    site.query(OBSTACLES[name].put)

    with database.connect(site.database_url) as connection:
        found = preflight.problems(connection, {})

    (problem,) = found
    assert WARNINGS[name] in problem.message
    assert (problem.check, problem.prevents_start) == ("columns", False)


@pytest.mark.parametrize(
    "harmless",
    [
        """CREATE FUNCTION f() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END';
           CREATE TRIGGER t BEFORE INSERT ON tokens_s0 FOR EACH ROW EXECUTE FUNCTION f();
           CREATE TRIGGER u AFTER UPDATE OF created_at ON tokens_s0 EXECUTE FUNCTION f()""",
        "ALTER TABLE tokens_s0 ADD CHECK (token_id > 0)",
        "ALTER TABLE tokens_s0 ALTER image_url TYPE varchar(255)",
        "CREATE INDEX ON tokens_s0 (status, image_url)",
        "CREATE UNIQUE INDEX ON tokens_s0 (token_id, author_id)",
    ],
)
def test_a_harmless_column_or_trigger_is_no_obstacle(harmless: str, site: Site) -> None:
    site.query(harmless)

    with database.connect(site.database_url) as connection:
        assert preflight.problems(connection, {}) == []


def test_a_column_that_takes_no_image_at_all_is_an_error_of_the_doctor(site: Site) -> None:
    site.query(NARROW.put)

    with database.connect(site.database_url) as connection:
        [without_copies] = preflight.problems(connection, {}, keeps_images=False)
        [with_copies] = preflight.problems(connection, {}, keeps_images=True)

    assert (without_copies.prevents_start, with_copies.prevents_start) == (True, False)


def test_a_start_warns_of_an_obstacle_that_may_refuse_an_image(site: Site) -> None:
    site.query(NARROW.put)

    with site.supervisor(procs=1) as program:
        (warning,) = program.events("database.obstacle")

    assert warning["mend"] == "ALTER TABLE tokens_s0 ALTER COLUMN image_url TYPE text;"
