"""What a prediction of Replicate's list is to the ledger."""

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from imagegen.audit.verdicts import (
    LedgerRow,
    Ours,
    Related,
    Verdict,
    billed_images,
    judge,
    learn,
    needs_nearby,
)
from imagegen.replicate import Prediction

MODEL = "owner/name"
NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
OURS = Ours("us", frozenset({MODEL}))
WITHOUT_MARKER = replace(OURS, has_marker=False)
ROW = LedgerRow(
    generation_id=1, token_id=7, model=MODEL, seed=42, prompt="a cat", prediction_id="ourown00",
    account="us", state="succeeded", requested_at=NOON, images=1,
)  # fmt: skip
WITHOUT_ID = replace(ROW, prediction_id=None, state="refused")
AT_WORK = replace(ROW, prediction_id=None, state="open")
IT = Prediction(
    "another0", "succeeded", model=MODEL, prompt="a cat", seed=42, created_at=NOON, source="api"
)
DELETED = replace(IT, prompt=None, seed=None, data_removed=True)


def verdict(prediction: Prediction, related: Related, ours: Ours = OURS) -> Verdict:
    return judge(prediction, ours, related)[0]


def of_seed(*rows: LedgerRow) -> Related:
    return Related(by_seed={42: rows})


def nearby(row: LedgerRow) -> Related:
    return Related(nearby={IT.id: row})


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        (ROW, Verdict.EXPLAINED),
        (replace(ROW, account=None), Verdict.EXPLAINED),  # from before accounts were recorded
        (replace(ROW, account="them"), Verdict.OTHER_ACCOUNT),
        (replace(ROW, is_duplicate=True), Verdict.CANCELLED_DUPLICATE),
    ],
)
@pytest.mark.parametrize("prediction", [IT, DELETED, replace(IT, model="listed/otherwise")])
def test_what_the_ledger_has_by_its_id_is_explained(
    prediction: Prediction, row: LedgerRow, expected: Verdict
) -> None:
    assert verdict(prediction, Related(by_id={IT.id: row})) == expected


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        (ROW, Verdict.DUPLICATE),
        (WITHOUT_ID, Verdict.LOST),
        (replace(WITHOUT_ID, state="failed"), Verdict.LOST),
        (AT_WORK, Verdict.OPEN),
        (replace(ROW, state="open"), Verdict.DUPLICATE),
    ],
)
def test_a_prediction_with_a_seed_of_the_ledger_is_of_that_generation(
    row: LedgerRow, expected: Verdict
) -> None:
    assert judge(IT, OURS, of_seed(row)) == (expected, row)


@pytest.mark.parametrize(
    "prediction",
    [
        replace(IT, prompt="listed otherwise than it was sent"),
        replace(IT, model="listed/otherwise"),
        replace(IT, model=None),
    ],
)
def test_a_seed_needs_the_model_or_the_prompt_beside_it(prediction: Prediction) -> None:
    assert verdict(prediction, of_seed(ROW)) == Verdict.DUPLICATE


@pytest.mark.parametrize(
    "prediction",
    [
        replace(IT, source="web"),
        replace(IT, seed=43),
        replace(IT, seed=None),
        replace(IT, model="them/theirs", prompt="a dog"),  # the same seed by chance
        replace(DELETED, model="them/theirs"),
        replace(DELETED, source="web"),
        replace(DELETED, id="not0near"),
    ],
)
def test_what_has_no_marker_of_ours_is_a_strangers(prediction: Prediction) -> None:
    related = Related(by_seed={42: [ROW]}, nearby={IT.id: ROW})

    assert judge(prediction, OURS, related) == (Verdict.STRANGER, None)


@pytest.mark.parametrize(
    ("row", "expected"),
    [(ROW, Verdict.PERHAPS_OURS), (WITHOUT_ID, Verdict.PERHAPS_OURS), (AT_WORK, Verdict.OPEN)],
)
@pytest.mark.parametrize("ours", [OURS, WITHOUT_MARKER])
def test_of_a_prediction_without_its_input_time_tells_perhaps(
    ours: Ours, row: LedgerRow, expected: Verdict
) -> None:
    assert verdict(DELETED, nearby(row), ours) == expected


@pytest.mark.parametrize(
    ("row", "expected"),
    [(ROW, Verdict.DUPLICATE), (WITHOUT_ID, Verdict.LOST), (AT_WORK, Verdict.OPEN)],
)
def test_without_a_marker_a_prediction_is_known_by_model_prompt_and_time(
    row: LedgerRow, expected: Verdict
) -> None:
    assert verdict(IT, nearby(row), WITHOUT_MARKER) == expected
    assert verdict(replace(IT, source="web"), nearby(row), WITHOUT_MARKER) == Verdict.STRANGER
    assert verdict(replace(IT, model="them/it"), nearby(row), WITHOUT_MARKER) == Verdict.STRANGER


def test_only_what_may_be_ours_is_looked_for_by_its_time() -> None:
    assert not needs_nearby(IT, OURS)
    assert needs_nearby(IT, WITHOUT_MARKER)
    assert needs_nearby(DELETED, OURS)
    assert not needs_nearby(replace(DELETED, model="them/theirs"), OURS)
    assert needs_nearby(replace(DELETED, model="them/it"), Ours("us", frozenset({None})))


def test_of_a_deployment_the_name_of_its_model_is_learned_and_others_are_strangers() -> None:
    deployed = replace(ROW, model="deployments/us/mine")
    known = learn(replace(OURS, models=frozenset({None})), [(IT, deployed)])

    assert known.models == {MODEL}
    assert not known.may_be_of(replace(IT, model="other/model"))


def test_names_under_which_a_model_is_listed_are_learned() -> None:
    known = learn(OURS, [(replace(IT, model="listed/otherwise"), replace(ROW, model="old/one:1"))])

    assert known.models == {MODEL, "listed/otherwise", "old/one"}
    assert known.has_marker


def test_a_model_that_shows_no_marker_is_compared_without() -> None:
    shown = replace(IT, seed=None)

    assert not learn(OURS, [(shown, ROW), (DELETED, ROW)]).has_marker
    assert learn(OURS, [(shown, ROW), (IT, ROW)]).has_marker
    assert learn(OURS, [(DELETED, ROW)]).has_marker


@pytest.mark.parametrize(
    ("status", "billed"),
    [
        ("succeeded", (1, 0)),
        ("failed", (0, 0)),
        ("aborted", (0, 0)),
        ("canceled", (0, 1)),
        ("processing", (0, 1)),
        ("", (0, 1)),
    ],
)
def test_what_a_prediction_costs_is_told_by_its_status(
    status: str, billed: tuple[int, int]
) -> None:
    assert billed_images(replace(IT, status=status)) == billed
    four = replace(IT, status=status, images_asked=4)
    assert billed_images(four) == tuple(4 * count for count in billed)
