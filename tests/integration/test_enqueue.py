"""`imagegen enqueue`: tokens for tests, all of them or none."""

import json
from pathlib import Path

import pytest

from tests.integration.test_migrations import GLISK_SCHEMA
from tests.support.processes import Site

TOKENS = """SELECT token_id, wallet_address, prompt_text, lower(status::text)
            FROM tokens_s0 t JOIN authors a ON a.id = t.author_id ORDER BY 1"""
COUNTS = "SELECT (SELECT count(*) FROM tokens_s0), (SELECT count(*) FROM authors)"


@pytest.fixture
def glisk(empty_site: Site) -> Site:
    """The existing backend's database: columns without defaults, upper-case labels."""
    empty_site.query(GLISK_SCHEMA.read_text())
    empty_site.upgrade()
    return empty_site


def made(site: Site, *arguments: str) -> list[int]:
    """The ids of the tokens that the command says it made."""
    done = site.call("enqueue", "--json", *arguments)
    assert done.returncode == 0, done.stderr
    return [token["token_id"] for token in json.loads(done.stdout)["tokens"]]


def refused(site: Site, *arguments: str) -> str:
    """The line of a command that must insert nothing."""
    before = site.query(COUNTS)
    done = site.call("enqueue", *arguments)
    assert done.returncode == 1
    assert site.query(COUNTS) == before
    (line,) = done.stderr.splitlines()
    return line.removeprefix("imagegen: nothing was inserted: ")


def csv_file(site: Site, text: str) -> str:
    path: Path = site.folder / "mints.csv"
    path.write_text(text)
    return str(path)


def test_each_prompt_gets_an_author_of_its_own_and_ids_go_on_after_the_highest(
    site: Site,
) -> None:
    site.mint("there already", first_token_id=41)

    done = site.call("enqueue", "a lighthouse", "a whale", "--count", "2")

    assert (done.returncode, done.stdout) == (0, "made 4 tokens: 42-45\n")
    tokens = site.query(TOKENS)[1:]
    assert [(token_id, prompt) for token_id, _, prompt, _ in tokens] == [
        (42, "a lighthouse"), (43, "a lighthouse"), (44, "a whale"), (45, "a whale"),
    ]  # fmt: skip
    assert len({wallet for _, wallet, _, _ in tokens}) == 2
    assert {status for *_, status in tokens} == {"detected"}


def test_an_enqueued_token_gets_its_image(site: Site) -> None:
    made(site, "a lighthouse", "--count", "3")

    with site.supervisor():
        assert site.wait_until_done() == {"uploading": 3}


def test_an_author_that_is_there_is_used_whatever_the_case_of_its_wallet(site: Site) -> None:
    site.query("INSERT INTO authors (wallet_address, prompt_text) VALUES ('0xAbC', 'a whale')")

    assert made(site, "--author", "0xabc") == [1]
    assert made(site, "a whale", "--author", "0XABC") == [2]
    assert site.query(TOKENS) == [(n, "0xAbC", "a whale", "detected") for n in (1, 2)]


def test_the_prompt_of_an_author_is_never_changed(site: Site) -> None:
    site.query("INSERT INTO authors (wallet_address, prompt_text) VALUES ('ada', 'a whale')")

    told = refused(site, "a lighthouse", "--author", "ada")

    assert told.startswith("prompt 1: the author ada is there already, with another prompt")


@pytest.mark.parametrize("prompts", [(), ("a lighthouse",)])
def test_an_author_that_an_empty_variable_named_is_refused(
    site: Site, prompts: tuple[str, ...]
) -> None:
    told = refused(site, *prompts, "--author", "")

    assert told == "--author: an author is a word of 1 to 42 characters"


def test_an_author_with_two_prompts_is_an_error_that_names_both(site: Site) -> None:
    told = refused(site, "one", "two", "--author", "ada")

    assert told.startswith("prompt 2: the author ada has another prompt from prompt 1: ")


def test_a_csv_file_is_read_by_the_names_in_its_header(site: Site) -> None:
    rows = '\ufeffPrompt,token_id,author\n"a whale,\nasleep",,ada\na lighthouse,70,bob\n\n,,ada\n'

    done = site.call("enqueue", "--csv", csv_file(site, rows))

    assert (done.returncode, done.stdout) == (0, "made 3 tokens: 71, 70, 72\n")
    assert site.query(TOKENS) == [
        (70, "bob", "a lighthouse", "detected"),
        (71, "ada", "a whale,\nasleep", "detected"),
        (72, "ada", "a whale,\nasleep", "detected"),
    ]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("author,prompt\nada,\n", "line 2: there is no author ada, and no prompt"),
        (
            "author,prompt\nada,one\nADA,two\n",
            "line 3: the author ADA has another prompt from"
            " line 2: leave the prompt out, or take another author",
        ),
        ("author,prompt,token_id\nada,a,7\nbob,b,7\n", "line 3: token 7 is on line 2 already"),
        ("author,prompt,token_id\nbob,one,\nada,two,9\n", "line 3: there is a token 9 already"),
        ("author,prompt,token_id\na,b,2147483647\nc,d,\n", "no token id is left after 2147483647"),
        (
            "author,prompt,token_id\na,b,2147483648\n",
            "line 2: token_id must be a whole number from 0 to 2147483647, not '2147483648'",
        ),
        ("author,prompt\nada,one\n,two\n", "line 3: an author is a word of 1 to 42 characters"),
    ],
)
def test_a_mistake_in_a_csv_file_is_reported_with_its_line_and_nothing_is_inserted(
    site: Site, text: str, told: str
) -> None:
    site.mint("there already", first_token_id=9)

    assert refused(site, "--csv", csv_file(site, text)).startswith(told)


