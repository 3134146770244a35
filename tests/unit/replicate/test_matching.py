"""Finding the prediction of a request without an answer in Replicate's list."""

import itertools
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TypeVar

import pytest

from imagegen.replicate import matching
from imagegen.replicate.matching import ALWAYS, Absent, Expired, Found, Period, Request
from imagegen.replicate.replies import Prediction

T = TypeVar("T")


def listed(*items: tuple[str, str, str, int | None]) -> list[Prediction]:
    """Newest first, each as (id, status, prompt, seed)."""
    return [Prediction(i, s, prompt=prompt, seed=seed) for i, s, prompt, seed in items]


def match(
    everything: list[Prediction],
    *known: str,
    seeds: tuple[int, ...] = (7,),
    made: Period = ALWAYS,
    has_settled: bool = True,
) -> Found | Absent | Expired:
    request = Request("a cat", seeds, made, has_settled)
    return matching.match_request(everything, request, set(known))


def test_a_prediction_is_found_by_its_seed_alone_however_its_prompt_comes_back() -> None:
    everything = listed(
        ("other-seed", "succeeded", "a cat", 8), ("ours", "starting", "A CAT, in detail", 7)
    )

    assert match(everything) == Found(everything[1])


def test_a_list_without_it_says_that_none_was_made() -> None:
    assert match(listed(("x", "succeeded", "a dog", 8))) == Absent()
    assert match([]) == Absent()


def test_a_prediction_of_another_generation_is_not_taken() -> None:
    everything = listed(("theirs", "succeeded", "a cat", 7))

    assert match(everything, "theirs") == Absent()


@pytest.mark.parametrize(
    ("newest_first", "best"),
    [
        (["succeeded", "succeeded"], "1"),  # the earliest that succeeded
        (["processing", "succeeded"], "1"),
        (["starting", "processing"], "1"),  # the earliest that runs
    ],
)
def test_of_two_by_mishap_the_one_that_gives_an_image_soonest_is_taken(
    newest_first: list[str], best: str
) -> None:
    items = [(str(place), status, "a cat", 7) for place, status in enumerate(newest_first)]
    outcome = match(listed(*items))

    assert isinstance(outcome, Found)
    assert outcome.prediction.id == best
    assert [other.id for other in outcome.others] == [str(1 - int(best))]


@pytest.mark.parametrize("status", ["succeeded", "starting", ""])
@pytest.mark.parametrize("ended", ["failed", "canceled", "aborted"])
def test_what_brought_no_image_is_no_duplicate(status: str, ended: str) -> None:
    everything = listed(("1", ended, "a cat", 7), ("0", status, "a cat", 7))

    assert match(everything) == Found(everything[1])
    assert match(everything[:1]) == Found(everything[0])


def test_a_list_whose_inputs_were_deleted_cannot_tell() -> None:
    purged = Prediction("purged", "succeeded", data_removed=True)

    assert match([purged]) == Expired()
    assert match([purged], "purged") == Absent()


@pytest.mark.parametrize(
    ("asked_for", "may_be"),
    [("owner/name", True), ("owner/name:" + "0" * 64, True), ("0" * 64, True), ("b/c", False)],
)
def test_without_inputs_the_model_alone_may_tell_whose_it_is(asked_for: str, may_be: bool) -> None:
    purged = Prediction("purged", "succeeded", data_removed=True, model="owner/name")
    request = Request("a cat", [7], model=asked_for)

    assert isinstance(matching.match_request([purged], request, []), Expired) == may_be


def test_a_prediction_of_ours_without_an_id_cannot_be_asked_for() -> None:
    assert match(listed(("", "", "a cat", 7))) == Expired()


def test_what_was_made_at_another_time_decides_nothing() -> None:
    noon = datetime(2026, 1, 1, 12, tzinfo=UTC)
    around = (noon - timedelta(minutes=10), noon + timedelta(minutes=10))
    other = Prediction(
        "other", "succeeded", data_removed=True, created_at=noon - timedelta(hours=1)
    )
    within = replace(other, created_at=noon)

    assert match([other], made=around) == Absent()
    assert match([within], made=around) == Expired()


def test_where_the_model_returns_no_seed_the_prompt_decides_once_the_request_has_settled() -> None:
    echo = Prediction("echo", "processing", prompt="a cat")

    assert match([echo]) == Found(echo)
    assert match([echo], has_settled=False) == Absent()
    assert match([echo], "echo") == Absent()


def test_anothers_prediction_of_the_same_prompt_is_not_ours_where_seeds_come_back() -> None:
    everything = listed(("theirs", "succeeded", "a cat", None), ("any", "succeeded", "a dog", 3))

    assert match(everything) == Absent()
    assert match(everything, "any") == Absent()


def test_a_match_counts_though_others_were_deleted() -> None:
    ours = Prediction("ours", "succeeded", prompt="a cat", seed=7)
    purged = Prediction("purged", "succeeded", data_removed=True)

    assert match([ours, purged]) == Found(ours)


