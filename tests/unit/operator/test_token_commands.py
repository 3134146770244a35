"""Which commands a token's page proposes: those that would do something, and no others."""

from dataclasses import replace
from typing import Any

import pytest

from imagegen.operator.holds import TokenState
from imagegen.operator.retry import TokenSnapshot
from imagegen.operator.token_commands import commands, why_no_retry

URL = "https://replicate.delivery/out-0.webp"
SEEN = TokenSnapshot(
    token_id=42, status="failed", image_url=None, error_kind="transient", image_id=None,
    made_url=None, copy_path=None, recorded_url=None, closing_error=None, is_expired=False,
    base=None, is_held=False,
)  # fmt: skip
IMAGE: dict[str, Any] = {"image_id": 7, "made_url": URL}


def proposed(state: TokenState | None = None, **known: Any) -> dict[str, str]:
    found = commands(replace(SEEN, **known), state)
    return {each.text.removeprefix("imagegen tokens "): each.effect for each in found}


def state(status: str, *, held: bool = False, at_work: bool = False) -> TokenState:
    return TokenState(42, status, is_held=held, is_at_work=at_work)


@pytest.mark.parametrize(
    ("known", "texts"),
    [
        ({}, ["retry 42", "retry --fallback 42"]),
        (IMAGE, ["retry 42", "retry --lost 42"]),
        (IMAGE | {"is_expired": True}, ["retry --lost 42"]),
        (IMAGE | {"status": "uploading", "image_url": URL}, ["retry --lost 42"]),
        (IMAGE | {"status": "uploading"}, ["retry 42", "retry --lost 42"]),
        ({"status": "generating", "closing_error": "too narrow"}, ["retry 42"]),
        ({"status": "generating"}, []),
        ({"status": "detected"}, ["retry --fallback 42"]),
        ({"status": "detected", "is_held": True}, []),
        ({"status": "revealed"}, []),
        ({"status": None}, []),
    ],
)
def test_a_retry_is_proposed_where_it_changes_something(
    known: dict[str, Any], texts: list[str]
) -> None:
    assert list(proposed(**known)) == texts


@pytest.mark.parametrize(
    ("now", "texts"),
    [
        (state("detected"), ["hold 42"]),
        (state("detected", held=True), ["release 42"]),
        (state("detected", at_work=True), []),
        (state("generating", at_work=True), []),
        (state("failed"), []),
        (None, []),
    ],
)
def test_a_hold_is_proposed_for_a_token_that_waits_and_a_release_for_one_that_is_held(
    now: TokenState | None, texts: list[str]
) -> None:
    assert list(proposed(now, status="revealed")) == texts


def test_a_retry_that_may_pay_again_says_that_it_asks() -> None:
    assert "asks first" in proposed(error_kind="no_output")["retry 42"]
    assert "asks first" not in proposed()["retry 42"]
    assert "for nothing" in proposed(**IMAGE)["retry 42"]


def test_where_no_retry_does_anything_it_says_why_in_the_words_of_the_command() -> None:
    assert why_no_retry(SEEN) is None
    assert why_no_retry(replace(SEEN, status="detected", is_held=True)) == (
        "token 42 is held: release it first"
    )
    assert why_no_retry(replace(SEEN, status="revealed")) == (
        "token 42 is revealed: the next stage has taken it"
    )
