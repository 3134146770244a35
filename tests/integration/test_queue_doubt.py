"""Tokens in doubt: a new database server may have forgotten requests of theirs."""

from datetime import UTC, datetime, timedelta

import pytest

from imagegen.queue import (
    Complete,
)
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


def test_a_server_that_is_known_leaves_no_doubt(site: Site, make_queue: MakeQueue) -> None:
    site.mint("one")
    before = site.query("SELECT server, noticed_at::text FROM imagegen_servers")
    claimed = claim_one(make_queue())

    assert claimed.doubt is None
    assert record_request(make_queue(), claimed, "one") is not None
    assert site.query("SELECT server, noticed_at::text FROM imagegen_servers") == before


def test_a_token_that_a_new_server_may_have_forgotten_is_claimed_in_doubt(
    site: Site, make_queue: MakeQueue
) -> None:
    site.mint("one")
    finished = accepted_claim(make_queue())
    make_queue().apply(finished, DONE)
    site.mint("two", first_token_id=2)
    site.query("UPDATE tokens_s0 SET created_at = created_at - interval '1 hour'")
    with forgotten(site.query):
        lost = claim_one(make_queue())
        fallback = use_fallback(make_queue(), lost, "soft")

    claimed = claim_one(make_queue())

    assert claimed.doubt is not None
    assert claimed.doubt.seeds[:2] == [lost.seed, fallback.seed]
    assert 0.0 <= claimed.doubt.noticed_seconds_ago < 30.0
    [(opened_at,)] = site.query("SELECT min(opened_at) FROM generations")
    assert claimed.doubt.since == opened_at.strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    assert claimed.server != finished.server


def test_no_prediction_is_looked_for_that_is_much_older_than_the_mint(
    site: Site, make_queue: MakeQueue
) -> None:
    """In a quiet week others of the account may have made what cannot be told apart any more."""
    site.mint("of a year ago", "of an hour ago", "just now", "at no time")
    site.query(
        """UPDATE tokens_s0 SET created_at = CASE token_id WHEN 1 THEN now() - interval '1 year'
           WHEN 2 THEN now() - interval '1 hour' WHEN 3 THEN now() ELSE '-infinity' END"""
    )
    with forgotten(site.query):
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
    with forgotten(site.query):
        claim_one(make_queue())
    claim_one(make_queue())
    site.query("UPDATE imagegen_servers SET noticed_at = noticed_at - interval '59 minutes'")
    site.mint("two", first_token_id=2)
    assert claim_one(make_queue()).doubt is not None
    site.query("UPDATE imagegen_servers SET noticed_at = noticed_at - interval '1 minute'")
    site.mint("three", first_token_id=3)

    assert claim_one(make_queue()).doubt is None


@pytest.mark.parametrize("decided", ["requested_at = now()", "error_kind = 'unresolved'"])
def test_doubt_ends_with_a_request_or_a_failure_since(
    site: Site, make_queue: MakeQueue, decided: str
) -> None:
    """A request that was recorded, or a failure after which a person wants another image."""
    site.mint("one")
    with forgotten(site.query):
        claim_one(make_queue())
    held = claim_one(make_queue())
    fallback = use_fallback(make_queue(), held, "soft")
    site.query("UPDATE imagegen_servers SET noticed_at = noticed_at - interval '11 seconds'")

    site.query(f"UPDATE generations SET {decided} WHERE id = %s", held.generation_id)

    assert held.doubt is not None and fallback.doubt is not None
    assert use_fallback(make_queue(), fallback, "soft").doubt is None


def test_doubt_does_not_end_with_a_prediction_made_before(
    site: Site, make_queue: MakeQueue
) -> None:
    """Others may have been made too."""
    site.mint("one")
    site.query("UPDATE tokens_s0 SET created_at = created_at - interval '1 minute'")
    with forgotten(site.query):
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
def test_an_impossible_time_is_not_believed(
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
    with forgotten(site.query):
        lost = use_fallback(make_queue(), claim_one(make_queue()), "soft")
    fallback = use_fallback(make_queue(), claim_one(make_queue()), "soft")

    assert fallback.doubt is not None
    assert fallback.doubt.seeds[1] == fallback.seed == lost.seed
