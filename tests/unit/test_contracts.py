"""What users and their tools rely on stays as it was committed."""

import ast

import pytest

from tests.support.contracts import CONTRACTS, FOLDER, REWRITE, difference, events_in
from tests.support.sql_statements import normalised


@pytest.mark.parametrize("name", CONTRACTS)
def test_what_users_rely_on_is_as_it_was_committed(name: str) -> None:
    changed = difference(name)

    assert not changed, f"{name} differs. If that is meant: {REWRITE}\n{changed}"


def test_every_committed_contract_is_compared() -> None:
    assert {file.name for file in FOLDER.iterdir()} == set(CONTRACTS)


@pytest.mark.parametrize(
    "source",
    [
        "log.info('token.claimed', extra={'pid': 1})",
        "self._log.log(level, 'token.claimed')",
        "event = 'token.claimed'",
        "level, event = 10, 'token.claimed'",
        "event = 'token.claimed' if new else None",
        "report(event='token.claimed')",
    ],
)
def test_an_event_is_found_in_a_log_call_and_in_what_is_named_so(source: str) -> None:
    assert list(events_in(ast.parse(source))) == ["token.claimed"]


@pytest.mark.parametrize(
    "source", ["path = 'pg.log'", "log.info('no event')", "log.info(said, extra={'file': 'a.b'})"]
)
def test_other_text_is_no_event(source: str) -> None:
    assert list(events_in(ast.parse(source))) == []


def test_statements_that_differ_only_in_blanks_and_comments_are_the_same() -> None:
    one = "SELECT ( 1 )\n    FROM t -- why\n  WHERE  x\n"

    assert normalised(one) == normalised("SELECT (1) FROM t WHERE x;")
