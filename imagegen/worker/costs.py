"""Computes the cost of a generation, in dollars, once its prediction has ended."""

from dataclasses import replace
from decimal import Decimal

from imagegen.config import Price, Settings, Usage, longest_cost, megapixels
from imagegen.failures import FAILURES, Billed, Kind
from imagegen.queue import Claim, Complete, Decision, FailAttempt, UseFallback
from imagegen.replicate import Failed
from imagegen.worker.endings import Ending


def with_cost(decision: Decision, claim: Claim, ending: Ending, settings: Settings) -> Decision:
    """Return the decision with the cost of its prediction; without a cost if no price is known, or
    if there was no prediction."""
    price = settings.price.of(claim.model) if settings.price else None
    kept = getattr(claim.closing, "cost", None)
    match decision:
        # The database refused to write an earlier decision, and its image may be lost since.
        case Complete(cost=None) | FailAttempt(cost=None) | UseFallback(cost=None) if kept:
            return replace(decision, cost=kept)
        case Complete(cost=None) if price:
            return replace(decision, cost=_cost(price, decision, settings))
        case FailAttempt(cost=None) | UseFallback(cost=None):
            kind = Kind(decision.kind)
            is_free = _is_free(kind, claim, price)
            if isinstance(ending, Failed) and not is_free:
                used, seconds = ending.images, ending.predict_seconds
                decision = replace(decision, images=used, predict_seconds=seconds)
            if not price or not (claim.prediction_id or kind is Kind.UNRESOLVED):
                return decision
            return replace(decision, cost="0" if is_free else _cost(price, decision, settings))
    return decision


def request_dollars(settings: Settings) -> Decimal | None:
    """Return the most that a request may cost, in dollars; None if no price is known."""
    price = settings.price.of(settings.model) if settings.price else None
    if price is None:
        return None
    return longest_cost(price, settings.model_input, settings.cancel_after_seconds)


def second_dollars(settings: Settings) -> Decimal | None:
    """Return what a second of the model costs; None if it is not billed by the second."""
    return settings.price.of_a_second(settings.model) if settings.price else None


def _is_free(kind: Kind, claim: Claim, price: Price | None) -> bool:
    """Return whether Replicate surely bills nothing for a prediction that ended so.

    One that was aborted never ran, and nobody is billed for it.
    """
    bills_failures = price is not None and price.bills_failures and kind is not Kind.ABORTED
    has_run = claim.prediction_id is not None and bills_failures
    return FAILURES[kind].billed is Billed.NO and not has_run


def _cost(
    price: Price, decision: Complete | FailAttempt | UseFallback, settings: Settings
) -> str | None:
    """Return the cost of a prediction. A failure without a number of images counts as one image, as
    in `imagegen spend`."""
    size: Decimal | None = megapixels(settings.model_input)
    cost = price.cost(Usage(max(decision.images or 0, 1), decision.predict_seconds, size))
    return None if cost is None else f"{cost:f}"
