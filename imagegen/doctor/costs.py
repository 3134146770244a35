"""Checks of the price: that a prediction of the model gets a cost, and what the budget admits."""

from imagegen.config import Settings, longest_cost
from imagegen.doctor.report import Findings, ok, warning


def check_costs(settings: Settings) -> Findings:
    """Check the price of the model. Yield nothing if no price is set."""
    if settings.price is None:
        return
    price = settings.price.of(settings.model)
    if price is None:
        message = f"IMAGEGEN_PRICE has no price for {settings.model}: no cost is recorded"
        yield warning("costs", message, "give it, or one for *, in IMAGEGEN_PRICE")
        return
    most = longest_cost(price, settings.model_input, settings.cancel_after_seconds)
    if most is None:
        message = f"{settings.model} is billed by the megapixel, and no input says how many"
        fix = "give width and height in IMAGEGEN_MODEL_INPUT, or predictions get no cost"
        yield warning("costs", message, fix)
        return
    costs = f"a prediction costs at most {most:f} dollars"
    if settings.daily_budget is not None and most:
        admitted = settings.daily_budget // most
        costs += f"; the budget of {settings.daily_budget:f} a day admits {admitted:f} of these"
    yield ok("costs", costs)
