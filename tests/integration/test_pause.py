"""`imagegen pause` and `resume`: nothing new is claimed or sent on any host while a pause holds."""

import json
import signal

import pytest

from imagegen.queue import PausedError
from tests.support.judge import judge
from tests.support.processes import Site, wait_for
from tests.support.queue_fixtures import MakeQueue, accept, claim, claim_one, record_request
from tests.support.sandbox import Sandbox


def pause(site: Site, *arguments: str) -> None:
    done = site.run("pause", "--reason", "the model changed", *arguments)
    assert (done.returncode, done.stderr) == (0, "")


def test_while_it_is_paused_nothing_is_claimed_or_sent_and_what_was_sent_is_adopted(
    site: Site, make_queue: MakeQueue
) -> None:
    site.mint("one", "two", "three", "four")
    queue = make_queue()
    in_flight, unsent = claim(queue, limit=2)
    accept(queue, in_flight)

    pause(site)

    assert claim(queue) == []
    assert queue.standing.pause and queue.standing.pause.reason == "the model changed"
    with pytest.raises(PausedError):
        record_request(queue, unsent, "two")
    queue.release()
    adopted = claim(make_queue("another"))
    assert {each.token_id for each in adopted} == {in_flight.token_id, unsent.token_id}

    assert site.run("resume").returncode == 0
    assert len(claim(queue)) == 2
    assert queue.standing.pause is None


def test_a_pause_ends_by_itself_at_its_time(site: Site, make_queue: MakeQueue) -> None:
    site.mint("one")
    pause(site)
    pause(site, "--for", "1h")
    site.query("UPDATE imagegen_acts SET until = now() WHERE until IS NOT NULL")

    assert claim_one(make_queue()).token_id == 1


def test_a_pause_is_shown_with_who_asked_for_it_and_why(site: Site) -> None:
    paused = site.run("pause", "--for", "2h", "--reason", "moderation")
    status = site.run("status")
    doctor = site.run("doctor").stdout
    as_json = json.loads(site.run("status", "--json").stdout)

    assert paused.stdout.startswith("paused by ")
    assert "0 predictions in flight" in paused.stdout
    [line] = [line for line in status.stdout.splitlines() if line.startswith("paused")]
    assert ": moderation (`imagegen resume` ends it)" in line
    assert ": moderation: nothing new is sent" in doctor
    assert as_json["queue"]["paused"]["reason"] == "moderation"
    assert [act["act"] for act in as_json["acts"]] == ["pause"]
    [(who, role)] = site.query("SELECT who, session_user::text FROM imagegen_acts")
    assert who.endswith(f" as {role}")
    assert "@" in who


def test_a_resume_without_a_pause_changes_nothing(site: Site) -> None:
    done = site.run("resume")

    assert (done.returncode, done.stderr) == (0, "imagegen: it was not paused\n")
    assert site.query("SELECT count(*) FROM imagegen_acts") == [(0,)]


def test_a_pause_on_a_database_of_an_older_revision_says_what_to_run(site: Site) -> None:
    assert site.run("db", "downgrade", "0012").returncode == 0

    refused = site.run("pause", "--reason", "why")

    assert refused.returncode == 1
    assert refused.stderr.endswith(": run `imagegen db upgrade`\n")


def test_a_pause_holds_over_the_death_of_a_worker_and_every_token_is_paid_for_once(
    site: Site, sandbox: Sandbox
) -> None:
    sandbox.latency_seconds = 2.0
    site.mint(*[f"picture {number}" for number in range(12)])
    site.settings["WORKER_BATCH_SIZE"] = "3"
    with site.supervisor() as program:
        wait_for("the first requests", lambda: len(sandbox.ledger.creates()) >= 6)
        pause(site)
        sent = len(sandbox.ledger.creates())
        program.kill(program.worker_pids()["worker-0"], signal.SIGKILL)
        wait_for("the end of what was sent", lambda: site.statuses().get("uploading") == sent)
        wait_for("readiness", lambda: program.readiness()[0] == 200)
        wait_for("words", lambda: "paused by an operator" in program.readiness()[1])
        assert program.metrics()["imagegen_paused"] == 1
        assert len(sandbox.ledger.creates()) == sent

        assert site.run("resume").returncode == 0
        assert site.wait_until_done() == {"uploading": 12}
        wait_for("the gate", lambda: program.readiness() == (200, "ok\n"))
        assert program.metrics()["imagegen_paused"] == 0

    assert len(sandbox.ledger.created()) == 12
    judge(site, sandbox)
