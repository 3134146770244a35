"""Prices of models as Replicate bills them, and the cost of a prediction, in dollars."""

import json
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from decimal import Context, Decimal, InvalidOperation
from enum import StrEnum
from typing import Any

from imagegen.config.parsers import DEPLOYMENT, MODEL, VERSION, WrongValueError, amount, quoted

# Prices have at most 17 digits, and so have measured seconds: no product or sum is ever rounded.
EXACT = Context(prec=100)
ANY_MODEL = "*"
NAMES = (MODEL, VERSION, DEPLOYMENT)
PIXELS = 1_000_000  # of a megapixel
# The inputs that say how many images to make; models have different names for it.
COUNT_INPUTS = ("num_outputs", "num_images", "number_of_images", "max_images")
MUST_BE = (
    'an amount of money such as 0.003, or prices by model as JSON, such as {"black-forest-labs/'
    'flux-schnell": 0.003, "stability-ai/sdxl": {"price": 0.000725, "unit": "second"}, "*": 0.01}'
)


class Unit(StrEnum):
    """The unit of a price."""

    IMAGE = "image"
    RUN = "run"
    SECOND = "second"
    MEGAPIXEL = "megapixel"


@dataclass(frozen=True)
class Usage:
    """What a prediction used, or may use at most. None: not known."""

    images: int
    seconds: float | None
    megapixels: Decimal | None  # of each image


@dataclass(frozen=True)
class Price:
    """The price of a model at Replicate."""

    dollars: Decimal
    unit: Unit = Unit.IMAGE
    # True for private models and deployments: failed and canceled runs are billed too.
    bills_failures: bool = False

    def cost(self, usage: Usage) -> Decimal | None:
        """Return the cost in dollars, exact; None if the usage in the price's unit is not known."""
        match self.unit:
            case Unit.IMAGE:
                return EXACT.multiply(self.dollars, Decimal(usage.images))
            case Unit.RUN:
                return self.dollars
            case Unit.SECOND:
                seconds = usage.seconds
                return None if seconds is None else EXACT.multiply(self.dollars, exact(seconds))
            case Unit.MEGAPIXEL:
                if usage.megapixels is None:
                    return None
                pixels = EXACT.multiply(usage.megapixels, Decimal(usage.images))
                return EXACT.multiply(self.dollars, pixels)


@dataclass(frozen=True)
class Prices:
    """The prices of models, by name. The price of `*` is for all other models."""

    by_model: Mapping[str, Price]

    def of(self, model: str) -> Price | None:
        """Return the price of a model, with or without its version. A deployment is private."""
        name = model.partition(":")[0]
        found = (self.by_model.get(each) for each in (model, name, ANY_MODEL))
        price = next((price for price in found if price is not None), None)
        if price is not None and DEPLOYMENT.fullmatch(model):
            return replace(price, bills_failures=True)
        return price

    def of_an_image(self, model: str) -> Decimal | None:
        """Return the dollars for an image of a model; None if it is not billed by the image."""
        price = self.of(model)
        return price.dollars if price is not None and price.unit is Unit.IMAGE else None

    def of_a_second(self, model: str) -> Decimal | None:
        """Return what a second of a model costs, if it is billed by the second."""
        price = self.of(model)
        return price.dollars if price is not None and price.unit is Unit.SECOND else None

    @property
    def for_any_image(self) -> Decimal | None:
        """The price if it is one number: for an image of any model."""
        price = self.by_model.get(ANY_MODEL)
        is_alone = len(self.by_model) == 1 and price is not None and price == Price(price.dollars)
        return price.dollars if price is not None and is_alone else None

    def as_setting(self) -> float | dict[str, Any]:
        """Return the prices in the form of the setting: a number, or JSON by model."""
        if (dollars := self.for_any_image) is not None:
            return float(dollars)
        return {model: _as_json(price) for model, price in self.by_model.items()}


def exact(number: float) -> Decimal:
    """Return the decimal that a number is written as: sums of money must be exact."""
    return Decimal(repr(number))


def images_asked(inputs: Mapping[str, Any]) -> int:
    """Return the most images that these inputs ask for; 1 if no input says it."""
    counts = [inputs.get(name) for name in COUNT_INPUTS]
    return max([1, *(each for each in counts if type(each) is int)])


