"""What the benchmarks compare with: a perfect pool, times that are always the same, medians."""

import statistics
from collections.abc import Iterator

import httpx
import pytest
from click.testing import CliRunner

from imagegen.sandbox import DEFAULT_TOKEN
from tests.benchmarks import load, stand_in, stand_in_speed
from tests.benchmarks.__main__ import main
from tests.benchmarks.figures import Figure, spreads, table_of_runs
from tests.benchmarks.stand_in import StandIn


@pytest.fixture(scope="module")
def replicate() -> Iterator[StandIn]:
    with stand_in.running() as running:
        yield running


@pytest.mark.parametrize(
    ("times", "slots", "seconds"),
    [([1.0] * 400, 20, 20.0), ([1.0] * 21, 20, 2.0), ([3.0, 1.0, 1.0, 2.0], 2, 4.0)],
)
def test_a_perfect_pool_gives_the_next_token_to_the_slot_that_is_free_first(
    times: list[float], slots: int, seconds: float
) -> None:
    assert load.perfect_seconds(times, slots) == pytest.approx(seconds)


def test_lognormal_times_are_always_the_same_and_distributed_as_said() -> None:
    many = load.lognormal(100_000)
    percentiles = statistics.quantiles(many, n=100)

    assert load.lognormal(400) == many[:400]
    assert percentiles[49] == pytest.approx(1.0, rel=0.05)
    assert percentiles[94] == pytest.approx(4.0, rel=0.05)


def test_a_goal_is_compared_with_the_median_of_the_runs() -> None:
    [found] = spreads([[Figure("time", value, "s", at_most=2)] for value in (9.0, 1.0, 2.0)])

    assert found.as_json()["value"] == 2.0
    assert found.as_json()["runs"] == [9.0, 1.0, 2.0]
    line = table_of_runs([found]).splitlines()[1]
    assert line.split() == ["time", "1", "2", "9", "s", "≤", "2", "met"]


def test_the_kth_prediction_takes_the_kth_time_and_is_seen_to_end(replicate: StandIn) -> None:
    headers = {"authorization": f"Bearer {DEFAULT_TOKEN}"}
    replicate.set_times([0.0, 600.0])
    with httpx.Client(base_url=replicate.url, headers=headers, trust_env=False) as http:
        answers = [
            http.post(stand_in_speed.CREATE_PATH, json={"input": {"prompt": prompt}}).json()
            for prompt in ("a lighthouse", "a cat")
        ]
        seen = [http.get(answer["urls"]["get"]).json()["status"] for answer in answers]

    assert [answer["status"] for answer in answers] == ["starting", "starting"]
    assert seen == ["succeeded", "starting"]
    assert [prompt for prompt, _ in replicate.arrivals()] == ["a lighthouse", "a cat"]


def test_a_request_that_comes_in_pieces_is_answered_once(replicate: StandIn) -> None:
    data = stand_in_speed.request("POST", stand_in_speed.CREATE_PATH, stand_in_speed.BODY)
    with stand_in_speed.connect(replicate) as connection:
        for start in range(0, len(data), 7):
            connection.sendall(data[start : start + 7])

        assert stand_in_speed.read_answer(connection)["status"] == "starting"


def test_an_unknown_row_is_refused_with_the_names_of_all() -> None:
    result = CliRunner().invoke(main, ["nonsense"])

    assert result.exit_code == 2
    assert "'lognormal'" in result.output
