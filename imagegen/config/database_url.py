"""DATABASE_URL: what libpq makes of it, what in it is secret, and what is wrong with it.

No message repeats the value: it holds a password.
"""

import re
from urllib.parse import quote, unquote

from imagegen import redaction
from imagegen.config.parsers import WrongValueError, quoted

SECRET_PARTS = ("password", "sslpassword")
EXAMPLE = "a PostgreSQL URL such as postgresql://user:password@host:5432/database"
# As libpq takes a URL apart: the login ends at the first @, the host at the first /.
TAKEN_APART = re.compile(
    r"postgres(?:ql)?://(?P<login>[^@/]*@)?(?P<place>[^?]*)\??(?P<query>.*)", re.DOTALL
)
# What ends a part of a URL, and how it is written inside of one.
ESCAPES = {"@": "%40", "/": "%2F", "?": "%3F", "#": "%23", " ": "%20", "%": "%25"}
# All but the % of an escape.
TO_BE_ESCAPED = re.compile(r"[@/?# ]|%(?![0-9A-Fa-f]{2})")


def check_url(value: str) -> str:
    url = value.strip()
    apart, parts = TAKEN_APART.fullmatch(url), parts_of(url)
    if not apart:
        raise WrongValueError(EXAMPLE)
    if letters := _cut_short_by(apart, parts):
        told = " and ".join(
            f"{'a blank' if letter == ' ' else letter} as {ESCAPES[letter]}" for letter in letters
        )
        raise WrongValueError(f"{EXAMPLE}; inside its user, password or database write {told}")
    if not parts:
        raise WrongValueError(f"{EXAMPLE}{_unknown_parameter(apart['query'])}")
    # Python refuses to read a number of thousands of digits.
    ports = parts.get("port", "").split(",")
    if not all(re.fullmatch(r"\d{1,5}", port) and int(port) < 65536 for port in ports if port):
        raise WrongValueError(EXAMPLE)
    return url


def parts_of(url: str) -> dict[str, str]:
    """A database URL as libpq reads it, by its words (host, port, user …); empty where it cannot.

    urlsplit disagrees with libpq about passwords with `#` or `?` in them, and several hosts.
    """
    import psycopg  # noqa: PLC0415 (slow to import, and `--help` imports this module)
    from psycopg.conninfo import conninfo_to_dict  # noqa: PLC0415

    try:
        found = conninfo_to_dict(url)
    except (psycopg.ProgrammingError, UnicodeError):
        return {}
    return {name: str(part) for name, part in found.items() if part is not None}


def _cut_short_by(apart: re.Match[str], parts: dict[str, str]) -> list[str]:
    """The characters that end a password before its end: libpq takes its rest for a host, and
    tells that in its messages, or cannot read the URL at all."""
    login = apart["login"] or ""
    if "@" in apart["place"]:
        meant = login + apart["place"].rpartition("@")[0]
    elif parts:
        return []
    elif "@" in apart["query"]:
        meant = f"{login}{apart['place']}?{apart['query'].rpartition('@')[0]}"
    else:
        return sorted(set(TO_BE_ESCAPED.findall(apart.string)) & {"%", " "})
    return sorted(set(TO_BE_ESCAPED.findall(meant)))


def _unknown_parameter(query: str) -> str:
    """The end of the message. After a password nothing is named: it may be the rest of that."""
    from psycopg.pq import Conninfo  # noqa: PLC0415

    known = {option.keyword.decode() for option in Conninfo.get_defaults()}
    for parameter in query.split("&"):
        name, is_one, _ = parameter.partition("=")
        if unquote(name) in SECRET_PARTS:
            return ""
        if is_one and unquote(name) not in known:
            return f", without the parameter {quoted(name)}: libpq knows none of this name"
    return ""


def url_secrets(url: str) -> list[str]:
    """What to hide: a database URL, and the passwords in it, decoded and as they may be written
    in a URL."""
    parts = parts_of(url)
    shown = [part for name, part in parts.items() if name not in SECRET_PARTS]
    words = [parts[name] for name in SECRET_PARTS if parts.get(name)]
    written = {form for word in words for form in (word, quote(word, safe=""), quote(word))}
    return [
        url,
        *(text for word in sorted(written) for text in redaction.patterns(word, shown)),
    ]
