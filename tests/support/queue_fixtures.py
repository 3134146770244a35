"""Queues of the tests, and what is claimed from them."""

from collections.abc import Callable, Iterator
from decimal import Decimal

import pytest

from imagegen.database.connection import Pool, open_pool
from imagegen.database.tables import read_tables
from imagegen.queue import Claim, Queue, UseFallback
from tests.support.processes import Site

MODEL = "black-forest-labs/flux-schnell"
MakeQueue = Callable[..., Queue]


@pytest.fixture
def pool(site: Site) -> Iterator[Pool]:
    with open_pool(site.database_url, 4, "test") as pool:
        yield pool


@pytest.fixture
def make_queue(pool: Pool) -> MakeQueue:
    """A queue for a worker of this name."""

    def make(
        worker: str = "worker",
        lease_seconds: float = 60.0,
        give_up_after_seconds: float = 86_400.0,
        daily_limit: int | None = None,
        *,
        daily_budget: Decimal | None = None,
        request_dollars: Decimal | None = None,
        second_dollars: Decimal | None = None,
    ) -> Queue:
        with pool.connection() as connection:
            return Queue(
                pool,
                read_tables(connection),
                worker,
                lease_seconds=lease_seconds,
                give_up_after_seconds=give_up_after_seconds,
                daily_limit=daily_limit,
                daily_budget=daily_budget,
                request_dollars=request_dollars,
                second_dollars=second_dollars,
            )

    return make


def claim(queue: Queue, limit: int = 10, **more: int) -> list[Claim]:
    return queue.claim(limit=limit, new_limit=more.get("new_limit", limit), model=MODEL)


def claim_one(queue: Queue) -> Claim:
    (only,) = claim(queue)
    return only


def token(site: Site, token_id: int = 1) -> tuple[object, ...]:
    return site.query(
        """SELECT status, generation_attempts, generation_error, image_url FROM tokens_s0
           WHERE token_id = %s""",
        token_id,
    )[0]


def record_request(queue: Queue, claim: Claim, prompt: str) -> Claim | None:
    return queue.record_request(claim, prompt=prompt, model=claim.model, account="an-account")


def accepted_claim(queue: Queue) -> Claim:
    return accept(queue, claim_one(queue))


def accept(queue: Queue, claim: Claim) -> Claim:
    """Replicate makes a prediction for it."""
    requested = record_request(queue, claim, "a prompt")
    assert requested
    accepted = queue.record_prediction(requested, f"prediction{requested.generation_id}")
    assert accepted
    return accepted


def use_fallback(queue: Queue, censored: Claim, prompt: str) -> Claim:
    """The generation that follows one whose prompt was refused for its content."""
    applied = queue.apply(censored, UseFallback("content_policy", "NSFW", prompt))
    assert applied and applied.fallback
    return applied.fallback
