"""The facts about a token and its generations, for `imagegen tokens show` and the status page."""

from collections.abc import Mapping

from imagegen.operator.tokens import Generation, Token

Facts = Mapping[str, object]


def of_token(token: Token, age: str | None) -> Facts:
    """Return the facts of a token by their names; None: not known. `age` is that of its mint."""
    return {
        "status": token.state,
        "attempts": token.generation_attempts,
        "error": token.generation_error,
        "not before": moment(token.generate_after),
        "minted": f"{moment(token.created_at) or '-'}{f', {age} ago' if age else ''}",
        "author": token.author,
        "prompt": token.author_prompt,
        "image": token.image_url,
    }


def title(generation: Generation) -> str:
    """Return which generation it is, and how it ended."""
    fallback = ", fallback prompt" if generation.fallback else ""
    kind = f": {generation.error_kind}" if generation.error_kind else ""
    name = f"generation {generation.id}, attempt {generation.attempt}{fallback}"
    return f"{name}, {generation.state}{kind}"


def of_generation(generation: Generation) -> Facts:
    """Return the facts of a generation by their names; None: not known."""
    closed_at, predict_seconds = moment(generation.closed_at), generation.predict_seconds
    until = "tried again" if generation.refusal else "held until"
    return {
        "error": generation.error_message,
        "refusals": f"{generation.refusals} in a row" if generation.refusals else None,
        "sent": generation.prompt,
        "model": f"{generation.model}, seed {generation.seed}",
        "prediction": generation.prediction_id,
        "claimed": moment(generation.opened_at),
        "requested": moment(generation.requested_at),
        "ended": closed_at and f"{closed_at}, after {generation.duration_seconds:.1f} s",
        "refused": generation.refusal,
        until: None if closed_at else moment(generation.lease_until),
        "computed": None if predict_seconds is None else f"{predict_seconds:.2f} s",
        "cost": generation.cost and f"{generation.cost} USD",
        "image": generation.image_url,
        "kept as": generation.image_path,
        "sha256": generation.image_sha256,
        "handed on": generation.handed_on_url,
        "worker": generation.worker,
    }


def moment(time: str | None) -> str | None:
    """Return 2026-11-24 02:03:04 UTC for an ISO time in UTC."""
    return f"{time[:19].replace('T', ' ')} UTC" if time and time[0].isdigit() else time
