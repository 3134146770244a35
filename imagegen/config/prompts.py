"""The check of a prompt before anything is sent."""

import unicodedata

MAX_CHARACTERS = 1000
# The most characters of a prompt that are read from the database.
READ_CHARACTERS = 100_000
# Letters and symbols that no font draws: fillers of Hangul and hieroglyphs, a braille cell without
# dots, a note without a head, and U+FFFC, which stands for an object that is not there.
BLANK = frozenset("\u115f\u1160\u2800\u3164\uffa0\ufffc\U00013441\U00013442\U0001d159")
# Emoji; those that are newer than Python's tables have no category there.
FIRST_EMOJI, LAST_EMOJI = "\U0001f000", "\U0001fffd"


class InvalidPromptError(Exception):
    """The prompt can never be sent. The message tells its author why."""


def clean(prompt: str | None, default: str | None) -> str:
    """Return the prompt as it is sent: one line of 1 to 1000 characters, none of them control.

    Line breaks become spaces: flux-schnell was seen to fail on prompts of several lines (E9828).
    Joiners and variation selectors stay: emoji are made with them. `default` replaces a missing or
    blank prompt. Raises InvalidPromptError.
    """
    if prompt and len(prompt) >= READ_CHARACTERS:
        raise InvalidPromptError(
            f"the prompt has {READ_CHARACTERS} characters or more, more than {MAX_CHARACTERS}"
        )
    text = _sendable(prompt or "") or _sendable(default or "")
    if not text:
        raise InvalidPromptError("the author has no prompt")
    if len(text) > MAX_CHARACTERS:
        raise InvalidPromptError(
            f"the prompt has {len(text)} characters, more than {MAX_CHARACTERS}"
        )
    return text


def _sendable(text: str) -> str:
    unsendable = {"Cc", "Cs"}  # control characters and lone surrogates
    line = " ".join(text.split())
    line = "".join(c for c in line if unicodedata.category(c) not in unsendable).strip()
    return line if any(map(_is_visible, line)) else ""


def _is_visible(character: str) -> bool:
    """Return whether it is a letter, number, punctuation mark or symbol that shows. Spaces, marks
    without a letter, joiners, tags and private characters do not show."""
    if character in BLANK:
        return False
    is_emoji = FIRST_EMOJI <= character <= LAST_EMOJI
    return is_emoji or unicodedata.category(character)[0] in "LNPS"
