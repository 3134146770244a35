"""A database that went back to an earlier state: a failover to a standby that lagged, a restore."""

from collections.abc import Callable
from dataclasses import replace

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
from tests.support.earlier_state import forgotten
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


def test_a_generation_that_was_forgotten_has_the_same_seed_again(
    site: Site, make_queue: MakeQueue
) -> None:
    site.mint("one", "two")
    with forgotten(site.query):
        first = {each.token_id: each for each in claim(make_queue())}
        fallbacks = {
            token_id: use_fallback(make_queue(), each, "soft") for token_id, each in first.items()
        }

    for again in claim(make_queue()):
        assert again.seed == first[again.token_id].seed
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


def test_a_token_claimed_on_another_server_is_not_sent(site: Site, make_queue: MakeQueue) -> None:
    site.mint("one")
    queue = make_queue()
    claimed = claim_one(queue)
    with forgotten(site.query):
        pass

    assert record_request(queue, claimed, "one") is None

    site.query("UPDATE generations SET lease_until = now() - interval '1 second'")
    again = claim_one(queue)
    assert (again.generation_id, again.seed) == (claimed.generation_id, claimed.seed)
    assert again.doubt is not None
    assert record_request(queue, again, "one") is not None


def test_a_request_recorded_on_another_server_is_completed_all_the_same(
    site: Site, make_queue: MakeQueue
) -> None:
    site.mint("one")
    queue = make_queue()
    accepted = accepted_claim(queue)
    with forgotten(site.query):
        pass

    assert queue.apply(accepted, DONE) is not None
    assert site.token()[0] == "uploading"


@pytest.mark.parametrize(
    "decision",
    [
        DONE,
        FailAttempt("transient", "no", token_fails=False),
        Requeue("unavailable", "no", 1.0),
        UseFallback("content_policy", "no", "soft"),
        Postpone(1.0),
    ],
    ids=lambda decision: type(decision).__name__,
)
def test_a_request_that_the_new_server_lacks_is_recorded_again(
    site: Site, make_queue: MakeQueue, decision: Decision
) -> None:
    """Where the new server has the claim, and not what came after it."""
    site.mint("one")
    queue = make_queue()
    claimed = claim_one(queue)
    with forgotten(site.query):
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
    with forgotten(site.query):
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
    with forgotten(site.query):
        claim_one(make_queue())

    assert make_queue().claim(limit=1, new_limit=1, model="m", busy=[1]) == []
