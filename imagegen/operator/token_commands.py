"""The commands that can change a token in its present state, and what each would do."""

from collections.abc import Iterator
from dataclasses import dataclass

from imagegen.failures import MAX_ATTEMPTS
from imagegen.operator.holds import TokenState
from imagegen.operator.retry import TokenSnapshot, plan_of


@dataclass(frozen=True)
class Command:
    """A command as it can be pasted into a shell, and what it does."""

    text: str
    effect: str


def commands(seen: TokenSnapshot, state: TokenState | None) -> list[Command]:
    """Return the commands that would change this token, by the rules of the commands themselves."""
    return [
        Command(f"imagegen tokens {text}", effect)
        for text, effect in (*_retries(seen), *_holds(state))
    ]


def why_no_retry(seen: TokenSnapshot) -> str | None:
    """Return why `tokens retry` would not change the token; None if it would."""
    plan = plan_of([seen], lost=False)
    return next(iter(plan.refused + plan.skipped), None) if not plan.hastened else None


def _retries(seen: TokenSnapshot) -> Iterator[tuple[str, str]]:
    plan, lost = plan_of([seen], lost=False), plan_of([seen], lost=True)
    fallback = plan_of([seen], lost=False, waiting=True)
    asks = "; asks first, because an image was paid for, or perhaps was" * seen.may_be_billed
    attempts = f"{MAX_ATTEMPTS} new attempts"
    if plan.handed_on:
        yield (
            f"retry {seen.token_id}",
            f"hands its image on again for nothing: {seen.handed_on_url}",
        )
    if plan.hastened:
        yield f"retry {seen.token_id}", "tries now to write what became of it to tokens_s0"
    if plan.chosen:
        yield f"retry {seen.token_id}", f"gives it {attempts}{asks}"
    if fallback.chosen:
        how = "with the fallback prompt in place of the author's"
        yield f"retry --fallback {seen.token_id}", f"gives it {attempts} {how}{asks}"
    if lost.chosen and not plan.chosen:
        yield f"retry --lost {seen.token_id}", "pays for another image; asks first"


def _holds(state: TokenState | None) -> Iterator[tuple[str, str]]:
    if state and state.is_held:
        yield f"release {state.token_id}", "lets it go on"
    elif state and state.obstacle is None:
        yield f"hold {state.token_id}", "keeps it from being claimed until it is released"