def megapixels(inputs: Mapping[str, Any]) -> Decimal | None:
    """Return the megapixels of each image, from `width` and `height` or from `megapixels`; None if
    the inputs do not say it, because then the model decides."""
    width, height = inputs.get("width"), inputs.get("height")
    if type(width) is int and type(height) is int and width > 0 and height > 0:
        return Decimal(width * height) / PIXELS
    with suppress(InvalidOperation):
        number = Decimal(str(inputs.get("megapixels", "")).removesuffix("MP").strip())
        return number if number.is_finite() and number > 0 else None
    return None


def longest_cost(
    price: Price, inputs: Mapping[str, Any], cancel_after_seconds: float
) -> Decimal | None:
    """Return the most that a request with these inputs may cost, in dollars; None: not known.

    If a model is billed by the second, that is the cost of a prediction that Replicate cancels for
    its time. An average would not do: half of the predictions exceed it.
    """
    return price.cost(Usage(images_asked(inputs), cancel_after_seconds, megapixels(inputs)))


def prices(value: str) -> Prices:
    """Return the prices in a number, or in JSON by model. Raises WrongValueError."""
    if not value.lstrip().startswith("{"):
        with suppress(WrongValueError):
            return Prices({ANY_MODEL: Price(exact(amount(value)))})
        raise WrongValueError(f"{MUST_BE}; not {quoted(value)}")
    try:
        found = json.loads(value)
    except (ValueError, RecursionError):
        raise WrongValueError(f"{MUST_BE}; this is no JSON: {quoted(value)}") from None
    if not found:
        raise WrongValueError(f"{MUST_BE}; it names no model")
    return Prices({_model(name): _price(name, each) for name, each in found.items()})


def dollars(value: str) -> Decimal:
    """Return an amount of money, exact as it is written. Raises WrongValueError."""
    return exact(amount(value.strip().removeprefix("$")))


def budget_problem(values: Mapping[str, Any]) -> str | None:
    """Return why a daily budget cannot be kept; None if it can, or if there is none.

    `values` has the settings by name; a setting that is wrong has none, and is reported itself.
    """
    budget: Decimal | None = values.get("daily_budget")
    needed = ("price", "model", "model_input", "cancel_after_seconds")
    if budget is None or any(name not in values for name in needed):
        return None
    model, listed = values["model"], values["price"]
    price = listed.of(model) if listed else None
    if price is None:
        return f"needs a price for {model}: set IMAGEGEN_PRICE"
    most = longest_cost(price, values["model_input"], values["cancel_after_seconds"])
    if most is None:
        return (
            f"needs to know how large images are, as {model} is billed by the megapixel: give"
            " width and height in IMAGEGEN_MODEL_INPUT"
        )
    if 0 < budget < most:
        lower = ", or lower IMAGEGEN_CANCEL_AFTER_SECONDS" if price.unit is Unit.SECOND else ""
        return f"must be 0, or at least {most:f}, which one prediction may cost{lower}"
    return None


def _as_json(price: Price) -> float | dict[str, Any]:
    if price == Price(price.dollars):
        return float(price.dollars)
    more = {"bills_failures": True} if price.bills_failures else {}
    return {"price": float(price.dollars), "unit": price.unit.value, **more}


def _model(name: str) -> str:
    if name != ANY_MODEL and not any(shape.fullmatch(name) for shape in NAMES):
        raise WrongValueError(f"{MUST_BE}; {quoted(name)} is no name of a model, and not *")
    return name


def _price(model: str, value: object) -> Price:
    fields = value if isinstance(value, dict) else {"price": value}
    number, unit = fields.get("price"), fields.get("unit", Unit.IMAGE)
    bills_failures = fields.get("bills_failures", False)
    if others := sorted(fields.keys() - {"price", "unit", "bills_failures"}):
        raise WrongValueError(f"{MUST_BE}; {quoted(others[0])} of {model} means nothing")
    if type(number) not in (int, float):
        raise WrongValueError(f"{MUST_BE}; {model} has no number as its price")
    if not isinstance(unit, str) or unit not in list(Unit):
        units = ", ".join(Unit)
        raise WrongValueError(f"{MUST_BE}; the unit of {model} must be one of {units}")
    if type(bills_failures) is not bool:
        raise WrongValueError(f"{MUST_BE}; bills_failures of {model} must be true or false")
    try:
        return Price(exact(amount(repr(number))), Unit(unit), bills_failures)
    except WrongValueError:
        raise WrongValueError(f"{MUST_BE}; {model} has {quoted(repr(number))}") from None
