"""Strangers' text on the page stays text, and nothing of theirs is loaded or run."""

import base64
import hashlib
import re
from dataclasses import replace

import pytest

from imagegen.web import formatting, image_sources, problems
from imagegen.web.rendering import ICON_PATH, STYLE, security_headers
from imagegen.web.snapshot import Bucket
from tests.support.page_values import (
    FIRST,
    Read,
    details,
    failure,
    image_page,
    page,
    picture,
    snapshot,
    view,
    whole_page,
    worker,
)

HOSTILE = [
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "' onmouseover='alert(1)",
    "</style></title><script>alert(1)</script>",
    "&lt;b&gt; &amp;amp; &#x3c;",
    "]]> --> <!-- <svg/onload=alert(1)>",
]


def pages_about(stranger: str) -> list[Read]:
    """The status page, the same without a database, and an image, with this text everywhere."""
    shown = view(
        snapshot(
            failed=1,
            pictures=[picture(prompt=stranger, fallback=True)],
            failures=[failure(prompt=stranger, message=stranger, kind=stranger)],
        ),
        workers=[worker(stranger, closed_by=(stranger,), restarts={stranger: 2})],
    )
    away = replace(shown, now=problems.database_away(stranger))
    large = details(picture=picture(prompt=stranger), model=stranger, prediction_id=stranger)
    pages = [whole_page(shown), whole_page(away), image_page(large, title=stranger)]
    return [Read(html) for html in pages]


@pytest.mark.parametrize("hostile", HOSTILE)
def test_strangers_text_stays_text(hostile: str) -> None:
    for seen, harmless in zip(pages_about(hostile), pages_about("~stranger~"), strict=True):
        assert seen.shape == harmless.shape
        assert seen.text.count(hostile) == harmless.text.count("~stranger~") >= 4


def test_text_that_would_run_backwards_or_control_something_is_replaced() -> None:
    assert (
        formatting.text("a \u202egnp.exe\u2066 \x07\x1b[31m b\u2028c") == "a �gnp.exe� ��[31m b c"
    )


@pytest.mark.parametrize("whole", ["👩‍🚀🏳️‍🌈", "שלום עולם", "山水", "e\u0301"])
def test_emoji_and_every_script_stay_whole(whole: str) -> None:
    assert formatting.text(whole) == whole


@pytest.mark.parametrize(
    ("url", "found"),
    [
        ("https://replicate.delivery/a/b.png", "https://replicate.delivery"),
        ("https://pbxt.replicate.delivery:8443/a.png", "https://pbxt.replicate.delivery:8443"),
        ("https://Replicate.Delivery/a.png", "https://replicate.delivery"),
        ("http://127.0.0.1:4000/a.png", "http://127.0.0.1:4000"),
        ("http://replicate.delivery/a.png", None),
        ("javascript:alert(1)", None),
        ("data:image/png;base64,AAAA", None),
        ("https://evil.example;script-src *", None),
        ("https://evil.example' 'unsafe-inline/a.png", None),
        ("https://replicate.\u017fe/a.png", None),  # no header can hold it
        ("https://[::1/a.png", None),
        ("https://host:port/a.png", None),
        ("https:///a.png", None),
        ("", None),
    ],
)
def test_images_come_from_their_own_origin_or_not_at_all(url: str, found: str | None) -> None:
    assert image_sources.origin(url) == found
    assert image_sources.origins([picture(url=url)], copies=False) == ([found] if found else [])
    assert bool(page(snapshot(pictures=[picture(url=url)])).all("img")) == bool(found)


def test_the_policy_allows_this_style_and_these_images_and_nothing_else() -> None:
    policy = security_headers(["https://replicate.delivery"])["Content-Security-Policy"]
    (style,) = re.findall("<style>(.*?)</style>", whole_page(view()), re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()

    assert policy.split("; ") == [
        "default-src 'none'",
        f"style-src 'sha256-{digest}'",
        "img-src 'self' https://replicate.delivery",
        "base-uri 'none'",
        "form-action 'self'",
        "frame-ancestors 'none'",
    ]


def test_nothing_on_the_page_needs_what_the_policy_forbids() -> None:
    total = Bucket(FIRST, 3, 1, 2.0, 3.0)
    now = snapshot(total=total, buckets=[total], pictures=[picture()], failures=[failure()])
    shown = page(now)

    names = {name for _, attributes in shown.elements for name in attributes}
    assert "style" not in names
    assert {"script", "iframe", "object"}.isdisjoint(tag for tag, _ in shown.elements)
    assert [(form["action"], form["method"]) for form in shown.all("form")] == [("/tokens", "get")]
    assert [link["href"] for link in shown.all("link")] == [ICON_PATH]  # img-src 'self'
    assert "url(" not in STYLE
    assert "@import" not in STYLE
