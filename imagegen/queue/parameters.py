"""Converts a claim to the parameters of statements, and a row to a claim."""

from typing import Any

from imagegen.queue import closings
from imagegen.queue.values import Claim, Doubt, EarlierRequest


def fence(claim: Claim) -> dict[str, Any]:
    """Return the parameters of the fence (law 4). An id alone would not do: after a failover to a
    standby that lagged, its sequence gives the same ids to other generations."""
    return {
        "generation_id": claim.generation_id,
        "seed": claim.seed,
        "token_id": claim.token_id,
    }


def known(claim: Claim) -> dict[str, Any]:
    return {name: getattr(claim, name) for name in closings.RECORDED} | fence(claim)


def to_claim(
    unresolved: list[Any] | None,
    doubt: dict[str, Any] | None,
    closing: dict[str, Any] | None,
    **columns: Any,
) -> Claim:
    return Claim(
        **columns,
        closing=closings.from_json(closing),
        unresolved=tuple(EarlierRequest(**each) for each in unresolved or ()),
        doubt=Doubt(**doubt) if doubt else None,
    )
