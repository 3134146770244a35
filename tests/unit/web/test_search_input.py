"""What may be searched for: everything else is one clear line."""

from urllib.parse import urlsplit

import pytest

from imagegen.failures import Kind
from imagegen.web.search_input import FAILURES, Search, SearchError, parse, token_id_of

LARGEST = 2**63 - 1


@pytest.mark.parametrize(
    ("query", "search"),
    [
        ("", Search()),
        ("token=&author=&status=&failure=", Search()),
        ("token=42", Search(token=42)),
        ("token=%2342", Search(token=42)),
        ("token=0", Search(token=0)),
        (f"token={LARGEST}", Search(token=LARGEST)),
        ("author=+0xAb+", Search(author="0xAb")),
        ("author=%C3%A9", Search(author="é")),
        ("status=Detected", Search(status="detected")),
        ("status=failed&failure=transient", Search(status="failed", failure="transient")),
        ("failure=unrecorded&before=7", Search(failure="unrecorded", before=7)),
    ],
)
def test_a_form_is_understood_and_what_is_left_empty_is_any(query: str, search: Search) -> None:
    assert parse(query) == search


@pytest.mark.parametrize(
    ("query", "why"),
    [
        ("token=forty", f"token must be a whole number from 0 to {LARGEST}."),
        ("token=-1", "token must be a whole number"),
        ("token=1.5", "token must be a whole number"),
        ("token=%D9%A1", "token must be a whole number"),
        (f"token={LARGEST + 1}", "token must be a whole number"),
        (f"token={'9' * 90}", "token must be a whole number"),
        ("before=x", "before must be a whole number"),
        ("author=%00", "author holds a control character, or a NUL"),
        ("author=0x%E2%80%AE", "author holds a control character"),
        (f"author={'x' * 101}", "author is too long: at most 100 characters."),
        (f"status={'x' * 101}", "status is too long"),
        ("failure=nonsense", "failure must be one of content_policy, transient"),
        ("status=detected&failure=gone", "A kind of failure goes with the status failed"),
        ("author=a&author=b", "author is there 2 times"),
        ("order=desc", "'order' is no parameter: token, author, status, failure, before are."),
        ("&".join(f"a{n}=1" for n in range(99)), "Too many parameters"),
    ],
)
def test_odd_input_is_told_in_one_line(query: str, why: str) -> None:
    with pytest.raises(SearchError) as told:
        parse(query)

    assert str(told.value).startswith(why)
    assert len(str(told.value).splitlines()) == 1


@pytest.mark.parametrize("kind", [*Kind])
def test_every_kind_of_failure_can_be_searched_for(kind: Kind) -> None:
    assert kind in FAILURES
    assert parse(f"failure={kind}").failure == kind


@pytest.mark.parametrize("author", ["0xAb", 'a"&<b>', "é +%"])
def test_the_path_of_a_search_leads_to_the_same_search(author: str) -> None:
    search = Search(author=author, status="failed", failure="gone")

    assert parse(urlsplit(search.path()).query) == search
    assert parse(urlsplit(search.path(7)).query) == Search(**vars(search) | {"before": 7})


@pytest.mark.parametrize("digits", ["", "x", "-1", "4 2", "42/", "\u0661", "9" * 30, str(2**63)])
def test_what_no_token_can_have_for_a_number_is_none(digits: str) -> None:
    assert token_id_of(digits) is None
