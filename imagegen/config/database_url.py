"""DATABASE_URL: its check, its parts as libpq reads them, and the secrets in it.

No message repeats the value, because it has a password in it.
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
# The characters that end a part of a URL, and their escapes within one.
ESCAPES = {"@": "%40", "/": "%2F", "?": "%3F", "#": "%23", " ": "%20", "%": "%25"}
# One of these characters, except the % of an escape.
UNESCAPED = re.compile(r"[@/?# ]|%(?![0-9A-Fa-f]{2})")


def check_url(value: str) -> str:
    """Return the URL without blanks around it. Raises WrongValueError."""
    url = value.strip()
    match, parts = URL_PARTS.fullmatch(url), _libpq_parts(url)
    if not match:
        raise WrongValueError(EXAMPLE)
    if characters := _unescaped_in_login(match, parts):
        escapes = " and ".join(
            f"{'a blank' if each == ' ' else each} as {ESCAPES[each]}" for each in characters
        )
        raise WrongValueError(f"{EXAMPLE}; inside its user, password or database write {escapes}")
    if not parts:
        raise WrongValueError(f"{EXAMPLE}{_unknown_parameter(match['query'])}")
    # Python refuses to read a number of thousands of digits.
    ports = parts.get("port", "").split(",")
    if not all(re.fullmatch(r"\d{1,5}", port) and int(port) < 65536 for port in ports if port):
        raise WrongValueError(EXAMPLE)
    return url


def redacted_url(url: str) -> str:
    """Return a database URL in libpq's form of `name=value` pairs, without its passwords."""
    parts = _libpq_parts(url)
    parts |= {name: redaction.HIDDEN for name in SECRET_PARTS if name in parts}
    return " ".join(f"{name}={part}" for name, part in parts.items())


def url_secrets(url: str) -> list[str]:
    """Return the texts to redact: the URL, and its passwords, both decoded and escaped."""
    parts = _libpq_parts(url)
    shown = [part for name, part in parts.items() if name not in SECRET_PARTS]
    passwords = [parts[name] for name in SECRET_PARTS if parts.get(name)]
    forms = {form for each in passwords for form in (each, quote(each, safe=""), quote(each))}
    return [url, *(text for form in sorted(forms) for text in redaction.patterns(form, shown))]


def _libpq_parts(url: str) -> dict[str, str]:
    """Return host, port, user … as libpq reads them. Empty if it cannot read the URL.

    urlsplit reads passwords with `#` or `?`, and several hosts, differently.
    """
    try:
        found = conninfo_to_dict(url)
    except (psycopg.ProgrammingError, UnicodeError):
        return {}
    return {name: str(part) for name, part in found.items() if part is not None}


def _unescaped_in_login(url: re.Match[str], parts: dict[str, str]) -> list[str]:
    """Return the characters that end a password too early.

    libpq takes the rest of the password for a host, which its messages show, or it cannot read
    the URL at all.
    """
    login = url["login"] or ""
    if "@" in url["address"]:
        login += url["address"].rpartition("@")[0]
    elif parts:
        return []
    elif "@" in url["query"]:
        login += f"{url['address']}?{url['query'].rpartition('@')[0]}"
    else:
        return sorted(set(UNESCAPED.findall(url.string)) & {"%", " "})
    return sorted(set(UNESCAPED.findall(login)))


def _unknown_parameter(query: str) -> str:
    """Return the end of the message about a parameter that libpq does not know.

    Text after a password may belong to the password, so no parameter there is named.
    """
    known = {option.keyword.decode() for option in Conninfo.get_defaults()}
    for parameter in query.split("&"):
        name, is_parameter, _ = parameter.partition("=")
        if unquote(name) in SECRET_PARTS:
            return ""
        if is_parameter and unquote(name) not in known:
            return f", without the parameter {quoted(name)}: libpq knows none of this name"
    return ""
