"""`imagegen tokens hold` and `release`: a token that is held is not claimed, and all others are."""

import json

import pytest

from imagegen.queue import FailAttempt, Requeue
from tests.support.generation_rows import insert_tokens
from tests.support.processes import Site
from tests.support.queue_fixtures import MakeQueue, accepted_claim, claim


def hold(site: Site, *token_ids: int) -> None:
    ids = [str(token_id) for token_id in token_ids]
    done = site.call("tokens", "hold", *ids, "--reason", "moderation")
    assert (done.returncode, done.stderr) == (0, "")


def claimed(make_queue: MakeQueue) -> list[int]:
    return [each.token_id for each in claim(make_queue())]


def test_a_token_that_is_held_is_claimed_only_after_its_release(
    site: Site, make_queue: MakeQueue
) -> None:
    site.mint("one", "two", "three")

    hold(site, 1, 3)
    assert claimed(make_queue) == [2]

    released = site.call("tokens", "release", "1", "3")
    assert (released.returncode, released.stdout) == (0, "2 tokens released\n")
    assert claimed(make_queue) == [1, 3]


def test_a_token_that_cannot_be_held_is_refused_with_the_reason(site: Site) -> None:
    insert_tokens(site, "generating", 1)
    insert_tokens(site, "uploading", 2)
    insert_tokens(site, "failed", 3)
    insert_tokens(site, "detected", 4)

    done = site.call("tokens", "hold", "1", "2", "3", "4", "5")
    again = site.call("tokens", "hold", "4")

    assert (done.returncode, done.stdout) == (1, "1 token held\n")
    assert done.stderr.splitlines() == [
        "imagegen: token 1 is being generated: only a token that waits can be held",
        "imagegen: token 2 is uploading: only a token that waits can be held",
        "imagegen: token 3 is failed: only a token that waits can be held",
        "imagegen: there is no token 5",
    ]
    assert (again.returncode, again.stderr) == (0, "imagegen: token 4 is held already\n")


def test_a_token_that_is_not_held_is_not_released(site: Site) -> None:
    insert_tokens(site, "detected", 1, generate_after="2999-01-01")

    done = site.call("tokens", "release", "1", "2")

    assert (done.returncode, done.stderr.splitlines()) == (
        1,
        ["imagegen: token 1 is not held: it is detected", "imagegen: there is no token 2"],
    )
    assert site.query("SELECT count(*) FROM tokens_s0 WHERE generate_after IS NULL") == [(0,)]


@pytest.mark.parametrize("column", ["timestamptz", "timestamp", "date"])
def test_a_hold_is_shown_and_counted_and_is_no_reason_for_an_alert(site: Site, column: str) -> None:
    site.query(f"ALTER TABLE tokens_s0 ALTER generate_after TYPE {column}")
    site.mint("one")

    hold(site, 1)

    listed = site.call("tokens", "list").stdout
    shown = site.call("tokens", "show", "1").stdout
    status = json.loads(site.call("status", "--json").stdout)["queue"]
    assert "detected, held" in listed
    assert "detected, held" in shown
    assert "hold token 1: moderation" in shown
    assert status["tokens_held"] == 1
    assert status["oldest_waiting_seconds"] is None
    assert set(status["tokens_set_aside"].values()) == {0}


def test_nothing_but_a_release_ends_a_hold(site: Site, make_queue: MakeQueue) -> None:
    site.mint("one", "two", "three")
    queue = make_queue()
    failing, refused, incident = claim(queue)
    site.query("UPDATE tokens_s0 SET generate_after = 'infinity'")
    assert queue.apply(failing, FailAttempt("unknown", "no", token_fails=False, failures=3))
    assert queue.apply(refused, Requeue("throttled", "no", 0.0))
    assert queue.apply(incident, FailAttempt("unknown", "no", token_fails=False, failures=3))

    queue.end_incident()

    assert claim(queue) == []
    assert site.query("SELECT DISTINCT generate_after::text FROM tokens_s0") == [("infinity",)]


def test_the_end_of_an_incident_does_not_release_a_held_token(
    site: Site, make_queue: MakeQueue
) -> None:
    site.mint("one")
    queue = make_queue()
    failing = accepted_claim(queue)
    later = FailAttempt("unknown", "no", token_fails=False, failures=3, retry_seconds=600.0)
    assert queue.apply(failing, later)

    queue.end_incident()

    assert claimed(make_queue) == [1]


def test_a_token_that_is_held_is_not_tried_again_unasked(site: Site) -> None:
    site.mint("one")
    hold(site, 1)

    refused = site.call("tokens", "retry", "1", "--fallback", "--yes")

    assert (refused.returncode, refused.stderr) == (
        1,
        "imagegen: token 1 is held: release it first\n",
    )
    assert site.query("SELECT generate_after::text FROM tokens_s0") == [("infinity",)]


def test_a_retry_is_recorded_with_who_asked_for_it(site: Site) -> None:
    insert_tokens(site, "failed", 1, 2)

    assert site.call("tokens", "retry", "1", "2").returncode == 0

    rows = site.query(
        "SELECT act, token_id, details, who LIKE '%%@%% as ' || session_user FROM imagegen_acts"
        " ORDER BY token_id"
    )
    assert rows == [("retry", 1, {"how": "retry"}, True), ("retry", 2, {"how": "retry"}, True)]
    assert "retry token 1, how retry" in site.call("tokens", "show", "1").stdout
