"""Small pieces of text that several packages write."""


def plural(count: int, noun: str) -> str:
    """Return the count with its noun: 1 token, 2 tokens, 1,000 tokens."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def shorten(text: str, characters: int) -> str:
    """Return the text, cut with an ellipsis if it has more than `characters`."""
    return text if len(text) <= characters else f"{text[: characters - 1].rstrip()}…"


def one_line(error: BaseException) -> str:
    """Return an error's message without line breaks."""
    return " ".join(str(error).split())


def printable(text: str) -> str:
    """Return the text in one line, without characters that control a terminal.

    Those of escape sequences, and those that reverse the direction of text, are removed.
    """
    return "".join(character for character in " ".join(text.split()) if character.isprintable())
