"""Seven bad days of Replicate's, all at the same time, each with a site of its own."""

from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.benchmarks.figures import table
from tests.drills import outages
from tests.drills.outages import FAULTS, Endured
from tests.drills.stage import stage
from tests.support.judge import judge, judge_what_is_left

TOKENS = 60
WORK_BEFORE = 10
OUTAGE_SECONDS = 12.0
# A request that gets no answer is given up after 15 s, and only then is anything known.
BLACK_HOLE_SECONDS = 20.0
LATENCY_SECONDS = 1.0
# What all slots had begun, and what two workers try after 1, 2, 4 and 8 s, and then once more.
MOST_POSTS = 20 + 2 * 5
# Each worker's gate; and once more where the answer to an earlier request opened it.
MOST_CLOSINGS = 2 * 2


@pytest.fixture(scope="module")
def endured(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Future[Endured]]]:
    with ThreadPoolExecutor(len(FAULTS)) as threads:
        yield {
            fault: threads.submit(have_outage, fault, tmp_path_factory.mktemp(fault))
            for fault in FAULTS
        }


def have_outage(fault: str, folder: Path) -> Endured:
    with (
        outages.prepared(fault, folder, LATENCY_SECONDS) as bad_day,
        stage(folder, procs=2, sandbox=bad_day.sandbox, **bad_day.settings) as place,
    ):
        place.mint(TOKENS)
        endured = outages.endure(
            bad_day, place.site, place.program, work_before=WORK_BEFORE,
            seconds=BLACK_HOLE_SECONDS if fault == "black-hole" else OUTAGE_SECONDS,
            patience=60,
        )  # fmt: skip
        print(f"{fault}:\n{table(outages.figures(endured, place.procs))}")
        outages.judge_outage(bad_day, endured)
        judge(place.site, place.sandbox)
        judge_what_is_left(place.site)
        return endured


@pytest.mark.parametrize("fault", FAULTS)
def test_an_outage_fails_no_token_and_costs_few_requests(
    endured: dict[str, Future[Endured]], fault: str
) -> None:
    cost = endured[fault].result()

    assert cost.posts <= MOST_POSTS
    assert cost.closings <= MOST_CLOSINGS
