"""Where copies go and how they are reached: what may be set, and what is wrong alone."""

from pathlib import Path

import pytest

from imagegen.config import S3Location, kept_images
from tests.support.settings import ENOUGH, complaints, with_environment


@pytest.mark.parametrize(
    ("given", "place"),
    [
        ("s3://nft-images", "s3://nft-images/"),
        ("s3://nft-images/", "s3://nft-images/"),
        ("s3://nft-images/season-1/images/", "s3://nft-images/season-1/images/"),
    ],
)
def test_copies_go_to_a_place_in_s3(
    given: str, place: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kept_images, "find_spec", lambda _: "boto3")
    found = with_environment(IMAGEGEN_KEEP_IMAGES=given).keep_images

    assert isinstance(found, S3Location)
    assert str(found) == place
    assert found.url("7-1.png") == f"{place}7-1.png"
    (complaint,) = complaints(ENOUGH | {"IMAGEGEN_KEEP_IMAGES": given, "IMAGEGEN_IMAGES_PORT": "0"})
    assert complaint.startswith("IMAGEGEN_IMAGES_PORT has no copies to serve")


def test_s3_without_its_library_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kept_images, "find_spec", lambda _: None)

    assert complaints(ENOUGH | {"IMAGEGEN_KEEP_IMAGES": "s3://nft-images/"}) == [
        "IMAGEGEN_KEEP_IMAGES must be a folder, as boto3 for S3 is not installed: pip install"
        " '.[s3]'"
    ]


@pytest.mark.parametrize("given", ["s3://", "s3:///x", "s3://A_b/x", "s3://b/x?y", "S3://nft/x"])
def test_no_other_text_is_a_place_in_s3(given: str) -> None:
    (complaint,) = complaints(ENOUGH | {"IMAGEGEN_KEEP_IMAGES": given})

    assert complaint.startswith("IMAGEGEN_KEEP_IMAGES must be a folder, or s3://bucket/prefix, not")


@pytest.mark.parametrize(
    ("given", "base"),
    [
        ("https://images.example.com", "https://images.example.com/"),
        ("https://cdn.example.com/nft/images/", "https://cdn.example.com/nft/images/"),
        ("http://127.0.0.1:9465/images/", "http://127.0.0.1:9465/images/"),
        ("http://[::1]:9465/images", "http://[::1]:9465/images/"),
        ("http://10.0.0.7:9465/images", "http://10.0.0.7:9465/images/"),
        ("http://imagegen:9465/images/", "http://imagegen:9465/images/"),
        ("http://imagegen.svc.cluster.local/", "http://imagegen.svc.cluster.local/"),
        ("file:///mnt/images", "file:///mnt/images/"),
    ],
)
def test_copies_are_reached_by_https_a_file_or_http_in_a_network_of_ones_own(
    given: str, base: str, tmp_path: Path
) -> None:
    kept = {"IMAGEGEN_KEEP_IMAGES": str(tmp_path)}

    assert with_environment(IMAGEGEN_IMAGE_URL_BASE=given, **kept).image_url_base == base


@pytest.mark.parametrize(
    "given",
    [
        "http://images.example.com/", "http://8.8.8.8/", "ftp://images/", "images.example.com",
        "https://", "https://user:pw@images.example.com/", "https://example.com/?name=",
        "https://example.com/#", "https://example.com/a b", "file://host/images", "file:images", "s3://b/",
        "https://example.com:port/",
    ],
)  # fmt: skip
def test_no_other_url_is_a_base_of_copies(given: str, tmp_path: Path) -> None:
    (complaint,) = complaints(
        ENOUGH | {"IMAGEGEN_IMAGE_URL_BASE": given, "IMAGEGEN_KEEP_IMAGES": str(tmp_path)}
    )

    assert complaint.startswith("IMAGEGEN_IMAGE_URL_BASE must be a URL such as https://images.")
    assert "user:pw" not in complaint


def test_what_leads_to_copies_is_wrong_without_copies() -> None:
    lines = complaints(
        ENOUGH | {"IMAGEGEN_IMAGE_URL_BASE": "https://example.com/", "IMAGEGEN_IMAGES_PORT": "0"}
    )

    assert lines == [
        "IMAGEGEN_IMAGE_URL_BASE needs copies: set IMAGEGEN_KEEP_IMAGES too, or unset it",
        "IMAGEGEN_IMAGES_PORT has no copies to serve: set IMAGEGEN_KEEP_IMAGES to a folder, or"
        " unset it",
    ]
