"""The demo's contact sheet: its images and its gaps, prompts as text."""

from imagegen.demo.contact_sheet import contact_sheet
from imagegen.demo.demo import Result
from imagegen.demo.tokens import DemoToken
from imagegen.sandbox.placeholder_png import placeholder_png
from imagegen.web import STYLE, STYLE_HASH
from tests.support.page_values import Read

HOSTILE = '"><script>alert(1)</script>'


def result(token_id: int, status: str, error: str | None = None) -> Result:
    return Result(token_id, DemoToken("ada", HOSTILE), status, 1, 2.0, (HOSTILE,), error, None)


def test_the_sheet_shows_every_image_and_why_some_are_missing() -> None:
    made, missing = result(1, "uploading"), result(2, "failed", HOSTILE)
    sheet = Read(contact_sheet([(made, placeholder_png("a cat", 1)), (missing, None)]))

    assert "2 tokens, 1 images, 1 without" in sheet.text
    assert len(sheet.all("img")) == 1
    assert sheet.all("img")[0]["alt"] == HOSTILE
    assert sheet.text.count(HOSTILE) == 3
    assert not sheet.all("script")


def test_what_is_no_image_is_a_gap_and_every_format_is_shown() -> None:
    gif, page = b"GIF89a" + bytes(9), b"<!DOCTYPE html>"
    sheet = Read(contact_sheet([(result(1, "uploading"), gif), (result(2, "uploading"), page)]))

    assert "2 tokens, 1 images, 1 without" in sheet.text
    assert "its URL led to no image" in sheet.text
    assert str(sheet.all("img")[0]["src"]).startswith("data:image/gif;base64,")


def test_each_token_has_a_card_in_the_order_of_the_results() -> None:
    token = DemoToken("ada & co", "x" * 200)
    twice = Result(1, token, "uploading", 2, 7.25, ("x", "x"), None, None)
    censored = Result(2, token, "uploading", 1, 0.0, ("x", "fallback"), None, None)
    sheet = contact_sheet([(twice, placeholder_png("x", 1)), (censored, None)])

    prompt = f'<p class="prompt" dir="auto">{"x" * 160}… (200 characters)</p>'
    assert sheet.count("<li>") == sheet.count("</li>") == sheet.count(prompt) == 2
    assert sheet.index("<span>#1 · ada &amp; co</span><span>7.2 s</span>") < sheet.index(
        "<span>#2 · ada &amp; co</span><span>0.0 s</span>"
    )
    assert '<small class="odd">attempt 2, after 1 that failed</small></li>' in sheet
    assert '<span class="tile">the image could not be fetched</span>' in sheet
    assert '<small class="odd">censored; the fallback prompt was used</small></li>' in sheet


def test_the_policy_of_the_sheet_allows_its_style_and_embedded_images_alone() -> None:
    sheet = contact_sheet([])

    assert f"<style>{STYLE}</style>" in sheet
    policy = f"default-src 'none'; img-src data:; style-src '{STYLE_HASH}'"
    assert f'content="{policy}"' in sheet
