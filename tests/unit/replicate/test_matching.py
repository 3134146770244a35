"""What Replicate's list says of a request whose answer nobody saw."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from imagegen.replicate import matching
from imagegen.replicate.matching import Absent, Expired, Found
from imagegen.replicate.replies import Listed, Prediction


def listed(*items: tuple[str, str, str, int]) -> Listed:
    """Newest first, each as (id, status, prompt, seed)."""
    return Listed(tuple(Prediction(i, s, prompt=prompt, seed=seed) for i, s, prompt, seed in items))


def found_id(everything: Listed, known: frozenset[str] = frozenset()) -> str | None:
    outcome = matching.match_request(everything, "a cat", 7, set(known))
    return outcome.prediction.id if isinstance(outcome, Found) else None


def test_a_prediction_is_found_by_its_prompt_and_its_seed() -> None:
    everything = listed(
        ("other-seed", "succeeded", "a cat", 8),
        ("other-prompt", "succeeded", "a dog", 7),
        ("ours", "starting", "a cat", 7),
    )

    assert found_id(everything) == "ours"


def test_a_list_without_it_says_that_none_was_made() -> None:
    assert (
        matching.match_request(listed(("x", "succeeded", "a dog", 7)), "a cat", 7, set())
        == Absent()
    )
    assert matching.match_request(Listed(()), "a cat", 7, set()) == Absent()


def test_a_prediction_of_another_generation_is_not_taken() -> None:
    everything = listed(("theirs", "succeeded", "a cat", 7))

    assert matching.match_request(everything, "a cat", 7, {"theirs"}) == Absent()


@pytest.mark.parametrize(
    ("newest_first", "best"),
    [
        (["succeeded", "succeeded"], "1"),  # the earliest that succeeded
        (["succeeded", "failed"], "0"),
        (["processing", "succeeded"], "1"),
        (["starting", "failed"], "0"),  # one that runs before one that failed
        (["starting", "processing"], "1"),  # the earliest that runs
        (["failed", "canceled"], "1"),
    ],
)
def test_of_two_by_mishap_the_one_that_gives_an_image_soonest_is_taken(
    newest_first: list[str], best: str
) -> None:
    items = [(str(place), status, "a cat", 7) for place, status in enumerate(newest_first)]
    outcome = matching.match_request(listed(*items), "a cat", 7, set())

    assert isinstance(outcome, Found)
    assert outcome.prediction.id == best
    assert [other.id for other in outcome.others] == [str(1 - int(best))]


def test_a_list_whose_inputs_were_deleted_cannot_tell() -> None:
    purged = Prediction("purged", "succeeded", data_removed=True)

    assert matching.match_request(Listed((purged,)), "a cat", 7, set()) == Expired()
    assert matching.match_request(Listed((purged,)), "a cat", 7, {"purged"}) == Absent()


def test_what_was_made_at_another_time_decides_nothing() -> None:
    noon = datetime(2026, 1, 1, 12, tzinfo=UTC)
    around = (noon - timedelta(minutes=10), noon + timedelta(minutes=10))
    other = Prediction(
        "other", "succeeded", data_removed=True, created_at=noon - timedelta(hours=1)
    )
    within = replace(other, created_at=noon)

    assert matching.match_request(Listed((other,)), "a cat", 7, set(), around) == Absent()
    assert matching.match_request(Listed((within,)), "a cat", 7, set(), around) == Expired()


def test_our_prompt_without_the_seed_may_be_ours_where_the_model_drops_it() -> None:
    echo = Prediction("echo", "processing", prompt="a cat")

    assert matching.match_request(Listed((echo,)), "a cat", 7, set()) == Expired()


def test_a_match_counts_though_others_were_deleted() -> None:
    ours = Prediction("ours", "succeeded", prompt="a cat", seed=7)
    purged = Prediction("purged", "succeeded", data_removed=True)

    assert matching.match_request(Listed((ours, purged)), "a cat", 7, set()) == Found(ours)


def test_without_a_seed_any_unclaimed_prediction_of_the_prompt_is_taken_and_no_other() -> None:
    everything = listed(
        ("left-over", "processing", "a cat", 3),
        ("free", "succeeded", "a cat", 2),
        ("theirs", "succeeded", "a cat", 1),
        ("dog", "succeeded", "a dog", 4),
    )

    outcome = matching.match_request(everything, "a cat", None, {"theirs"})

    assert isinstance(outcome, Found)
    assert outcome.prediction.id == "free"
    assert outcome.others == ()  # they belong to other requests, and are not to be cancelled


def test_what_an_earlier_request_made_is_found_late_by_its_seed() -> None:
    everything = listed(
        ("ours", "processing", "a cat", 7),
        ("other", "succeeded", "a cat", 9),
        ("known", "succeeded", "a cat", 8),
    )

    assert matching.match_late(everything, [7, 8], {"known"}) == Found(everything.predictions[0])
    assert matching.match_late(everything, [5], set()) is None
