"""Dollars of the ledger: each as it was recorded, or by today's price, and summed exactly."""

from datetime import date
from decimal import Decimal
from typing import Any

import pytest

from imagegen.operator.spend import Entry, SpendRow, added_up, to_row
from tests.support.settings import with_environment

A_DAY = date(2026, 11, 1)
PRICES = """{"a/image": 0.003, "a/run": {"price": 0.05, "unit": "run"},
    "a/second": {"price": 0.001, "unit": "second"},
    "a/megapixel": {"price": 0.01, "unit": "megapixel"}}"""


def entry(**more: Any) -> Entry:
    """Two requests of two images each that cost a cent, but for what is named."""
    values: dict[str, Any] = {
        "day": A_DAY, "model": "a/image", "author": "", "outcome": "succeeded", "billing": "yes",
        "is_priced": True, "requests": 2, "predictions": 2, "images": 4, "predict_seconds": 2.5,
        "cost": Decimal("0.01"),
    }  # fmt: skip
    return Entry(**values | more)


def row(prices: str = PRICES, **more: Any) -> SpendRow:
    return to_row(entry(**more), with_environment(IMAGEGEN_PRICE=prices).price, {"1": "0xA"})


def test_a_recorded_cost_is_what_was_paid_whatever_the_price_is_today() -> None:
    found = row()

    assert (found.dollars, found.priced, found.priced_today) == (Decimal("0.01"), 2, 0)


@pytest.mark.parametrize(
    ("model", "dollars"), [("a/image", "0.012"), ("a/run", "0.10"), ("a/second", "0.0025")]
)
def test_what_has_no_cost_has_that_of_todays_price(model: str, dollars: str) -> None:
    found = row(model=model, is_priced=False, cost=Decimal(0))

    assert (found.dollars, found.priced_today, found.unpriced) == (Decimal(dollars), 2, 0)


@pytest.mark.parametrize("model", ["an/other", "a/megapixel"])
def test_what_has_no_cost_and_no_price_is_counted_and_not_guessed(model: str) -> None:
    found = row(model=model, is_priced=False, cost=Decimal(0))

    assert (found.dollars, found.priced_today, found.unpriced) == (Decimal(0), 0, 2)


def test_what_is_perhaps_billed_is_apart() -> None:
    found = row(billing="perhaps", outcome="failed: gone")

    assert (found.dollars, found.dollars_perhaps) == (Decimal(0), Decimal("0.01"))
    assert (found.images_billed, found.images_perhaps_billed) == (0, 4)


def test_a_canceled_run_of_a_private_model_is_surely_billed() -> None:
    private = '{"a/image": {"price": 0.003, "bills_failures": true}}'
    canceled = {"billing": "perhaps", "outcome": "failed: canceled"}

    assert row(private, **canceled).dollars == Decimal("0.01")
    assert row(**canceled).dollars_perhaps == Decimal("0.01")


def test_what_is_not_billed_costs_nothing_and_lacks_no_price() -> None:
    for model in ("a/run", "a/second", "a/megapixel", "an/other"):
        found = row(model=model, billing="no", images=0, is_priced=False, cost=Decimal(0))
        assert (found.dollars, found.unpriced) == (Decimal(0), 0)


def test_an_author_is_named_by_the_wallet_or_else_by_the_id() -> None:
    assert [row(author=each).author for each in ("1", "2", "")] == ["0xA", "2", "unknown"]


def test_rows_are_added_up_by_what_is_asked_for_and_then_all_of_them() -> None:
    rows = [row(author="2"), row(author="1"), row(author="2", model="a/run")]

    *lines, total = added_up(rows, ["author"])

    assert [(line.author, line.model, line.dollars) for line in lines] == [
        ("0xA", None, Decimal("0.01")),
        ("2", None, Decimal("0.02")),
    ]
    assert (total.author, total.predictions, total.dollars) == (None, 6, Decimal("0.03"))


def test_ten_thousand_costs_add_up_to_the_last_digit() -> None:
    rows = [row(cost=Decimal("0.000000000000000001")), *[row(cost=Decimal("0.1"))] * 10_000]

    assert added_up(rows, [])[-1].dollars == Decimal("1000.000000000000000001")
