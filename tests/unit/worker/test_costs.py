"""What a generation costs, by how it ended: written once, with its end."""

from dataclasses import replace
from typing import Any

import pytest

from imagegen.failures import FAILURES, Billed, Kind
from imagegen.queue import Claim, Complete, Decision, FailAttempt, Postpone, Requeue, UseFallback
from imagegen.replicate import Failed, Succeeded
from imagegen.worker.costs import request_dollars, second_dollars, with_cost
from imagegen.worker.decisions import decide
from imagegen.worker.endings import Ending, Kept
from tests.support.generation_claims import NEW
from tests.support.settings import with_environment

ACCEPTED = replace(NEW, prediction_id="p1")
PER_IMAGE = "0.003"
PER_SECOND = '{"*": {"price": 0.001, "unit": "second"}}'
PRIVATE = '{"*": {"price": 0.001, "unit": "second", "bills_failures": true}}'


def ended(ending: Ending, price: str = PER_IMAGE, claim: Claim = ACCEPTED, **more: str) -> Any:
    """The decision about a generation that ended so, with its cost."""
    settings = with_environment(**({"IMAGEGEN_PRICE": price} if price else {}), **more)
    return with_cost(decide(claim, ending, settings), claim, ending, settings)


def image(images: int = 1, seconds: float | None = 0.7) -> Succeeded:
    return Succeeded("https://example.com/1.png", seconds, 1.2, images=images)


def failure(kind: Kind, seconds: float | None = 2.5, images: int | None = None) -> Failed:
    return Failed(kind, "oh", images=images, predict_seconds=seconds)


def test_an_image_costs_its_price_times_those_in_the_output() -> None:
    assert ended(image(4)).cost == "0.012"


def test_an_image_by_the_second_costs_what_was_computed_or_nobody_knows() -> None:
    assert ended(image(4, 3.804328), PER_SECOND).cost == "0.003804328"
    assert ended(image(4, None), PER_SECOND).cost is None


def test_by_the_megapixel_the_size_is_that_of_the_inputs_or_nobody_knows() -> None:
    price = '{"*": {"price": 0.01, "unit": "megapixel"}}'
    inputs = '{"width": 2000, "height": 1000}'

    assert ended(image(), price, IMAGEGEN_MODEL_INPUT=inputs).cost == "0.02"
    assert ended(image(), price).cost is None


def test_without_a_price_nothing_has_a_cost() -> None:
    assert ended(image(), "").cost is None
    assert ended(failure(Kind.CANCELED), "").cost is None


@pytest.mark.parametrize("kind", Kind)
def test_a_failure_costs_what_is_billed_or_may_be(kind: Kind) -> None:
    billed = FAILURES[kind].billed is not Billed.NO

    assert ended(failure(kind)).cost == ("0.003" if billed else "0")


def test_images_that_were_held_back_are_all_paid_for() -> None:
    decision = ended(failure(Kind.HELD_BACK, images=4))

    assert isinstance(decision, UseFallback)
    assert (decision.cost, decision.images) == ("0.012", 4)


@pytest.mark.parametrize(
    ("kind", "cost"),
    [
        (Kind.TRANSIENT, "0.0025"),
        (Kind.CONTENT_POLICY, "0.0025"),
        (Kind.CANCELED, "0.0025"),
        (Kind.ABORTED, "0"),
    ],
)
def test_failed_runs_of_a_private_model_are_billed_but_not_what_never_ran(
    kind: Kind, cost: str
) -> None:
    assert ended(failure(kind), PRIVATE).cost == cost


def test_what_made_no_prediction_has_no_cost() -> None:
    assert ended(failure(Kind.INVALID_PROMPT), claim=NEW).cost is None
    assert ended(failure(Kind.PERMANENT), PRIVATE, claim=NEW).cost is None


def test_a_request_that_is_perhaps_paid_for_has_its_cost_without_a_prediction() -> None:
    assert ended(failure(Kind.UNRESOLVED), claim=NEW).cost == "0.003"
    assert ended(failure(Kind.UNRESOLVED, None), PER_SECOND, claim=NEW).cost is None


@pytest.mark.parametrize("decision", [Requeue("throttled", "no", 1.0), Postpone(1.0)])
def test_what_waits_has_no_cost(decision: Decision) -> None:
    settings = with_environment(IMAGEGEN_PRICE=PER_IMAGE)

    assert with_cost(decision, ACCEPTED, Kept(decision), settings) is decision


def test_what_the_database_refused_before_keeps_its_cost_though_its_image_is_lost() -> None:
    refused = Complete("https://example.com/1.png", 0.7, 4, cost="0.04")
    claim = replace(ACCEPTED, closing=refused)

    assert ended(Kept(refused), claim=claim) is refused
    lost = ended(failure(Kind.DATA_REMOVED), claim=claim)
    assert isinstance(lost, FailAttempt)
    assert lost.cost == "0.04"


def test_the_budget_counts_a_request_with_the_most_that_it_may_cost() -> None:
    settings = with_environment(IMAGEGEN_PRICE="0.03", IMAGEGEN_MODEL_INPUT='{"num_outputs": 4}')

    assert str(request_dollars(settings)) == "0.12"
    assert request_dollars(with_environment()) is None


@pytest.mark.parametrize(("price", "dollars"), [(PER_SECOND, "0.001"), (PER_IMAGE, "None")])
def test_the_budget_knows_what_a_second_costs_if_seconds_are_billed(
    price: str, dollars: str
) -> None:
    assert str(second_dollars(with_environment(IMAGEGEN_PRICE=price))) == dollars
