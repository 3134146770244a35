"""Secrets in files, as systemd's credentials, Docker and Kubernetes give them.

`DATABASE_URL_FILE` names a file that holds what `DATABASE_URL` would. No message repeats its text.
"""

from pathlib import Path

from imagegen.config.parsers import quoted

MOST_BYTES = 65_536


class SecretFileError(Exception):
    """A secret cannot be read from its file. The message ends the sentence `NAME …`."""


def read_secret(path: str) -> str:
    """Return the text of a file without one line break at its end. Raises SecretFileError."""
    try:
        with Path(path).open("rb") as file:
            content = file.read(MOST_BYTES + 1)
        text = content.decode()
    except OSError as error:
        why = f"{quoted(path)} cannot ({error.strerror})"
        raise SecretFileError(f"must name a file that can be read, and {why}") from None
    except ValueError:  # a NUL in the path, or no UTF-8 in the file
        raise SecretFileError(f"must name a file of text, and {quoted(path)} is none") from None
    if len(content) > MOST_BYTES:
        raise SecretFileError(f"must name a file of one secret, and {quoted(path)} is too long")
    text = text.removesuffix("\n").removesuffix("\r")
    if not text.strip():
        raise SecretFileError(f"must name a file with a secret in it, and {quoted(path)} is empty")
    return text
