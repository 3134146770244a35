"""Copies of images: whole or not there, images and nothing else, and no token for their host."""

import contextlib
import hashlib
import os
import threading
import tracemalloc
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import httpx
import pytest

from imagegen.replicate.client import ReplicateClient
from imagegen.replicate.replies import Answered
from imagegen.worker import image_copies as copies_module
from imagegen.worker.copy_stores import CopyError
from imagegen.worker.image_copies import AT_ONCE, ImageCopies
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


PNG = b"\x89PNG\r\n\x1a\n"


class AtOnce:
    """How many requests there are at a time, at most; the first few wait for each other."""

    def __init__(self) -> None:
        self.most = 0
        self._now = 0
        self._lock = threading.Lock()
        self._few = threading.Barrier(AT_ONCE)

    def __enter__(self) -> None:
        with self._lock:
            self._now += 1
            self.most = max(self.most, self._now)
        with contextlib.suppress(threading.BrokenBarrierError):
            self._few.wait(0.2)

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._now -= 1


@contextlib.contextmanager
def served(image: bytes, at_once: AtOnce | None = None) -> Iterator[str]:
    """The URL of an image."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            with at_once or contextlib.nullcontext():
                self.send_response(200)
                self.send_header("Content-Length", str(len(image)))
                self.end_headers()
                self.wfile.write(image)

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/out-0.png"
        server.shutdown()
        thread.join()


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

    assert copy.path == str(folder / "7-1.webp")  # by its first bytes, not by its media type
    assert Path(copy.path).read_bytes().startswith(b"RIFF")


def test_another_image_of_the_same_name_replaces_none(folder: Path, copies: ImageCopies) -> None:
    with served(PNG) as first, served(PNG + b"other") as second:
        one, again, other = [copies.keep(url, "7-1") for url in (first, first, second)]

    assert one == again
    assert Path(one.path).read_bytes() == PNG
    assert Path(other.path).read_bytes() == PNG + b"other"
    assert files(folder) == [f"7-1-{other.sha256[:16]}.png", "7-1.png"]


def test_a_large_image_goes_to_disk_without_growing_the_memory(
    folder: Path, copies: ImageCopies
) -> None:
    with served(PNG + bytes(30_000_000)) as url:
        tracemalloc.start()
        copy = copies.keep(url, "7-1")
        _, most = tracemalloc.get_traced_memory()
        tracemalloc.stop()

    with Path(copy.path).open("rb") as file:
        assert hashlib.file_digest(file, "sha256").hexdigest() == copy.sha256
    assert Path(copy.path).stat().st_size == len(PNG) + 30_000_000
    assert most < 3_000_000


def test_a_few_images_are_copied_at_a_time_and_all_of_them(
    folder: Path, copies: ImageCopies
) -> None:
    at_once = AtOnce()
    with served(PNG, at_once) as url, ThreadPoolExecutor(10) as slots:
        kept = list(slots.map(lambda number: copies.keep(url, f"{number}-1"), range(10)))

    assert len({copy.path for copy in kept}) == len(files(folder)) == 10
    assert at_once.most == AT_ONCE


def test_an_image_that_waits_for_its_turn_for_too_long_has_no_copy(
    copies: ImageCopies, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(copies_module, "TURN_SECONDS", 0.01)
    for _ in range(AT_ONCE):
        copies._turns.acquire()

    with pytest.raises(CopyError, match="3 other images"):
        copies.keep("https://replicate.delivery/out-0.png", "7-1")


@pytest.mark.parametrize("uri", ["data:image/png;base64,aGVsbG8=", "data:,x", "data:image/png;"])
def test_a_data_uri_without_an_image_gives_no_copy(
    folder: Path, copies: ImageCopies, uri: str
) -> None:
    with pytest.raises(CopyError, match="not a PNG"):
        copies.keep(uri, "7-1")

    assert files(folder) == []
