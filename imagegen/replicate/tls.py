"""The TLS context, with the certificates that it trusts."""

import os
import ssl
from functools import cache
from pathlib import Path

import httpx

from imagegen.errors import CannotStartError


def tls_context() -> ssl.SSLContext:
    """Return the TLS context of all clients, as httpx makes it of SSL_CERT_FILE and SSL_CERT_DIR.

    It is made once in a process. The supervisor makes it before it forks, so that workers need not.
    Raises CannotStartError if the variables name no file or folder that can be used.
    """
    return _context(os.environ.get("SSL_CERT_FILE"), os.environ.get("SSL_CERT_DIR", ""))


@cache
def _context(file: str | None, folders: str) -> ssl.SSLContext:
    for folder in folders.split(os.pathsep):
        if folder and not (Path(folder).is_dir() and os.access(folder, os.R_OK | os.X_OK)):
            said = f"SSL_CERT_DIR names {folder!r}, which is no folder that can be read"
            raise CannotStartError(said, "unset it, or name a folder of certificates")
    try:
        return httpx.create_ssl_context()
    except OSError as error:
        if not file:
            raise
        is_other = isinstance(error, ssl.SSLError)
        why = "holds no certificate" if is_other else f"cannot be read ({error.strerror})"
        said = f"SSL_CERT_FILE names {file!r}, which {why}"
        raise CannotStartError(said, "unset it, or name a file in PEM format") from None
