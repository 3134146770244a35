"""Refusals of a prompt or an image for its content, and the many errors that are none."""

import re
import time
from pathlib import Path

import pytest

from imagegen.config.parsers import error_pattern
from imagegen.replicate.content_policy import is_refused_content, is_refused_in_log, without_prompt

DATA = Path(__file__).parent / "data"


def messages(file: str) -> list[str]:
    lines = (DATA / file).read_text(encoding="utf-8").splitlines()
    return [line for line in lines if line and not line.startswith("#")]


@pytest.mark.parametrize("message", messages("content-refused.txt"))
def test_a_refusal_of_any_provider_is_one_of_content(message: str) -> None:
    assert is_refused_content(message)


@pytest.mark.parametrize("message", messages("content-not-refused.txt"))
def test_an_error_that_merely_has_such_words_refuses_no_content(message: str) -> None:
    assert not is_refused_content(message)


@pytest.mark.parametrize(
    "message",
    [
        "Prediction failed: Async prediction failed: ModelError: {}",
        "Error code: 400 - {{'error': {{'message': '{}'}}}}",
        "Something went wrong.\n{}\nPlease contact support.",
        '{{"error": {{"code": 400, "message": "{}"}}}}',
    ],
)
@pytest.mark.parametrize(
    "refusal", ["The prompt violates our content guidelines", "Image blocked by safety filter"]
)
def test_a_refusal_is_found_within_what_others_wrap_around_it(message: str, refusal: str) -> None:
    assert is_refused_content(message.format(refusal))


# The prompt, which errors repeat.

PROMPT = "A sign that says: this nude image was blocked by our safety filter, oil on canvas"


@pytest.mark.parametrize(
    "error",
    [
        "Could not generate {}",
        "Prompt: {}. Upload of the output failed",
        "odd: {}!",
        "input={{'prompt': '{}', 'seed': 42}} broke off",
    ],
)
@pytest.mark.parametrize("length", [len(PROMPT), 70])
def test_words_of_the_prompt_that_an_error_repeats_decide_nothing(error: str, length: int) -> None:
    """Errors repeat it whole or cut off, in any case of letters."""
    for echo in (PROMPT[:length], PROMPT[:length].upper()):
        assert not is_refused_content(error.format(echo), prompt=PROMPT)


@pytest.mark.parametrize("quote", ["'", '"', "`"])
def test_a_prompt_in_quotes_decides_nothing_though_nobody_knows_it(quote: str) -> None:
    error = f"Failed on prompt {quote}an image was blocked by safety{quote}: try again"

    assert not is_refused_content(error)
    assert is_refused_content(f"{error}. Your prompt was flagged by moderation")


def test_a_refusal_that_repeats_the_prompt_is_one() -> None:
    assert is_refused_content(f"Prompt {PROMPT!r} violates the content policy", prompt=PROMPT)
    assert is_refused_content("NSFW content detected", prompt="NSFW content")


def test_a_prompt_is_cut_out_wherever_it_is() -> None:
    error = f"İ: {PROMPT} and {PROMPT[:30]}"

    assert without_prompt(error, PROMPT).split() == ["İ:", "and"]


# The operator's own pattern.


def test_a_refusal_that_nobody_knows_is_found_by_the_operators_pattern() -> None:
    unknown = "Odd: the lighthouse keeper says no (code 77)"
    pattern = re.compile("keeper says no", re.IGNORECASE)

    assert not is_refused_content(unknown)
    assert is_refused_content(unknown.upper(), pattern=pattern)
    assert not is_refused_content("no words", pattern=pattern)


def test_the_operators_pattern_does_not_match_the_prompt() -> None:
    assert not is_refused_content(f"odd: {PROMPT}", prompt=PROMPT, pattern=re.compile("oil on"))


@pytest.mark.parametrize("slowest", [".*.*x", "a*a*b", r"\w+\w+%", "(?:a+|a+)b"])
def test_the_slowest_pattern_that_is_allowed_takes_no_long_time(slowest: str) -> None:
    pattern = error_pattern(slowest)
    began = time.process_time()

    is_refused_content("a" * 10_000, pattern=pattern)

    assert time.process_time() - began < 1.0


# Logs, and long texts.


def test_the_name_of_a_step_in_a_log_is_no_refusal() -> None:
    assert is_refused_content("moderation")
    assert not is_refused_in_log("moderation")
    assert is_refused_in_log("output was rejected by moderation")


@pytest.mark.parametrize(
    "filler", ["prompt '", "safety ", "a_", "aA", ". ", "not ", "1", "content ", "I am sorry ", "'"]
)
def test_no_text_takes_long(filler: str) -> None:
    """A worker that reads it does nothing else, and is killed as hung after a while."""
    text = f"{filler * 10_000}!"
    began = time.process_time()

    is_refused_content(text, prompt=filler * 1000)

    assert time.process_time() - began < 1.0
