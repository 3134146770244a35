"""What is wrong with mints is told with its place, before anything is inserted."""

import pytest

from imagegen.operator.enqueue_input import EnqueueError, MintRequest, from_arguments, from_csv

LARGEST = 2**31 - 1


def read(content: bytes, count: int = 1) -> list[MintRequest]:
    return from_csv(content, count, LARGEST)


def test_each_row_is_a_token_and_what_is_empty_is_left_open() -> None:
    assert read(b"Author, prompt,token_id\nada,a whale,\nbob,,7\n") == [
        MintRequest("line 2", "ada", "a whale", None),
        MintRequest("line 3", "bob", None, 7),
    ]


def test_a_row_stands_for_as_many_tokens_as_are_asked_for() -> None:
    assert read(b"wallet_address,prompt\nada,one\nbob,two\n", count=2) == [
        MintRequest("line 2", "ada", "one"),
        MintRequest("line 2", "ada", "one"),
        MintRequest("line 3", "bob", "two"),
        MintRequest("line 3", "bob", "two"),
    ]


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"\xef\xbb\xbfauthor,prompt\r\n", "the file has no rows below its header"),
        (b"", "line 1: the header must name wallet_address and prompt, once each"),
        (b"prompt,prompt\n", "line 1: the header must name wallet_address and prompt, once each"),
        (b"author,wallet_address,prompt\n", "line 1: the header must name wallet_address and"),
        (b"author,prompt,colour\n", "line 1: the header's 'colour' is none of wallet_address, "),
        (b"author,prompt\n", "the file has no rows below its header"),
        (b"author,prompt\n\n", "the file has no rows below its header"),
        (
            b"author,prompt\nada\n",
            "line 2: 1 field under 2 columns: one that is empty has its comma too",
        ),
        (
            b"author,prompt\nada,a cat, asleep\n",
            "line 2: 3 fields under 2 columns: a prompt with a comma stands in quotes",
        ),
        (b"author,prompt\nada,one\n,two\n", "line 3: an author is a word of 1 to 42 characters"),
        (b"author,prompt\na da,one\n", "line 2: an author is a word of 1 to 42 characters"),
        (b"author,prompt\n%s,one\n" % (b"a" * 43), "line 2: an author is a word of 1 to 42 char"),
        (b"author,prompt\nada,%s\n" % (b"a" * 1001), "line 2: the prompt has 1001 characters"),
        (b"author,prompt\nada,a\0b\n", "line 2: PostgreSQL cannot keep the prompt's NUL"),
        (b"author,prompt,token_id\nada,one,-1\n", "line 2: token_id must be a whole number from 0"),
        (
            b"author,prompt,token_id\nada,one,9223372036854775808\n",
            "line 2: token_id must be a whole number from 0 to 2147483647, not '92233",
        ),
        (b"author,prompt,token_id\nada,one,%s\n" % (b"9" * 5000), "line 2: token_id must be a w"),
        (b'author,prompt\nada,"one\n', "line 2: unexpected end of data"),
        (b'author,prompt\nada,"one\n\nbob,two\n', "line 2: unexpected end of data"),
        (b"author,prompt\nada,caf\xe9\nbob,two\n", "line 2: not UTF-8"),
        (b"author,prompt\r\nada,one\r\n\xe9mile,two\r\n", "line 3: not UTF-8"),
        (b"author,prompt\rada,one\rbob,\xe9\r", "line 3: not UTF-8"),
    ],
)
def test_a_mistake_is_told_with_its_line(content: bytes, told: str) -> None:
    with pytest.raises(EnqueueError) as error:
        read(content)

    assert str(error.value).startswith(told)


def test_a_token_id_cannot_be_there_several_times() -> None:
    with pytest.raises(EnqueueError, match="line 2: a token_id cannot be there 2 times"):
        read(b"author,prompt,token_id\nada,one,7\n", count=2)


def test_every_wrong_row_is_told_at_once() -> None:
    with pytest.raises(EnqueueError) as error:
        read(b'author,prompt,token_id\nada\nbob,two,\n,three,\ncleo,"four" 4,\ndan,five,-1\n')

    assert str(error.value).splitlines() == [
        "4 mistakes:",
        "line 2: 1 field under 3 columns: one that is empty has its comma too",
        "line 4: an author is a word of 1 to 42 characters",
        "line 5: ',' expected after '\"'",
        "line 6: token_id must be a whole number from 0 to 2147483647, not '-1'",
    ]


def test_of_many_wrong_rows_ten_are_told_and_all_are_counted() -> None:
    with pytest.raises(EnqueueError) as error:
        read(b"author,prompt\n" + b"ada\n" * 37)

    first, *told = str(error.value).splitlines()
    assert first == "37 mistakes, the first 10 of them:"
    assert [line.partition(":")[0] for line in told] == [f"line {n}" for n in range(2, 12)]


def test_an_argument_that_is_no_text_is_told_in_words() -> None:
    with pytest.raises(EnqueueError) as error:
        from_arguments(["a cat", "caf\udce9"], None, 1)

    assert str(error.value) == "prompt 2: the prompt holds bytes that are not UTF-8"
