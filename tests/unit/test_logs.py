"""Log lines: every field that a dashboard needs, and no secret in any of them."""

import json
import logging
import os
import pty
import re
import subprocess
import sys
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import pytest

from imagegen.logs import JsonLines, TextLines
from imagegen.redaction import HIDDEN, Redactor

PASSWORD = "correct-horse"
URL = f"postgresql://imagegen:{PASSWORD}@db.example:5432/tokens"
TOKEN = "r8_0123456789"
SECRETS = [URL, PASSWORD, TOKEN]

FORMS: dict[str, Callable[[list[str]], logging.Formatter]] = {
    "json": lambda secrets: JsonLines(Redactor(secrets), "worker-0"),
    "text": lambda secrets: TextLines(Redactor(secrets), "worker-0"),
}
every_form = pytest.mark.parametrize("form", FORMS)


def a_record(event: str, level: int = logging.INFO, **extra: Any) -> logging.LogRecord:
    return logging.getLogger("imagegen").makeRecord(
        "imagegen", level, "file.py", 1, event, (), None, extra=extra
    )


def line_of(form: str, record: logging.LogRecord, secrets: list[str] = SECRETS) -> str:
    return FORMS[form](secrets).format(record)


def a_crash(error: Exception) -> logging.LogRecord:
    record = a_record("process.crashed", logging.CRITICAL)
    try:
        raise error
    except Exception:  # noqa: BLE001 (its traceback is what the test is about)
        record.exc_info = sys.exc_info()
    return record


def json_of(record: logging.LogRecord) -> Any:
    line = line_of("json", record)
    assert "\n" not in line
    return json.loads(line)


# Fields.


def test_a_line_has_its_time_level_worker_event_and_own_fields() -> None:
    record = a_record("token.generation.succeeded", token_id=7, attempt=1, duration_seconds=1.5)
    line = json_of(record)

    assert datetime.fromisoformat(line.pop("timestamp")).utcoffset() == timedelta(0)
    assert line == {
        "level": "info",
        "worker": "worker-0",
        "event": "token.generation.succeeded",
        "token_id": 7,
        "attempt": 1,
        "duration_seconds": 1.5,
    }


def test_words_of_any_kind_stay_one_readable_line() -> None:
    prompt = "a cat\nin a “hat” 猫 \x1b[2J"

    assert json_of(a_record("token.censored", prompt=prompt))["prompt"] == prompt
    assert "猫" in line_of("json", a_record("token.censored", prompt=prompt))


def test_a_crash_shows_where_it_happened() -> None:
    line = json_of(a_crash(ValueError("no")))

    assert line["exc_info"].startswith("Traceback (most recent call last):")
    assert line["exc_info"].endswith("ValueError: no")


def test_text_shows_worker_event_fields_and_what_is_no_information() -> None:
    line = line_of("text", a_record("gate.closed", logging.WARNING, reason="throttled"))

    assert " worker-0   gate.closed [warning] reason=throttled" in line


def test_text_shows_the_time_once() -> None:
    line = line_of("text", a_record("gate.opened"))

    assert re.fullmatch(r"\d\d:\d\d:\d\d worker-0   gate.opened", line)


@pytest.mark.parametrize(
    "text", ["\x1b[2J", "a\x1b]0;title\x07", "two\nlines", "a\rb", "a\x00b", "a\tb", "a\x08b"]
)
def test_no_control_character_of_a_field_reaches_a_terminal(text: str) -> None:
    line = line_of("text", a_record("token.censored", prompt=text))

    assert line.isprintable()
    assert line.endswith("prompt=" + text.encode("unicode_escape").decode())


# Secrets.


@every_form
@pytest.mark.parametrize("secret", SECRETS)
def test_a_secret_in_an_event_is_hidden(form: str, secret: str) -> None:
    line = line_of(form, a_record(f"cannot use {secret} today"))

    assert secret not in line
    assert HIDDEN in line


@every_form
@pytest.mark.parametrize("secret", SECRETS)
@pytest.mark.parametrize(
    "wrap", [str, lambda secret: [secret], lambda secret: {"deep": {"url": secret}}]
)
def test_a_secret_in_a_field_is_hidden(
    form: str, secret: str, wrap: Callable[[str], object]
) -> None:
    line = line_of(form, a_record("event", error=wrap(f"no connection to {secret}: refused")))

    assert secret not in line
    assert PASSWORD not in line
    assert "refused" in line


