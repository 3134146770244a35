"""DATABASE_URL: what libpq makes of it, what in it is secret, and what is wrong with it.

No message repeats the value: it holds a password.
"""

import re
from urllib.parse import quote, unquote

import psycopg
from psycopg.conninfo import conninfo_to_dict
from psycopg.pq import Conninfo

from imagegen import redaction
from imagegen.config.parsers import WrongValueError, quoted

SECRET_PARTS = ("password", "sslpassword")
EXAMPLE = "a PostgreSQL URL such as postgresql://user:password@host:5432/database"
# As libpq splits a URL: the login ends at the first @, the host at the first /.
URL_PARTS = re.compile(
    r"postgres(?:ql)?://(?P<login>[^@/]*@)?(?P<address>[^?]*)\??(?P<query>.*)", re.DOTALL
)
# The characters that end a part of a URL, and how they are written inside of one.
ESCAPES = {"@": "%40", "/": "%2F", "?": "%3F", "#": "%23", " ": "%20", "%": "%25"}
# All of these but the % of an escape.
UNESCAPED = re.compile(r"[@/?# ]|%(?![0-9A-Fa-f]{2})")


def check_url(value: str) -> str:
    url = value.strip()
    split, parts = URL_PARTS.fullmatch(url), _libpq_parts(url)
    if not split:
        raise WrongValueError(EXAMPLE)
    if characters := _unescaped_in_login(split, parts):
        escapes = " and ".join(
            f"{'a blank' if each == ' ' else each} as {ESCAPES[each]}" for each in characters
        )
        raise WrongValueError(f"{EXAMPLE}; inside its user, password or database write {escapes}")
    if not parts:
        raise WrongValueError(f"{EXAMPLE}{_unknown_parameter(split['query'])}")
    # Python refuses to read a number of thousands of digits.
    ports = parts.get("port", "").split(",")
    if not all(re.fullmatch(r"\d{1,5}", port) and int(port) < 65536 for port in ports if port):
        raise WrongValueError(EXAMPLE)
    return url


def redacted_url(url: str) -> str:
    """Return a database URL in libpq's other form, word by word, without its passwords."""
    parts = _libpq_parts(url)
    parts |= {name: redaction.HIDDEN for name in SECRET_PARTS if name in parts}
    return " ".join(f"{name}={part}" for name, part in parts.items())


def url_secrets(url: str) -> list[str]:
    """Return the texts to redact: the URL, and its passwords decoded and as a URL has them."""
    parts = _libpq_parts(url)
    shown = [part for name, part in parts.items() if name not in SECRET_PARTS]
    passwords = [parts[name] for name in SECRET_PARTS if parts.get(name)]
    forms = {form for each in passwords for form in (each, quote(each, safe=""), quote(each))}
    return [url, *(text for form in sorted(forms) for text in redaction.patterns(form, shown))]


def _libpq_parts(url: str) -> dict[str, str]:
    """Return host, port, user … as libpq reads them; nothing if it cannot read the URL.

    urlsplit disagrees with libpq about passwords with `#` or `?` in them, and several hosts.
    """
    try:
        found = conninfo_to_dict(url)
    except (psycopg.ProgrammingError, UnicodeError):
        return {}
    return {name: str(part) for name, part in found.items() if part is not None}


def _unescaped_in_login(split: re.Match[str], parts: dict[str, str]) -> list[str]:
    """Return the characters that end a password too early.

    libpq takes the rest of the password for a host, and shows that in its messages, or cannot
    read the URL at all.
    """
    login = split["login"] or ""
    if "@" in split["address"]:
        meant = login + split["address"].rpartition("@")[0]
    elif parts:
        return []
    elif "@" in split["query"]:
        meant = f"{login}{split['address']}?{split['query'].rpartition('@')[0]}"
    else:
        return sorted(set(UNESCAPED.findall(split.string)) & {"%", " "})
    return sorted(set(UNESCAPED.findall(meant)))


def _unknown_parameter(query: str) -> str:
    """Return the end of the message about a parameter that libpq does not know.

    After a password no parameter is named: it may be the rest of the password.
    """
    known = {option.keyword.decode() for option in Conninfo.get_defaults()}
    for parameter in query.split("&"):
        name, is_parameter, _ = parameter.partition("=")
        if unquote(name) in SECRET_PARTS:
            return ""
        if is_parameter and unquote(name) not in known:
            return f", without the parameter {quoted(name)}: libpq knows none of this name"
    return ""
