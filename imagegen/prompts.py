"""The check of a prompt before it costs anything."""

import unicodedata

MAX_CHARACTERS = 1000


class InvalidPromptError(Exception):
    """The prompt can never be sent; the message tells the author why."""


def clean(prompt: str | None, default: str | None) -> str:
    """The prompt as it is sent: one line, without control characters, 1 to 1000 characters.

    Line breaks become spaces: flux-schnell was seen to fail on prompts of several lines (E9828).
    Joiners and variation selectors stay, or emoji would fall apart. `default` stands in for no
    prompt or a blank one. Raises InvalidPromptError.
    """
    text = _printable(prompt or "") or _printable(default or "")
    if not text:
        raise InvalidPromptError("the author has no prompt")
    if len(text) > MAX_CHARACTERS:
        raise InvalidPromptError(
            f"the prompt has {len(text)} characters, more than {MAX_CHARACTERS}"
        )
    return text


def _printable(text: str) -> str:
    unsendable = {"Cc", "Cs"}  # control characters and lone surrogates
    words = " ".join(text.split())
    text = "".join(c for c in words if unicodedata.category(c) not in unsendable).strip()
    # Letters, numbers, punctuation or symbols; joiners and spaces alone are as good as nothing.
    says_something = any(unicodedata.category(c)[0] in "LNPS" for c in text)
    return text if says_something else ""
