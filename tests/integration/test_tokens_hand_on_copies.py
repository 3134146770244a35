"""`imagegen tokens retry` hands an image on by its kept copy."""

import pytest

from tests.integration.test_tokens_hand_on import (
    URL,
    insert_failed_by_next_stage,
    insert_image,
    token,
)
from tests.integration.test_tokens_retry import retry
from tests.support.generation_rows import insert_tokens
from tests.support.processes import Site

COPY = "/var/lib/imagegen/1 of 2.webp"


def test_an_image_that_replicate_has_deleted_is_handed_on_by_its_copy(site: Site) -> None:
    insert_failed_by_next_stage(site, minutes_ago=61)
    site.query("UPDATE generations SET image_path = %s", COPY)

    result, lines = retry(site, "1")

    assert result == "1 token is handed on again"
    assert lines == ["imagegen: handed on by the kept copy, as a file:// URL: 1"]
    assert token(site) == ("uploading", "file:///var/lib/imagegen/1%20of%202.webp", None)


def test_an_image_that_waits_at_a_dead_url_is_handed_on_by_its_copy(site: Site) -> None:
    insert_tokens(site, "uploading", 1, image_url=URL)
    insert_image(site, minutes_ago=61, image_path=COPY)

    assert retry(site, "1")[0] == "1 token is handed on again"
    assert token(site) == ("uploading", "file:///var/lib/imagegen/1%20of%202.webp", None)

    _, lines = retry(site, "1", code=1)
    assert "1 is uploading, its image is paid for: --lost pays for another one" in lines[0]


def test_an_image_that_is_its_copy_waits_as_it_is(site: Site) -> None:
    url = "file:///var/lib/imagegen/1.webp"
    insert_tokens(site, "uploading", 1, image_url=url)
    insert_image(site, minutes_ago=61, image_url=url, image_path="/var/lib/imagegen/1.webp")

    _, lines = retry(site, "1", code=1)

    assert "1 is uploading, its image is paid for: --lost pays for another one" in lines[0]


@pytest.mark.parametrize("minutes_ago", [5, 61])
@pytest.mark.parametrize("recorded", [None, "https://old.example.com/1%20of%202.webp"])
def test_with_a_base_a_token_is_handed_on_by_its_copy_below_it(
    site: Site, minutes_ago: int, recorded: str | None
) -> None:
    insert_failed_by_next_stage(site, minutes_ago=minutes_ago)
    site.query("UPDATE generations SET image_path = %s, handed_on_url = %s", COPY, recorded)
    site.settings["IMAGEGEN_IMAGE_URL_BASE"] = "https://images.example.com"

    assert retry(site, "1") == ("1 token is handed on again", [])

    url = "https://images.example.com/1%20of%202.webp"
    assert token(site) == ("uploading", url, None)
    assert site.query("SELECT image_url, handed_on_url FROM generations") == [(URL, url)]


@pytest.mark.parametrize("minutes_ago", [5, 61])
def test_the_url_that_a_token_was_handed_on_with_is_used_again_without_the_base(
    site: Site, minutes_ago: int
) -> None:
    insert_failed_by_next_stage(site, minutes_ago=minutes_ago)
    url = "https://images.example.com/1%20of%202.webp"
    site.query("UPDATE generations SET image_path = %s, handed_on_url = %s", COPY, url)

    assert retry(site, "1") == ("1 token is handed on again", [])
    assert token(site) == ("uploading", url, None)


def test_a_token_that_waits_at_a_url_that_dies_gets_the_lasting_one(site: Site) -> None:
    insert_tokens(site, "uploading", 1, image_url=URL)
    insert_image(site, image_path=COPY)
    site.settings["IMAGEGEN_IMAGE_URL_BASE"] = "https://images.example.com"

    assert retry(site, "1")[0] == "1 token is handed on again"
    assert token(site)[1] == "https://images.example.com/1%20of%202.webp"

    _, lines = retry(site, "1", code=1)
    assert "1 is uploading, its image is paid for: --lost pays for another one" in lines[0]


def test_an_image_in_a_bucket_is_handed_on_by_its_place_there(site: Site) -> None:
    insert_failed_by_next_stage(site, minutes_ago=61)
    site.query("UPDATE generations SET image_path = 's3://bucket/images/1-1.webp'")

    _, lines = retry(site, "1")

    assert lines == ["imagegen: handed on by the kept copy, as an s3:// URL: 1"]
    assert token(site) == ("uploading", "s3://bucket/images/1-1.webp", None)


def test_a_copy_is_not_used_while_the_image_is_there(site: Site) -> None:
    insert_failed_by_next_stage(site, minutes_ago=59)
    site.query("UPDATE generations SET image_path = %s", COPY)

    assert retry(site, "1") == ("1 token is handed on again", [])
    assert token(site) == ("uploading", URL, None)
