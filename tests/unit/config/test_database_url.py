"""The database's URL: what libpq reads is accepted; what is wrong is named without its password."""

import pytest

from tests.support.settings import ENOUGH, complaints, with_environment


@pytest.mark.parametrize(
    "url",
    [
        "mysql://u:pass-word@h/d",
        "host=h password=pass-word",
        "postgresql://u:pass-word@h:port/d",
        "postgresql://u:pass-word@h:65536/d",
        f"postgresql://u:pass-word@h:{'9' * 5000}/d",
    ],
)
def test_a_wrong_database_url_is_told_without_its_password(url: str) -> None:
    [line] = complaints(ENOUGH | {"DATABASE_URL": url})

    assert line.startswith("DATABASE_URL must be a PostgreSQL URL such as postgresql://")
    assert "pass-word" not in line


@pytest.mark.parametrize(
    ("password", "mend"),
    [
        ("s3cr@t!pass", "@ as %40"),
        ("s3cr/t!pass", "/ as %2F"),
        ("s3cr%t!pass", "% as %25"),
        ("s3cr t!pass", "a blank as %20"),
        ("s3cr@t/pass", "/ as %2F and @ as %40"),
        ("s3cr/t?pass", "/ as %2F and ? as %3F"),
        ("s3cr@t?pass", "? as %3F and @ as %40"),
        ("5432/t#pass", "# as %23 and / as %2F"),
    ],
)
@pytest.mark.parametrize("place", ["127.0.0.1/x", "one:1,two:2/x?sslmode=require"])
def test_the_character_that_cuts_a_password_short_is_named_with_its_escape(
    password: str, mend: str, place: str
) -> None:
    [line] = complaints(ENOUGH | {"DATABASE_URL": f"postgresql://user:{password}@{place}"})

    assert line == (
        "DATABASE_URL must be a PostgreSQL URL such as postgresql://user:password@host:5432/database"
        f"; inside its user, password or database write {mend}"
    )


def test_a_parameter_that_libpq_does_not_know_is_named() -> None:
    url = "postgresql://user:pass-word@host/db?sslmode=require&bogus=1"
    [line] = complaints(ENOUGH | {"DATABASE_URL": url})

    assert line.endswith(", without the parameter 'bogus': libpq knows none of this name")
    assert "pass-word" not in line


def test_what_may_be_the_rest_of_a_password_is_not_named_as_a_parameter() -> None:
    [line] = complaints(ENOUGH | {"DATABASE_URL": "postgresql://host/db?password=pass&word=1"})

    assert "word=" not in line
    assert "'word'" not in line


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://user:pass-word@host/tokens?application_name=me@home",
        "postgresql://us%40er:p%40ss%2Fw%25rd@host/tokens",
        "postgresql://user:pass-word@one:5432,two:5433/tokens?target_session_attrs=read-write",
        "postgresql://user:pass-word@one,two/tokens",
        "postgresql:///tokens?host=/run/postgresql",
        "postgres://user:pass#wo?rd@host/tokens",
    ],
)
def test_every_url_that_libpq_reads_is_accepted(url: str) -> None:
    assert with_environment(DATABASE_URL=f" {url}\n").database_url == url


@pytest.mark.parametrize(
    ("url", "passwords"),
    [
        ("postgresql://user:pl41n-pw@host/db", {"pl41n-pw"}),
        ("postgresql://user:p%40ss%22@host/db", {"p%40ss%22", 'p@ss"'}),
        ("postgresql://host/db?user=u&password=pl41n-pw", {"pl41n-pw"}),
        ("postgresql://host/db?password=p%26w&sslpassword=k3y", {"p%26w", "p&w", "k3y"}),
        ("postgresql://user:pa#ss@host/db", {"pa#ss", "pa%23ss"}),
        ("postgresql://user:pa?ss@host/db", {"pa?ss", "pa%3Fss"}),
        ("postgresql://user:pl41n-pw@one:1,two:2/db", {"pl41n-pw"}),
        ("postgresql://host/db", set()),
    ],
)
def test_the_secrets_are_the_token_the_url_and_the_password_in_each_form(
    url: str, passwords: set[str]
) -> None:
    assert set(with_environment(DATABASE_URL=url).secrets) == {"r8_secret", url} | passwords
