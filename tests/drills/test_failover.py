"""The database goes back in time: a failover to a standby that lags, a snapshot in its place."""

import contextlib
from pathlib import Path

import pytest

from tests.drills.failover import KINDS, fail_over, in_words, violations
from tests.drills.stage import stage
from tests.support.judge import judge_what_is_left

TOKENS = 20
# With eight slots: some tokens are done, eight in flight, and some wait at the failover.
BATCH_SIZE = "4"
LATENCY_SECONDS = (1.0, 5.0)
LAG_SECONDS = 3.0


@pytest.mark.parametrize(
    ("kind", "mint_in_lag"),
    [("asynchronous", False), ("asynchronous", True), ("synchronous", False), ("snapshot", True)],
)
def test_a_prediction_that_the_database_lost_is_not_paid_again_and_reaches_its_token(
    tmp_path: Path, kind: str, mint_in_lag: bool
) -> None:
    server = KINDS[kind]()
    with stage(tmp_path, contextlib.nullcontext, server, WORKER_BATCH_SIZE=BATCH_SIZE) as place:
        went_back = fail_over(
            place, server, tokens=TOKENS, lag_seconds=LAG_SECONDS, latency_seconds=LATENCY_SECONDS,
            mint_in_lag=mint_in_lag, kill_worker=mint_in_lag,
        )  # fmt: skip
        print(in_words(place, went_back))

        assert (went_back.forgotten_generations == 0) == (kind == "synchronous")
        assert list(violations(place.site, place.sandbox)) == []
        judge_what_is_left(place.site)
