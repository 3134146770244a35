"""What a price may be, and what a prediction costs by it: exact in decimals."""

from decimal import Decimal
from typing import Any

import pytest

from imagegen.config import Price, Prices, Unit, Usage, longest_cost, megapixels
from tests.support.settings import ENOUGH, complaints, with_environment

FLUX = "black-forest-labs/flux-schnell"
SDXL = "stability-ai/sdxl"
BY_MODEL = """{"black-forest-labs/flux-schnell": 0.003,
    "stability-ai/sdxl": {"price": 0.000725, "unit": "second"},
    "me/mine": {"price": 0.001, "unit": "second", "bills_failures": true}, "*": 0.04}"""


def prices(text: str) -> Prices:
    found = with_environment(IMAGEGEN_PRICE=text).price
    assert found is not None
    return found


def budgeted(price: str | None, budget: str = "5", **more: str) -> list[str]:
    """The complaints about a daily budget with this price."""
    given = {"IMAGEGEN_DAILY_BUDGET": budget, **more}
    return complaints(ENOUGH | given | ({"IMAGEGEN_PRICE": price} if price else {}))


def test_a_number_is_the_price_of_an_image_of_any_model() -> None:
    found = prices("0.003")

    assert found.of(FLUX) == found.of("a/b") == Price(Decimal("0.003"), Unit.IMAGE)
    assert found.for_any_image == Decimal("0.003")


def test_each_model_has_its_own_price_with_or_without_a_version_and_star_is_for_the_others() -> (
    None
):
    found = prices(BY_MODEL)

    assert found.of(FLUX) == Price(Decimal("0.003"))
    assert found.of(f"{SDXL}:{'a' * 64}") == Price(Decimal("0.000725"), Unit.SECOND)
    assert found.of("me/mine") == Price(Decimal("0.001"), Unit.SECOND, bills_failures=True)
    assert found.of("any/other") == Price(Decimal("0.04"))
    assert found.of("deployments/me/mine") == Price(Decimal("0.04"), bills_failures=True)
    assert found.for_any_image is None


def test_a_model_that_is_not_listed_has_no_price_without_a_star() -> None:
    assert prices(f'{{"{FLUX}": 1}}').of("any/other") is None


@pytest.mark.parametrize(
    ("unit", "usage", "cost"),
    [
        (Unit.IMAGE, Usage(3, None, None), "0.009"),
        (Unit.RUN, Usage(3, None, None), "0.003"),
        (Unit.SECOND, Usage(3, 3.804328, None), "0.011412984"),
        (Unit.MEGAPIXEL, Usage(2, None, Decimal("1.048576")), "0.006291456"),
    ],
)
def test_a_cost_is_exact(unit: Unit, usage: Usage, cost: str) -> None:
    assert Price(Decimal("0.003"), unit).cost(usage) == Decimal(cost)


def test_what_is_not_known_is_not_guessed() -> None:
    assert Price(Decimal(1), Unit.SECOND).cost(Usage(1, None, Decimal(1))) is None
    assert Price(Decimal(1), Unit.MEGAPIXEL).cost(Usage(1, 1.0, None)) is None


@pytest.mark.parametrize(
    ("inputs", "size"),
    [
        ({"width": 1024, "height": 1024}, "1.048576"),
        ({"megapixels": "0.25"}, "0.25"),
        ({"megapixels": "2 MP"}, "2"),
        ({"aspect_ratio": "1:1"}, None),
        ({"width": 1024}, None),
        ({"width": True, "height": 5}, None),
        ({"megapixels": "many"}, None),
    ],
)
def test_megapixels_are_known_from_the_inputs_or_not_at_all(
    inputs: dict[str, Any], size: str | None
) -> None:
    assert megapixels(inputs) == (None if size is None else Decimal(size))


def test_a_request_may_cost_all_the_images_that_it_asks_for() -> None:
    price = Price(Decimal("0.03"))

    assert longest_cost(price, {"num_outputs": 4}, 300) == Decimal("0.12")
    assert longest_cost(price, {"max_images": 15}, 300) == Decimal("0.45")


def test_a_request_by_the_second_may_cost_the_time_until_it_is_canceled() -> None:
    assert longest_cost(Price(Decimal("0.001"), Unit.SECOND), {}, 300) == Decimal("0.300")


@pytest.mark.parametrize(
    ("given", "complaint"),
    [
        ("cheap", "not 'cheap'"),
        ("-1", "not '-1'"),
        ("{", "this is no JSON: '{'"),
        ("{}", "it names no model"),
        ('{"flux": 1}', "'flux' is no name of a model, and not *"),
        ('{"*": "1"}', "* has no number as its price"),
        ('{"*": true}', "* has no number as its price"),
        ('{"*": -1}', "* has '-1'"),
        ('{"*": NaN}', "* has 'nan'"),
        ('{"*": {"unit": "image"}}', "* has no number as its price"),
        ('{"*": {"price": 1, "unit": "hour"}}', "the unit of * must be one of image, run, second"),
        ('{"*": {"price": 1, "unit": ["image"]}}', "the unit of * must be one of image, run"),
        ('{"*": {"price": 1, "per": "image"}}', "'per' of * means nothing"),
        ('{"*": {"price": 1, "bills_failures": 1}}', "bills_failures of * must be true or false"),
    ],
)
def test_a_wrong_price_is_one_line_with_what_is_wrong(given: str, complaint: str) -> None:
    (line,) = complaints(ENOUGH | {"IMAGEGEN_PRICE": given})

    assert line.startswith("IMAGEGEN_PRICE must be an amount of money such as 0.003, or prices")
    assert complaint in line


def test_a_daily_budget_needs_a_price_of_the_model() -> None:
    needs = "IMAGEGEN_DAILY_BUDGET needs a price for black-forest-labs/flux-schnell: set"

    for price in (None, f'{{"{SDXL}": 1}}'):
        (line,) = budgeted(price)
        assert line.startswith(needs)
    assert budgeted("0.003") == []


def test_a_daily_budget_by_the_megapixel_needs_the_size_of_images() -> None:
    price = '{"*": {"price": 0.01, "unit": "megapixel"}}'
    size = '{"width": 1000, "height": 1000}'

    (line,) = budgeted(price)

    assert "give width and height in IMAGEGEN_MODEL_INPUT" in line
    assert budgeted(price, IMAGEGEN_MODEL_INPUT=size) == []


def test_a_daily_budget_that_admits_no_request_is_refused_but_for_zero() -> None:
    price = '{"*": {"price": 0.01, "unit": "second"}}'

    assert budgeted(price, "2") == [
        "IMAGEGEN_DAILY_BUDGET must be 0, or at least 3.00, which one prediction may cost,"
        " or lower IMAGEGEN_CANCEL_AFTER_SECONDS"
    ]
    assert budgeted(price, "0") == budgeted(price, "3") == budgeted(price, "$3") == []
