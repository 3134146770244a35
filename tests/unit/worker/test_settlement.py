"""How long a token waits after a failed attempt."""

import random

import pytest

from imagegen.worker.settlement import RETRY_JITTER, retry_seconds


@pytest.mark.parametrize(("attempt", "seconds"), [(1, 1.0), (2, 2.0), (3, 4.0), (1000, 4.0)])
def test_the_wait_doubles_with_each_attempt_and_ends_at_four_seconds(
    attempt: int, seconds: float
) -> None:
    random.seed(1)
    waits = [retry_seconds(attempt) for _ in range(200)]

    assert seconds * (1 - RETRY_JITTER) <= min(waits)
    assert max(waits) <= seconds * (1 + RETRY_JITTER)


def test_tokens_that_failed_together_do_not_come_back_together() -> None:
    assert len({retry_seconds(1) for _ in range(10)}) > 1
