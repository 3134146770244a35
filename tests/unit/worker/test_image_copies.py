"""Copies of images: whole or not there, images and nothing else, and no token for their host."""

import contextlib
import hashlib
import os
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from imagegen.replicate.client import ReplicateClient
from imagegen.replicate.replies import Answered
from imagegen.worker import image_copies as copies_module
from imagegen.worker.image_copies import CopyError, ImageCopies
from tests.support.generation_runs import UNLIMITED
from tests.support.sandbox import DEFAULT_TOKEN, Fault, Sandbox

MODEL = "black-forest-labs/flux-schnell"


@pytest.fixture
def sandbox() -> Iterator[Sandbox]:
    with Sandbox(latency_seconds=0.0) as running:
        yield running


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path


@pytest.fixture
def copies(folder: Path) -> Iterator[ImageCopies]:
    with contextlib.closing(ImageCopies(folder)) as copies:
        yield copies


def image_url(sandbox: Sandbox, prompt: str = "a cat") -> str:
    with contextlib.closing(ReplicateClient(DEFAULT_TOKEN, sandbox.url, 300, UNLIMITED)) as client:
        created = client.create(MODEL, {"prompt": prompt, "seed": 7})
        assert isinstance(created, Answered)
        seen = client.get(created.prediction.id)
    assert isinstance(seen, Answered)
    assert isinstance(seen.prediction.output, list)
    return str(seen.prediction.output[0])


def files(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize("host", ["replicate..delivery", "a" * 64 + ".delivery", "xn--\u00e9.de"])
def test_a_host_that_is_no_name_gives_no_copy(copies: ImageCopies, folder: Path, host: str) -> None:
    with pytest.raises(CopyError):
        copies.keep(f"https://{host}/out-0.png", "7-1")

    assert files(folder) == []


def test_a_copy_is_the_image_under_its_name_with_its_sha256(
    sandbox: Sandbox, folder: Path, copies: ImageCopies
) -> None:
    url = image_url(sandbox)
    copy = copies.keep(url, "7-1")
    image = httpx.get(url, trust_env=False).content

    assert Path(copy.path).read_bytes() == image
    assert copy.sha256 == hashlib.sha256(image).hexdigest()
    assert files(folder) == [Path(copy.path).name]
    assert Path(copy.path).stem == "7-1"


def test_the_host_of_an_image_is_told_no_token(sandbox: Sandbox, copies: ImageCopies) -> None:
    url = image_url(sandbox)
    told: list[httpx.Headers] = []
    copies._http.event_hooks["request"].append(lambda request: told.append(request.headers))
    copies.keep(url, "7-1")

    assert [headers.get("authorization") for headers in told] == [None]


@pytest.mark.parametrize(
    "fault",
    [
        Fault.answers(404, operation="file"),
        Fault.answers(302, "", headers={"location": "https://example.com/"}, operation="file"),
        Fault.answers_html(operation="file"),
        Fault.cuts_short(operation="file"),
        Fault.resets(operation="file"),
    ],
    ids=["missing", "elsewhere", "no image", "cut short", "reset"],
)
def test_what_is_no_whole_image_leaves_no_file(
    fault: Fault, sandbox: Sandbox, folder: Path, copies: ImageCopies
) -> None:
    url = image_url(sandbox)
    sandbox.faults.add(fault)

    with pytest.raises(CopyError):
        copies.keep(url, "7-1")
    assert files(folder) == []


def test_an_image_beyond_the_limit_leaves_no_file(
    sandbox: Sandbox, folder: Path, copies: ImageCopies, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(copies_module, "LARGEST_BYTES", 10)

    with pytest.raises(CopyError, match="more than 10 bytes"):
        copies.keep(image_url(sandbox), "7-1")
    assert files(folder) == []


def test_an_image_that_drips_for_too_long_leaves_no_file(
    sandbox: Sandbox, folder: Path, copies: ImageCopies, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(copies_module, "DOWNLOAD_SECONDS", 0.3)
    url = image_url(sandbox)
    sandbox.faults.add(Fault.drips(20.0, operation="file"))

    with pytest.raises(CopyError):
        copies.keep(url, "7-1")
    assert files(folder) == []


def test_a_full_disk_is_told_in_words(
    sandbox: Sandbox, folder: Path, copies: ImageCopies, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    url = image_url(sandbox)
    monkeypatch.setattr(os, "fsync", full)

    with pytest.raises(CopyError, match="No space left"):
        copies.keep(url, "7-1")
    assert files(folder) == []


def test_what_a_killed_download_left_goes_after_an_hour(folder: Path) -> None:
    old, new = folder / ".imagegen-old", folder / ".imagegen-new"
    for path in (old, new, folder / "7-1.png"):
        path.write_bytes(b"some")
    os.utime(old, (0, 0))
    with contextlib.closing(ImageCopies(folder)):
        assert files(folder) == [".imagegen-new", "7-1.png"]


def test_the_image_of_a_data_uri_is_written_like_a_download(
    folder: Path, copies: ImageCopies
) -> None:
    copy = copies.keep("data:image/png;base64,UklGRhAAAABXRUJQVlA4IAQAAAA=", "7-1")

    assert copy.path == str(folder / "7-1.webp")  # by its first bytes, whatever it is called
    assert Path(copy.path).read_bytes().startswith(b"RIFF")


@pytest.mark.parametrize("uri", ["data:image/png;base64,aGVsbG8=", "data:,x", "data:image/png;"])
def test_a_data_uri_without_an_image_gives_no_copy(
    folder: Path, copies: ImageCopies, uri: str
) -> None:
    with pytest.raises(CopyError, match="no image"):
        copies.keep(uri, "7-1")

    assert files(folder) == []
