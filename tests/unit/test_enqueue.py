"""What is wrong with a CSV file of mints is told with its line, before a database is asked."""

import io

import pytest

from imagegen.enqueue import EnqueueError, Wish, read_csv


def read(content: bytes, count: int = 1) -> list[Wish]:
    return read_csv(io.TextIOWrapper(io.BytesIO(content), encoding="utf-8-sig"), count)


def test_each_row_is_a_token_and_what_is_empty_is_left_open() -> None:
    assert read(b"Author, prompt,token_id\nada,a whale,\nbob,,7\n") == [
        Wish("line 2", "ada", "a whale", None),
        Wish("line 3", "bob", None, 7),
    ]


def test_a_row_stands_for_as_many_tokens_as_are_asked_for() -> None:
    assert read(b"wallet_address,prompt\nada,one\nbob,two\n", count=2) == [
        Wish("line 2", "ada", "one"),
        Wish("line 2", "ada", "one"),
        Wish("line 3", "bob", "two"),
        Wish("line 3", "bob", "two"),
    ]


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"", "line 1: the header must name wallet_address and prompt, once each"),
        (b"prompt,prompt\n", "line 1: the header must name wallet_address and prompt, once each"),
        (b"author,wallet_address,prompt\n", "line 1: the header must name wallet_address and"),
        (b"author,prompt,colour\n", "line 1: the header's 'colour' is none of wallet_address, "),
        (b"author,prompt\n", "the file has no rows below its header"),
        (b"author,prompt\n\n", "the file has no rows below its header"),
        (b"author,prompt\nada\n", "line 2: 1 fields under 2 columns"),
        (b"author,prompt\nada,one\n,two\n", "line 3: an author is a word of 1 to 42 characters"),
        (b"author,prompt\na da,one\n", "line 2: an author is a word of 1 to 42 characters"),
        (b"author,prompt\n%s,one\n" % (b"a" * 43), "line 2: an author is a word of 1 to 42 char"),
        (b"author,prompt\nada,%s\n" % (b"a" * 1001), "line 2: the prompt has 1001 characters"),
        (b"author,prompt\nada,a\0b\n", "line 2: PostgreSQL cannot keep the prompt's NUL"),
        (b"author,prompt,token_id\nada,one,-1\n", "line 2: token_id must be a whole number from 0"),
        (
            b"author,prompt,token_id\nada,one,9223372036854775808\n",
            "line 2: token_id must be a whole number from 0 to 9223372036854775807, not '92233",
        ),
        (b"author,prompt,token_id\nada,one,%s\n" % (b"9" * 5000), "line 2: token_id must be a w"),
        (b'author,prompt\nada,"one\n', "line 2: unexpected end of data"),
        (b"author,prompt\nada,\xff\n", "not UTF-8, somewhere after line "),
    ],
)
def test_a_mistake_is_told_with_its_line(content: bytes, told: str) -> None:
    with pytest.raises(EnqueueError) as error:
        read(content)

    assert str(error.value).startswith(told)


def test_a_token_id_cannot_be_there_several_times() -> None:
    with pytest.raises(EnqueueError, match="line 2: a token_id cannot be there 2 times"):
        read(b"author,prompt,token_id\nada,one,7\n", count=2)