def test_without_a_marker_any_unclaimed_prediction_of_the_prompt_is_taken_and_no_other() -> None:
    everything = listed(
        ("left-over", "processing", "a cat", None),
        ("free", "succeeded", "a cat", None),
        ("theirs", "succeeded", "a cat", None),
        ("dog", "succeeded", "a dog", None),
    )

    # The others belong to other requests, and are not to be cancelled.
    assert match(everything, "theirs", seeds=()) == Found(everything[1])
    # Before it has settled it may be another generation's, whose id is not recorded yet.
    assert match(everything, "theirs", seeds=(), has_settled=False) == Absent()


def test_a_model_that_was_seen_to_return_no_marker_is_matched_by_prompt_beside_others_that_do() -> (
    None
):
    everything = listed(("ours", "succeeded", "a cat", None), ("other", "succeeded", "a dog", 3))
    request = Request("a cat", (7,), returns_marker=False)

    assert matching.match_request(everything, request, set()) == Found(everything[0])
    assert matching.candidates(everything, request) == {"ours"}


def test_what_a_person_made_in_the_playground_is_not_ours() -> None:
    theirs = Prediction("theirs", "succeeded", prompt="a cat", source="web")

    assert match([theirs], seeds=()) == Absent()
    assert match([replace(theirs, prompt=None, data_removed=True)]) == Absent()


def of_model(*items: tuple[str, str, str | None]) -> list[Prediction]:
    """Each as (id, prompt, model)."""
    return [Prediction(i, "succeeded", prompt=prompt, model=model) for i, prompt, model in items]


@pytest.mark.parametrize(
    ("everything", "result"),
    [
        # That of another program, which has the same prompt.
        ([("a", "a cat", "other/model"), ("b", "a dog", "owner/name")], "absent"),
        # There the model may have another name, so nobody can tell.
        ([("a", "a cat", "other/model")], "undecidable"),
        ([("a", "a cat", "other/model"), ("b", "a cat", "owner/name")], "b"),
        ([("a", "a cat", None)], "a"),
    ],
)
def test_by_its_prompt_alone_only_a_prediction_of_the_same_model_is_found(
    everything: list[tuple[str, str, str | None]], result: str
) -> None:
    items = of_model(*everything)
    found = matching.match_request(items, Request("a cat", model="owner/name"), set())

    match found:
        case Found(prediction):
            assert prediction.id == result
        case Absent():
            assert result == "absent"
        case Expired():
            assert result == "undecidable"


def test_a_deployment_is_listed_under_the_name_of_its_model() -> None:
    items = of_model(("ours", "a cat", "owner/name"))
    request = Request("a cat", model="deployments/owner/mine")

    assert matching.match_request(items, request, set()) == Found(items[0])


def test_a_request_that_may_carry_one_of_several_seeds_is_found_by_any() -> None:
    everything = listed(("second", "processing", "b", 8), ("first", "failed", "a", 7))

    assert match(everything, seeds=(7, 8, 9)) == Found(everything[0])
    assert match(everything[1:], seeds=(7, 8, 9)) == Found(everything[1])
    assert match(everything, seeds=(1, 2)) == Absent()


@pytest.mark.parametrize("status", ["succeeded", "processing"])
def test_of_successive_requests_the_first_is_taken_and_the_next_is_no_duplicate(
    status: str,
) -> None:
    """It may have been held back as unsafe, and the other made with the fallback prompt."""
    everything = listed(("fallback", status, "soft", 8), ("first", "succeeded", "a", 7))

    assert match(everything, seeds=(7, 8)) == Found(everything[1])
    assert match(everything, "first", seeds=(8, 9)) == Found(everything[0])


AT = datetime(2026, 1, 1, tzinfo=UTC)
YEAR_2026 = (AT, AT + timedelta(days=365))
SHOWN = [
    Prediction("other", "succeeded", prompt="a dog", seed=8, created_at=AT),
    Prediction("alike", "succeeded", prompt="a cat", created_at=AT),
    Prediction("purged", "succeeded", data_removed=True),
    Prediction("ours", "starting", prompt="A CAT", seed=7),
]


def parts(items: list[T]) -> list[tuple[T, ...]]:
    """Return every selection of them."""
    return [each for n in range(len(items) + 1) for each in itertools.combinations(items, n)]


@pytest.mark.parametrize("shown", parts(SHOWN))
@pytest.mark.parametrize("seeds", [(), (7,), (6, 7)])
def test_only_of_candidates_it_matters_whose_they_are(
    shown: tuple[Prediction, ...], seeds: tuple[int, ...]
) -> None:
    ids = parts([item.id for item in shown])
    for known, has_settled, made in itertools.product(ids, [True, False], [ALWAYS, YEAR_2026]):
        request = Request("a cat", seeds, made, has_settled)
        needed = matching.candidates(shown, request) & set(known)

        by_needed, by_all = (
            matching.match_request(shown, request, each) for each in (needed, known)
        )
        assert by_needed == by_all


def test_what_others_made_is_no_candidate() -> None:
    request = Request("a cat", (7,), YEAR_2026)

    assert matching.candidates(SHOWN[:2], request) == set()
    assert matching.candidates(SHOWN, request) == {"purged", "ours"}
    assert matching.candidates(SHOWN, replace(request, seeds=())) == {"alike", "purged"}
