"""Leases are renewed, adopted, lost and released, on a real PostgreSQL."""

from datetime import datetime

import psycopg

from imagegen.queue import (
    Complete,
    FailAttempt,
    Postpone,
    Requeue,
    UseFallback,
)
from tests.support.processes import Site, wait_for
from tests.support.queue_fixtures import MakeQueue, claim, claim_one, record_request, token


def test_a_generation_whose_lease_ran_out_is_adopted_before_new_tokens(
    site: Site, make_queue: MakeQueue
) -> None:
    site.mint("left behind", "new")
    dead = make_queue("dead", lease_seconds=0.05)
    left = claim(dead, limit=1)[0]
    assert record_request(dead, left, "left behind")

    heir = make_queue("heir")
    (adopted,) = wait_for("the lease to run out", lambda: claim(heir, limit=1, new_limit=0))

    assert (adopted.generation_id, adopted.adopted) == (left.generation_id, True)
    assert adopted.prompt == "left behind"
    assert adopted.requested_at is not None
    assert adopted.requested_seconds_ago is not None


def test_a_lease_that_is_renewed_is_not_adopted(site: Site, make_queue: MakeQueue) -> None:
    site.mint("mine")
    claim_one(make_queue("mine", lease_seconds=0.05))

    make_queue("mine", lease_seconds=60).renew([1])
    site.query("SELECT pg_sleep(0.1)")

    assert claim(make_queue("yours")) == []


def test_a_locked_row_does_not_keep_a_worker_from_renewing_the_others(
    site: Site, make_queue: MakeQueue
) -> None:
    site.mint("held", "free")
    queue = make_queue("mine", lease_seconds=60)
    claims = claim(queue)
    with psycopg.connect(site.database_url) as operator:
        operator.execute("SELECT FROM generations WHERE token_id = 1 FOR UPDATE")
        operator.execute("SELECT FROM tokens_s0 WHERE token_id = 1 FOR UPDATE")
        before = leases(site)

        queue.renew([item.token_id for item in claims])
        queue.repair_statuses({})
        renewed = leases(site)
        released = queue.release()

    assert (renewed[1], renewed[2] > before[2]) == (before[1], True)
    assert released == 1


def leases(site: Site) -> dict[int, datetime]:
    return dict(site.query("SELECT token_id, lease_until FROM generations ORDER BY 1"))


def test_a_replacement_takes_over_from_everyone_who_died_in_its_place(
    site: Site, make_queue: MakeQueue
) -> None:
    site.mint("one", "two", "three")
    for worker in ("host:1-a:worker-1.1", "host:1-a:worker-1.2", "host:1-a:worker-10.1"):
        assert claim(make_queue(worker), limit=1)

    third = make_queue("host:1-a:worker-1.3")
    released = third.release_leases_of("host:1-a:worker-1.2")

    assert released == 2
    assert {item.token_id for item in claim(third)} == {1, 2}


def test_leases_of_the_dead_are_released_by_their_whole_names(
    site: Site, make_queue: MakeQueue
) -> None:
    site.mint("one", "two", "three")
    names = ("a.host:1-a:worker-1.1", "a.host:1-b", "a.host:2-c:worker-1.1")
    for worker in names:
        assert claim(make_queue(worker), limit=1)

    heir = make_queue("a.host:3-d:worker-0.1")
    holders = heir.holders()
    released = heir.release_leases_of_dead(names[:2])

    assert sorted(holders) == sorted(names)
    assert released == 2
    assert {item.token_id for item in claim(heir)} == {1, 2}


def test_a_postponed_generation_has_no_holder(site: Site, make_queue: MakeQueue) -> None:
    site.mint("later")
    queue = make_queue("mine")
    assert queue.apply(claim_one(queue), Postpone(60))

    assert queue.holders() == []


def test_a_worker_that_lost_its_lease_changes_nothing(site: Site, make_queue: MakeQueue) -> None:
    site.mint("contested")
    zombie = make_queue("zombie")
    lost = claim_one(zombie)
    zombie.release()
    heir = make_queue("heir")
    held = claim_one(heir)

    assert record_request(zombie, lost, "contested") is None
    assert zombie.record_prediction(lost, "a" * 26) is None
    assert zombie.apply(lost, Complete("https://example.com/1.png", None, 1)) is None
    assert zombie.apply(lost, FailAttempt("transient", "no", token_fails=False)) is None
    assert zombie.apply(lost, Requeue("throttled", "no", 0)) is None
    assert zombie.history(lost) is None
    assert zombie.apply(lost, UseFallback("content_policy", "no", "fallback")) is None
    assert zombie.apply(lost, Postpone(0)) is None
    assert record_request(heir, held, "contested") is not None
    assert token(site) == ("generating", 0, None, None)
