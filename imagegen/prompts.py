"""The check of a prompt before anything is sent."""

import unicodedata

MAX_CHARACTERS = 1000


class InvalidPromptError(Exception):
    """The prompt can never be sent. The message tells its author why."""


def clean(prompt: str | None, default: str | None) -> str:
    """Return the prompt as it is sent: one line of 1 to 1000 characters, none of them control.

    Line breaks become spaces: flux-schnell was seen to fail on prompts of several lines (E9828).
    Joiners and variation selectors stay: emoji are made with them. `default` replaces a missing or
    blank prompt. Raises InvalidPromptError.
    """
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
    # A prompt without a letter, number, punctuation mark or symbol counts as blank.
    return line if any(unicodedata.category(c)[0] in "LNPS" for c in line) else ""
