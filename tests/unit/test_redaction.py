"""No secret is shown, and the gaps reveal none."""

import json
import logging
from urllib.parse import quote

import pytest

from imagegen import redaction
from imagegen.config.database_url import url_secrets
from imagegen.config.settings import Settings
from imagegen.doctor import examine, runner
from imagegen.doctor.database import FIXES
from imagegen.doctor.report import Findings, ok, wrong
from imagegen.failures import Kind
from imagegen.logs import JsonLines, TextLines
from imagegen.redaction import HIDDEN, Redactor

# The user's name, an event, a word of the doctor's, letters and digits that occur everywhere.
WORDS = ["postgres", "token", "claimed", "answers", "imagegen", "transient", "p", "e", "5432"]


def url_with(password: str, user: str = "postgres", host: str = "db.example") -> str:
    return f"postgresql://{user}:{quote(password, safe='')}@{host}:5432/tokens"


def redactor(password: str) -> Redactor:
    return Redactor(url_secrets(url_with(password)))


def a_record(event: str, logger: str = "imagegen", **extra: object) -> logging.LogRecord:
    return logging.getLogger(logger).makeRecord(
        logger, logging.WARNING, "file.py", 1, event, (), None, extra=extra
    )


@pytest.mark.parametrize("password", WORDS)
def test_a_password_that_is_a_word_changes_no_log_line(password: str) -> None:
    record = a_record("token.claimed", token_id=5432, kind=Kind.TRANSIENT, error="password refused")
    line = json.loads(JsonLines(redactor(password), "worker-0").format(record))

    assert (line["event"], line["level"], line["worker"]) == (
        "token.claimed", "warning", "worker-0",
    )  # fmt: skip
    assert (line["token_id"], line["kind"], line["error"]) == (
        5432, "transient", "password refused",
    )  # fmt: skip
    assert (
        TextLines(redactor(password), "worker-0")
        .format(record)
        .endswith('token.claimed [warning] token_id=5432 kind=transient error="password refused"')
    )


@pytest.mark.parametrize("password", [*WORDS, "x7Qz-9w!", "hjkxwq", 'it\'s "quoted"'])
@pytest.mark.parametrize(
    "text",
    [
        "no connection to {url}: refused",
        "no connection to postgresql://me:{written}@elsewhere/db: refused",
        "no connection to host=db password={password} user=me: refused",
        "no connection to host=db password='{password}' user=me: refused",
    ],
)
def test_a_password_is_hidden_in_every_context_of_passwords(password: str, text: str) -> None:
    written = quote(password, safe="")
    shown = redactor(password)(
        text.format(url=url_with(password), password=password, written=written)
    )

    assert HIDDEN in shown
    assert not any(
        f"{before}{form}{after}" in shown
        for form in (password, written)
        for before, after in redaction.CONTEXTS
    )


@pytest.mark.parametrize(
    "shown",
    [
        "postgresql://me:{password}@db/tokens",
        "postgresql://db/tokens?user=me&password={password}&sslmode=require",
        "{{'user': 'me', 'password': '{password}', 'sslpassword': '{password}'}}",
        '{{"user": "me", "password": "{password}"}}',
        '{{"user":"me","password":"{password}"}}',
        "connect(user='me', password='{password}')",
        "dict_items([('user', 'me'), ('password', '{password}')])",
        "ConninfoOption(keyword=b'password', envvar=b'PGPASSWORD', val=b'{password}', label=b'')",
        "PGUSER=me PGPASSWORD={password} PGHOST=db",
        "environ({{'PGUSER': 'me', 'PGPASSWORD': '{password}'}})",
        "environ({{b'PGUSER': b'me', b'PGPASSWORD': b'{password}'}})",
        "sslkey=/key sslpassword={password}",
        "sslkey=/key sslpassword='{password}'",
        "ALTER ROLE me PASSWORD '{password}'",
        "{{'Authorization': 'Bearer {password}'}}",
        "[(b'Authorization', b'Bearer {password}')]",
    ],
)
def test_a_word_is_hidden_in_every_context(shown: str) -> None:
    redacted = redactor("dragon")(shown.format(password="dragon"))

    assert HIDDEN in redacted
    assert "dragon" not in redacted


@pytest.mark.parametrize(
    "secret", ["kQwErTzU", "passw0rd", "pass-word", "correcthorsebattery", "123456", "übergeheim"]
)
def test_what_is_no_short_word_is_one_pattern(secret: str) -> None:
    assert redaction.patterns(secret) == [secret]


@pytest.mark.parametrize("password", ["x7Qz-9w!", "hjkxwq", "12345678", "r3d"])
def test_a_password_that_is_no_word_is_hidden_wherever_it_occurs(password: str) -> None:
    assert redactor(password)(f"the server said x{password}y") == f"the server said x{HIDDEN}y"


def test_the_names_of_the_user_and_the_host_are_shown_though_the_password_is_one_of_them() -> None:
    redact = Redactor(url_secrets(url_with("xaverl", user="xaverl", host="xaverl.example")))
    message = 'password authentication failed for user "xaverl" at "xaverl.example"'

    assert redact(message) == message


@pytest.mark.parametrize("form", [JsonLines, TextLines])
def test_what_a_library_logs_is_no_event_of_ours_and_loses_its_secrets(
    form: type[JsonLines | TextLines],
) -> None:
    formatter = form(Redactor(["hunter.two"]), "worker-0")

    assert "hunter.two" not in formatter.format(a_record("hunter.two", logger="psycopg"))
    assert "hunter.two" in formatter.format(a_record("hunter.two"))


@pytest.mark.parametrize("password", WORDS)
def test_the_doctors_messages_stay_readable_though_the_password_is_one_of_their_words(
    password: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    message = "PostgreSQL 16.2 answers postgres in 2 ms"
    fixes = list(FIXES.values())

    def check(_: Settings) -> Findings:
        yield ok("database", message)
        for fix in fixes:
            yield wrong("database", message, fix)

    monkeypatch.setattr(runner, "CHECKS", (runner.Check("database", check),))
    environment = {"DATABASE_URL": url_with(password), "REPLICATE_API_TOKEN": "token"}
    found = list(examine(environment, {}))[1:]

    assert {each.message for each in found} == {message}
    assert [each.fix for each in found] == [None, *fixes]