@every_form
@pytest.mark.parametrize("error", [OSError(f"no route to {URL}"), KeyError(TOKEN)])
def test_a_secret_in_a_traceback_is_hidden(form: str, error: Exception) -> None:
    line = line_of(form, a_crash(error))

    assert HIDDEN in line
    assert not any(secret in line for secret in SECRETS)


@every_form
def test_a_secret_in_the_cause_of_an_error_is_hidden(form: str) -> None:
    error = RuntimeError("outer")
    error.__cause__ = OSError(f"password={PASSWORD}")

    assert PASSWORD not in line_of(form, a_crash(error))


@every_form
def test_a_url_goes_as_a_whole_before_its_password(form: str) -> None:
    line = line_of(form, a_record("event", error=URL))

    assert "db.example" not in line


@pytest.mark.parametrize("password", ["p%40ss", "%s%d", "päss", "{curly}", ".*", "a b"])
def test_a_password_of_odd_characters_is_hidden(password: str) -> None:
    record = a_record("event", error=f"no {password} here")

    assert all(password not in line_of(form, record, [password]) for form in FORMS)


ESCAPED = ["it's", 'a"b', "back\\slash", "both'\\\"", "new\nline"]


@every_form
@pytest.mark.parametrize("password", ESCAPED)
def test_a_password_with_quotes_or_backslashes_is_hidden_though_it_is_escaped(
    form: str, password: str
) -> None:
    record = a_crash(KeyError(f"no {password} here"))
    record.error = f"no {password} here"
    line = line_of(form, record, [password])

    assert not any(
        shown in line for shown in (password, repr(password)[1:-1], json.dumps(password)[1:-1])
    )
    assert line.count(HIDDEN) >= 2


@pytest.mark.parametrize("password", ["1", "5432", "true", "e", '"', "\\", "{", "level"])
def test_a_json_line_stays_json_whatever_the_password_is(password: str) -> None:
    record = a_record("gate.closed", token_id=15432, found=True, nested={"port": 5432}, error="e 1")
    line = json.loads(line_of("json", record, [password]))

    assert line["token_id"] == 15432
    assert line["found"] is True
    assert list(line["nested"].values()) == [5432]
    assert password not in line["error"].replace(HIDDEN, "")


def test_without_secrets_nothing_is_changed() -> None:
    assert Redactor(["", ""])("plain text") == "plain text"


# A process's own log.

SAYS_HELLO = """
from imagegen import logs
logs.configure(FORM, "info", ["s3cret"], "worker-0")
logs.log.debug("too.quiet")
logs.log.info("hello.said", extra={"to": "s3cret"})
"""
CRASHES = SAYS_HELLO + """raise ValueError("s3cret")"""
CRASHES_IN_A_THREAD = SAYS_HELLO + (
    "import threading\n"
    "def crash(): raise ValueError('s3cret')\n"
    "thread = threading.Thread(target=crash)\n"
    "thread.start()\n"
    "thread.join()\n"
)


def log_of(program: str, form: str = "auto") -> str:
    """What a program logs into a pipe."""
    code = program.replace("FORM", repr(form))
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=30
    )
    return done.stderr


def log_on_a_terminal(program: str) -> str:
    ours, theirs = pty.openpty()
    try:
        code = program.replace("FORM", "'auto'")
        subprocess.run([sys.executable, "-c", code], stderr=theirs, check=True, timeout=30)
        return os.read(ours, 65536).decode()
    finally:
        os.close(theirs)
        os.close(ours)


def test_into_a_pipe_the_log_is_json_from_its_level_on() -> None:
    [line] = log_of(SAYS_HELLO).splitlines()

    assert json.loads(line)["event"] == "hello.said"
    assert json.loads(line)["to"] == HIDDEN


def test_on_a_terminal_the_log_is_text() -> None:
    shown = log_on_a_terminal(SAYS_HELLO)

    assert f"worker-0   hello.said to={HIDDEN}" in shown
    assert not shown.startswith("{")


def test_text_can_be_asked_for() -> None:
    assert "worker-0   hello.said" in log_of(SAYS_HELLO, "text")


@pytest.mark.parametrize("program", [CRASHES, CRASHES_IN_A_THREAD])
def test_a_crash_is_one_line_of_json_without_its_secret(program: str) -> None:
    _, crash = map(json.loads, log_of(program).splitlines())

    assert (crash["event"], crash["level"]) == ("process.crashed", "critical")
    assert f"ValueError: {HIDDEN}" in crash["exc_info"]
    assert "s3cret" not in json.dumps(crash)
