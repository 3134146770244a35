"""Prompts: what is sent, and what is refused before it costs anything."""

import pytest

from imagegen.config import prompts

FAMILY = "👨\u200d👩\u200d👧"  # three emoji with joiners between them
RED_HEART = "❤\ufe0f"  # a variation selector makes it red


def refusal_of(prompt: str | None, default: str | None = None) -> str:
    with pytest.raises(prompts.InvalidPromptError) as caught:
        prompts.clean(prompt, default)
    return str(caught.value)


@pytest.mark.parametrize(
    ("written", "sent"),
    [
        ("a cat", "a cat"),
        ("  a cat \n", "a cat"),
        ("a cat\nin a hat\r\non a mat", "a cat in a hat on a mat"),
        ("a\tcat\u2028in\u00a0a hat", "a cat in a hat"),
        ("a\x00 c\x1bat", "a cat"),
        ("a cat \udcff", "a cat"),
        (FAMILY, FAMILY),
        (RED_HEART, RED_HEART),
        ("猫 в шляпе", "猫 в шляпе"),
        ("🐈", "🐈"),
        ("\U0001fae9", "\U0001fae9"),  # an emoji of 2024, and one of years to come
        ("\U0001fafe", "\U0001fafe"),
        ("?", "?"),
        ("\u3164a\u3164", "\u3164a\u3164"),
    ],
)
def test_a_prompt_is_sent_as_one_line_that_can_be_sent(written: str, sent: str) -> None:
    assert prompts.clean(written, None) == sent


def test_whatever_is_sent_can_be_encoded_and_stored() -> None:
    every_character = "".join(map(chr, range(0x3000))) + "\ud800\udfff"
    pieces = [every_character[start : start + 900] for start in range(0, len(every_character), 900)]

    sent = [prompts.clean(piece, "a default") for piece in pieces]

    assert all("\0" not in prompt and prompt.encode() for prompt in sent)
    assert not any(line != prompt for prompt in sent for line in prompt.splitlines())


def test_a_prompt_of_1000_characters_is_sent_whole() -> None:
    assert prompts.clean("x" * 1000, None) == "x" * 1000


def test_a_prompt_of_1001_characters_is_refused_with_its_length() -> None:
    assert refusal_of("x" * 1001) == "the prompt has 1001 characters, more than 1000"


def test_a_prompt_is_measured_as_it_is_sent() -> None:
    assert len(prompts.clean("x" * 1000 + "\n" * 500, None)) == 1000


def test_characters_are_counted_not_bytes() -> None:
    assert prompts.clean("猫" * 1000, None) == "猫" * 1000


@pytest.mark.parametrize(
    "nothing",
    [
        *(None, "", "  \n\t", "\x00\x01", "\udcff", "\u200b", " \u200d\ufe0f \u2060", "\ufeff\xa0"),
        *("\u3164", "\u2800 \u2800", "\ufffc", "\u115f\u1160\uffa0", "\u17b4\u034f\u180e\u00ad"),
        *("\U000e0041\U000e007f", "\U000e0100", "\ue000\U000f0000", "\U0001d159", "\ufff0\uffff"),
        *("\u3164\u200d\u2800\ufffc\ufe0f\n",),
    ],
)  # fmt: skip
def test_without_a_prompt_the_default_is_sent(nothing: str | None) -> None:
    assert prompts.clean(nothing, " a quiet\nsea ") == "a quiet sea"


@pytest.mark.parametrize("nothing", [None, "", "  \n\t", "\x00", "\u200d\u200b"])
def test_no_prompt_and_no_default_is_an_error(nothing: str | None) -> None:
    assert refusal_of(nothing) == "the author has no prompt"


def test_a_prompt_that_is_too_long_is_not_replaced_by_the_default() -> None:
    assert refusal_of("x" * 1001, "a default").startswith("the prompt has 1001 characters")


def test_a_prompt_of_which_only_the_beginning_was_read_is_never_sent() -> None:
    beginning = "a cat".ljust(prompts.READ_CHARACTERS)

    assert refusal_of(beginning).startswith("the prompt has 100000 characters or more")
