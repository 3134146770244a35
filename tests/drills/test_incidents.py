"""Three bad hours of Replicate's, shortened to seconds, at the same time: no token fails."""

from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.benchmarks.figures import table
from tests.drills import incidents
from tests.drills.incidents import LATENCY_SECONDS, Endured, Hour
from tests.drills.stage import stage
from tests.support.judge import judge_what_is_left
from tests.support.sandbox import Sandbox

# Nothing is made, what is made fails, and nobody hears of what is made.
KINDS = ("503", "E003", "lagging-list")
HOUR = Hour(20.0)
TOKENS = 30
WITHIN_SECONDS = 90.0  # on a busy machine


@pytest.fixture(scope="module")
def endured(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Future[Endured]]]:
    with ThreadPoolExecutor(len(KINDS)) as threads:
        yield {
            kind: threads.submit(have_incident, kind, tmp_path_factory.mktemp(kind))
            for kind in KINDS
        }


def have_incident(kind: str, folder: Path) -> Endured:
    with stage(folder, procs=2, sandbox=Sandbox(LATENCY_SECONDS), **HOUR.settings) as place:
        cost = incidents.endure(
            place, kind, HOUR, tokens=TOKENS, seed=1, patience_seconds=WITHIN_SECONDS
        )
        print(f"{kind}:\n{table(cost.figures(WITHIN_SECONDS))}")
        assert not list(incidents.violations(place.site, place.sandbox))
        judge_what_is_left(place.site)
        return cost


@pytest.mark.parametrize("kind", KINDS)
def test_a_bad_hour_fails_no_token_but_the_bad_one_and_buys_no_image_twice(
    endured: dict[str, Future[Endured]], kind: str
) -> None:
    cost = endured[kind].result()

    # Work in an hour of seconds takes more of a core than in an earnest one.
    missed = [each.name for each in cost.figures(WITHIN_SECONDS) if each.verdict == "missed"]
    assert set(missed) <= {"CPU during the incident"}
