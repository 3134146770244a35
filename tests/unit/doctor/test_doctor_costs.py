"""The doctor says what a prediction costs, and when it gets no cost."""

import pytest

from imagegen.doctor.costs import check_costs
from tests.support.settings import with_environment


def findings(**environment: str) -> list[tuple[str, str]]:
    found = check_costs(with_environment(**environment))
    return [(str(each.level), each.message) for each in found]


def test_without_a_price_there_is_nothing_to_say() -> None:
    assert findings() == []


def test_the_most_that_a_prediction_costs_is_named_with_what_the_budget_admits() -> None:
    assert findings(IMAGEGEN_PRICE="0.003", IMAGEGEN_DAILY_BUDGET="1") == [
        (
            "ok",
            "a prediction costs at most 0.003 dollars; the budget of 1.0 a day admits 333 of these",
        )
    ]


@pytest.mark.parametrize(
    ("price", "why"),
    [
        ('{"a/b": 1}', "IMAGEGEN_PRICE has no price for black-forest-labs/flux-schnell"),
        ('{"*": {"price": 1, "unit": "megapixel"}}', "is billed by the megapixel, and no input"),
    ],
)
def test_a_model_whose_predictions_get_no_cost_is_a_warning(price: str, why: str) -> None:
    [(level, message)] = findings(IMAGEGEN_PRICE=price)

    assert level == "warning"
    assert why in message
