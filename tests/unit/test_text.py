"""Small pieces of text."""

import pytest

from imagegen.text import one_line, plural, shorten


@pytest.mark.parametrize(
    ("count", "text"), [(0, "0 tokens"), (1, "1 token"), (2, "2 tokens"), (1000, "1,000 tokens")]
)
def test_a_count_has_its_noun(count: int, text: str) -> None:
    assert plural(count, "token") == text


def test_a_long_text_ends_with_an_ellipsis_and_fits() -> None:
    assert shorten("a cat", 5) == "a cat"
    assert shorten("a cat on a mat", 6) == "a cat…"


def test_an_error_is_shown_in_one_line() -> None:
    assert one_line(ValueError("two\n  lines\n")) == "two lines"