def test_all_rows_that_the_database_cannot_take_are_reported_together(site: Site) -> None:
    site.mint("there already", first_token_id=9)
    rows = "author,prompt,token_id\nada,one,7\nbob,,8\ncleo,two,9\ndan,three,7\nADA,four,\n"

    done = site.call("enqueue", "--csv", csv_file(site, rows))

    assert (done.returncode, done.stderr.splitlines()) == (
        1,
        [
            "imagegen: nothing was inserted: 4 mistakes:",
            "imagegen: line 3: there is no author bob, and no prompt",
            "imagegen: line 4: there is a token 9 already",
            "imagegen: line 5: token 7 is on line 2 already",
            "imagegen: line 6: the author ADA has another prompt from line 2:"
            " leave the prompt out, or take another author",
        ],
    )
    assert site.query(COUNTS) == [(1, 1)]


def test_where_ids_are_bigints_the_error_names_their_limit(glisk: Site) -> None:
    glisk.query("ALTER TABLE tokens_s0 ALTER COLUMN token_id TYPE bigint")
    rows = "author,prompt,token_id\nada,a whale,9223372036854775808\n"

    told = refused(glisk, "--csv", csv_file(glisk, rows))

    assert told.startswith("line 2: token_id must be a whole number from 0 to 9223372036854775807")


def test_ten_thousand_tokens_are_inserted_in_several_steps_that_hold_together(site: Site) -> None:
    rows = "".join(f"author-{n % 2500},{n % 2500}\n" for n in range(10_000))

    ids = made(site, "--csv", csv_file(site, f"author,prompt\n{rows}"))

    assert ids == list(range(1, 10_001))
    assert site.query(COUNTS) == [(10_000, 2500)]
    assert all(prompt == str((id_ - 1) % 2500) for id_, _, prompt, _ in site.query(TOKENS))


def test_two_commands_at_once_take_different_ids(site: Site) -> None:
    with (
        site.program("enqueue", "one", "--count", "3000") as first,
        site.program("enqueue", "two", "--count", "3000") as second,
    ):
        ended = [first.process.wait(60), second.process.wait(60)]

    assert ended == [0, 0]
    assert site.query("SELECT count(*), max(token_id) FROM tokens_s0") == [(6000, 6000)]


# The user's own tables.


def test_the_users_own_tables_are_filled_in_where_they_have_no_defaults(glisk: Site) -> None:
    assert made(glisk, "a lighthouse", "a whale") == [1, 2]

    assert [row[2:] for row in glisk.query(TOKENS)] == [
        ("a lighthouse", "detected"),
        ("a whale", "detected"),
    ]
    with glisk.supervisor():
        assert glisk.wait_until_done() == {"uploading": 2}


def test_where_ids_are_bigints_large_ones_are_taken_and_followed(glisk: Site) -> None:
    glisk.query("ALTER TABLE tokens_s0 ALTER COLUMN token_id TYPE bigint")
    rows = "author,prompt,token_id\nada,a whale,9999999999\n"

    assert made(glisk, "--csv", csv_file(glisk, rows)) == [9999999999]
    assert made(glisk, "a lighthouse") == [10000000000]


def test_a_required_column_without_a_known_value_is_named(glisk: Site) -> None:
    glisk.query("ALTER TABLE tokens_s0 ADD COLUMN rarity text NOT NULL")

    told = refused(glisk, "a lighthouse")

    assert told == (
        "tokens_s0.rarity must have a value, which enqueue does not know: give the column a"
        " default (ALTER TABLE tokens_s0 ALTER COLUMN rarity SET DEFAULT …)"
    )


def test_a_refusal_of_the_database_is_reported_in_its_words(site: Site) -> None:
    site.query("ALTER TABLE tokens_s0 ADD CONSTRAINT small CHECK (token_id < 3)")

    told = refused(site, "a lighthouse", "--count", "3")

    assert told.startswith('new row for relation "tokens_s0" violates check constraint "small"')


@pytest.mark.parametrize("arguments", [(), ("one", "--csv", "x.csv")])
def test_prompts_or_a_file_are_needed(site: Site, arguments: tuple[str, ...]) -> None:
    csv_file(site, "")
    done = site.call("enqueue", *arguments)

    assert done.returncode == 2
