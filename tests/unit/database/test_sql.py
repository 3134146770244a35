"""Files of SQL: statements by name, with their fragments filled in."""

import pytest

from imagegen.database.sql import SqlFileError, parse

FILE = """
-- About the whole file.

-- fragment: fence
id = %(id)s AND state = 'open'

-- name: renew
-- Only while it is ours.
UPDATE generations SET lease_until = now()
    -- which nobody else may do
WHERE $fence AND status = $detected;

-- name: count
SELECT count(*) FROM generations
"""


def test_statements_are_found_by_name_without_their_comments() -> None:
    statements = parse(FILE)

    assert list(statements) == ["renew", "count"]
    assert statements["count"] == "SELECT count(*) FROM generations"
    assert "--" not in statements["renew"]


def test_a_fragment_is_filled_in_and_labels_are_left_for_the_tables() -> None:
    where = parse(FILE)["renew"].splitlines()[-1]

    assert where == "WHERE id = %(id)s AND state = 'open' AND status = $detected"


def test_a_fragment_may_hold_one_above_it_and_none_below() -> None:
    above = "-- fragment: inner\n1\n-- fragment: outer\n$inner + 1\n-- name: sum\nSELECT $outer"

    assert parse(above) == {"sum": "SELECT 1 + 1"}
    with pytest.raises(SqlFileError, match="outer holds a fragment below it: inner"):
        parse("-- fragment: outer\n$inner\n-- fragment: inner\n1\n")


def test_a_name_that_is_there_twice_is_refused() -> None:
    with pytest.raises(SqlFileError, match="claim is there twice"):
        parse("-- name: claim\nSELECT 1\n-- name: claim\nSELECT 2\n")
