"""A database that went back to an earlier state: a failover to a standby that lagged, a restore."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from imagegen.queue import (
    Claim,
    Complete,
    Decision,
    FailAttempt,
    Postpone,
    Queue,
    Requeue,
    UseFallback,
)
from imagegen.replicate.facts import LARGEST_SEED
from tests.support import earlier_state
from tests.support.processes import Site
from tests.support.queue_fixtures import (
    MakeQueue,
    accepted_claim,
    claim,
    claim_one,
    record_request,
    use_fallback,
)

DONE = Complete("https://replicate.delivery/out-0.png", 0.5, 1)


@contextmanager
def gone_back(site: Site) -> Iterator[None]:
    """What happens within is forgotten at its end."""
    earlier_state.save(site.query)
    yield
    earlier_state.go_back(site.query)


def test_a_generation_that_was_forgotten_has_the_same_seed_again(
    site: Site, make_queue: MakeQueue
) -> None:
    site.mint("one", "two")
    with gone_back(site):
        first = {each.token_id: each for each in claim(make_queue())}
        fallbacks = {
            token_id: use_fallback(make_queue(), each, "soft") for token_id, each in first.items()
        }

    for again in claim(make_queue()):
        forgotten = first[again.token_id]
        assert again.seed == forgotten.seed
        assert use_fallback(make_queue(), again, "soft").seed == fallbacks[again.token_id].seed


def test_generations_of_two_tokens_two_authors_and_two_installations_have_other_seeds(
    site: Site, empty_site: Site, make_queue: MakeQueue
) -> None:
    site.mint("one", "two")
    one, two = claim(make_queue())
    fallback = use_fallback(make_queue(), one, "soft")
    site.query("DELETE FROM generations")
    site.query("UPDATE tokens_s0 SET status = 'detected', author_id = (SELECT author_id"
               " FROM tokens_s0 WHERE token_id = 2) WHERE token_id = 1")  # fmt: skip
    of_another_author = claim(make_queue(), limit=1)[0]
    site.query("DELETE FROM generations")
    site.query("UPDATE tokens_s0 SET status = 'detected'")
    site.query("UPDATE imagegen_servers SET server = 'another' WHERE noticed_at = '-infinity'")
    elsewhere = claim(make_queue(), limit=1)[0]

    seeds = [each.seed for each in (one, two, fallback, of_another_author, elsewhere)]
    assert len(set(seeds)) == len(seeds)
    assert all(0 <= seed <= LARGEST_SEED for seed in seeds)


WRITES: dict[str, Callable[[Queue, Claim], object]] = {
    "request": lambda queue, held: record_request(queue, held, "a prompt"),
    "prediction": lambda queue, held: queue.record_prediction(held, "prediction1"),
    "found": lambda queue, held: queue.record_found(
        held, "prediction1", prompt="a prompt", account=None, made_at=None
    ),
    "image": lambda queue, held: queue.apply(held, DONE),
}


@pytest.mark.parametrize("write", WRITES.values(), ids=WRITES)
@pytest.mark.parametrize("differs", ["token_id", "seed"])
def test_an_id_that_was_given_to_another_generation_is_not_written_to(
    site: Site, make_queue: MakeQueue, write: Callable[[Queue, Claim], object], differs: str
) -> None:
    """Also where the same worker holds the other one."""
    site.mint("one")
    queue = make_queue()
    held = claim_one(queue)
    before = site.query("SELECT g::text, t::text FROM generations g, tokens_s0 t")

    assert write(queue, replace(held, **{differs: getattr(held, differs) + 1})) is None
    assert site.query("SELECT g::text, t::text FROM generations g, tokens_s0 t") == before


def test_a_server_that_is_known_leaves_no_doubt(site: Site, make_queue: MakeQueue) -> None:
    site.mint("one")
    claimed = claim_one(make_queue())

    assert claimed.doubt is None
    assert record_request(make_queue(), claimed, "one") is not None
    assert len(site.query("SELECT server FROM imagegen_servers")) == 1


def test_a_token_that_a_new_server_may_have_forgotten_is_claimed_in_doubt(
    site: Site, make_queue: MakeQueue
) -> None:
    site.mint("one")
    finished = accepted_claim(make_queue())
    make_queue().apply(finished, DONE)
    site.mint("two", first_token_id=2)
    site.query("UPDATE tokens_s0 SET created_at = created_at - interval '1 hour'")
    with gone_back(site):
        forgotten = claim_one(make_queue())
        fallback = use_fallback(make_queue(), forgotten, "soft")

    claimed = claim_one(make_queue())

    assert claimed.doubt is not None
    assert claimed.doubt.seeds[:2] == [forgotten.seed, fallback.seed]
    assert 0.0 <= claimed.doubt.noticed_seconds_ago < 30.0
    [(opened_at,)] = site.query("SELECT min(opened_at) FROM generations")
    assert claimed.doubt.since == opened_at.strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    assert claimed.server != finished.server


def test_nothing_is_looked_for_that_is_much_older_than_the_mint(
    site: Site, make_queue: MakeQueue
) -> None:
    """In a quiet week others of the account may have made what cannot be told apart any more."""
    site.mint("of a year ago", "of an hour ago", "just now", "at no time")
    site.query(
        """UPDATE tokens_s0 SET created_at = CASE token_id WHEN 1 THEN now() - interval '1 year'
           WHEN 2 THEN now() - interval '1 hour' WHEN 3 THEN now() ELSE '-infinity' END"""
    )
    with gone_back(site):
        pass

    since = {
        each.token_id: each.doubt.since_seconds_ago
        for each in claim(make_queue())
        if each.doubt is not None
    }

    week, slack = 7 * 86_400.0, 3600.0
    ages = {1: week, 2: 3600.0 + slack, 3: slack, 4: week}
    assert since == pytest.approx(ages, abs=30.0)


def test_a_token_that_was_minted_later_is_in_doubt_for_an_hour(
    site: Site, make_queue: MakeQueue
) -> None:
    """It may have been minted before, and forgotten."""
    site.mint("one")
    with gone_back(site):
        claim_one(make_queue())
    claim_one(make_queue())
    site.query("UPDATE imagegen_servers SET noticed_at = noticed_at - interval '59 minutes'")
    site.mint("two", first_token_id=2)
    assert claim_one(make_queue()).doubt is not None
    site.query("UPDATE imagegen_servers SET noticed_at = noticed_at - interval '1 minute'")
    site.mint("three", first_token_id=3)

    assert claim_one(make_queue()).doubt is None


@pytest.mark.parametrize("decided", ["requested_at = now()", "error_kind = 'unresolved'"])
def test_doubt_ends_with_what_is_decided_since(
    site: Site, make_queue: MakeQueue, decided: str
) -> None:
    """A request that was recorded, or a failure after which a person wants another image."""
    site.mint("one")
    with gone_back(site):
        claim_one(make_queue())
    held = claim_one(make_queue())
    fallback = use_fallback(make_queue(), held, "soft")
    site.query("UPDATE imagegen_servers SET noticed_at = noticed_at - interval '11 seconds'")

    site.query(f"UPDATE generations SET {decided} WHERE id = %s", held.generation_id)

    assert held.doubt is not None and fallback.doubt is not None
    assert use_fallback(make_queue(), fallback, "soft").doubt is None


def test_doubt_does_not_end_with_what_was_made_before(site: Site, make_queue: MakeQueue) -> None:
    """Others may have been made too."""
    site.mint("one")
    site.query("UPDATE tokens_s0 SET created_at = created_at - interval '1 minute'")
    with gone_back(site):
        claim_one(make_queue())
    held = claim_one(make_queue())
    site.query("UPDATE imagegen_servers SET noticed_at = noticed_at - interval '11 seconds'")
    made_at = datetime.now(UTC) - timedelta(seconds=30)

    found = make_queue().record_found(
        held, "prediction1", prompt="one", account=None, made_at=made_at
    )

    assert found is not None
    assert found.requested_at == made_at.strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    assert found.requested_seconds_ago == pytest.approx(30.0, abs=20.0)
    assert use_fallback(make_queue(), found, "soft").doubt is not None


@pytest.mark.parametrize(
    "made_at", [None, datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC)]
)
def test_a_time_that_cannot_be_is_not_believed(
    site: Site, make_queue: MakeQueue, made_at: datetime | None
) -> None:
    site.mint("one")

    found = make_queue().record_found(
        claim_one(make_queue()), "prediction1", prompt="one", account=None, made_at=made_at
    )

    assert found is not None
    assert found.requested_seconds_ago is not None
    assert 0.0 <= found.requested_seconds_ago <= timedelta(days=30).total_seconds()


def test_the_fallback_of_a_token_in_doubt_is_in_doubt_too(
    site: Site, make_queue: MakeQueue
) -> None:
    site.mint("one")
    with gone_back(site):
        forgotten = use_fallback(make_queue(), claim_one(make_queue()), "soft")
    fallback = use_fallback(make_queue(), claim_one(make_queue()), "soft")

    assert fallback.doubt is not None
    assert fallback.doubt.seeds[1] == fallback.seed == forgotten.seed


def test_what_was_claimed_on_another_server_is_not_sent(site: Site, make_queue: MakeQueue) -> None:
    site.mint("one")
    queue = make_queue()
    claimed = claim_one(queue)
    with gone_back(site):
        pass

    assert record_request(queue, claimed, "one") is None

    site.query("UPDATE generations SET lease_until = now() - interval '1 second'")
    again = claim_one(queue)
    assert (again.generation_id, again.seed) == (claimed.generation_id, claimed.seed)
    assert again.doubt is not None
    assert record_request(queue, again, "one") is not None


def test_what_another_server_recorded_is_completed_all_the_same(
    site: Site, make_queue: MakeQueue
) -> None:
    site.mint("one")
    queue = make_queue()
    accepted = accepted_claim(queue)
    with gone_back(site):
        pass

    assert queue.apply(accepted, DONE) is not None
    assert site.token()[0] == "uploading"


@pytest.mark.parametrize(
    "decision",
    [
        DONE,
        FailAttempt("transient", "no", 3, 1.0),
        Requeue("unavailable", "no", 1.0),
        UseFallback("content_policy", "no", "soft"),
        Postpone(1.0),
    ],
    ids=lambda decision: type(decision).__name__,
)
def test_what_was_recorded_before_is_written_again(
    site: Site, make_queue: MakeQueue, decision: Decision
) -> None:
    """Where the new server has the claim, and not what came after it."""
    site.mint("one")
    queue = make_queue()
    claimed = claim_one(queue)
    with gone_back(site):
        requested = record_request(queue, claimed, "one")
        assert requested
        accepted = queue.record_prediction(requested, "prediction1")
        assert accepted

    assert queue.apply(accepted, decision) is not None
    [row] = site.query(
        "SELECT prediction_id, prompt, account, requested_at::text FROM generations WHERE id = %s",
        claimed.generation_id,
    )
    assert row[:3] == ("prediction1", "one", "an-account")
    assert row[3] is not None


def test_a_prediction_that_another_generation_has_taken_is_not_taken_from_it(
    site: Site, make_queue: MakeQueue
) -> None:
    """As can happen without a marker, where two tokens have one prompt."""
    site.mint("one", "one")
    queue = make_queue()
    held, other = claim(queue)
    with gone_back(site):
        requested = record_request(queue, held, "one")
        assert requested
        accepted = queue.record_prediction(requested, "prediction1")
        assert accepted
    assert queue.record_found(other, "prediction1", prompt="one", account=None, made_at=None)

    assert queue.apply(accepted, DONE) is None


def test_a_token_that_is_at_work_here_is_not_claimed_anew(
    site: Site, make_queue: MakeQueue
) -> None:
    """Its slot will notice that its lease is lost."""
    site.mint("one")
    with gone_back(site):
        claim_one(make_queue())

    assert make_queue().claim(limit=1, new_limit=1, model="m", busy=[1]) == []
