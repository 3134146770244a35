"""The images' own port serves the copies of its folder, whole, and nothing else."""

import os
import socket
import threading
import tracemalloc
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from imagegen.web.exporter import listen
from imagegen.web.image_files import ImagesApp
from imagegen.web.server import Server

PNG = b"\x89PNG\r\n\x1a\n" + b"pixels" * 20
SVG = b'<?xml version="1.0"?><svg><script>alert(1)</script></svg>'


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "kept"
    folder.mkdir()
    (folder / "42-7.png").write_bytes(PNG)
    (folder / "43-8.svg").write_bytes(SVG)
    (tmp_path / "secret.png").write_bytes(PNG)
    return folder


@pytest.fixture
def base(folder: Path) -> Iterator[str]:
    listening = listen("127.0.0.1", 0, "images")
    server = Server(listening, ImagesApp(folder), lambda: None)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield f"http://127.0.0.1:{listening.getsockname()[1]}"
    server.shutdown()
    thread.join()
    server.server_close()


def get(url: str, method: str = "GET") -> httpx.Response:
    return httpx.request(method, url, trust_env=False)


def ask(base: str, target: str) -> bytes:
    """The first line of the answer to a request for exactly this."""
    port = int(base.rpartition(":")[2])
    with socket.create_connection(("127.0.0.1", port)) as client:
        client.sendall(f"GET {target} HTTP/1.0\r\n\r\n".encode())
        return client.recv(1000).partition(b"\r\n")[0]


def test_a_copy_is_served_whole_with_its_type(base: str) -> None:
    image = get(f"{base}/images/42-7.png")

    assert (image.status_code, image.content) == (200, PNG)
    assert image.headers["Content-Type"] == "image/png"
    assert image.headers["Content-Length"] == str(len(PNG))
    assert "immutable" in image.headers["Cache-Control"]
    head = get(f"{base}/images/42-7.png", "HEAD")
    assert (head.status_code, head.content, head.headers["Content-Length"]) == (
        200, b"", str(len(PNG)),
    )  # fmt: skip


def test_a_script_in_an_svg_does_not_run(base: str) -> None:
    image = get(f"{base}/images/43-8.svg")

    assert image.headers["Content-Type"] == "image/svg+xml"
    assert "sandbox" in image.headers["Content-Security-Policy"]
    assert image.headers["X-Content-Type-Options"] == "nosniff"


@pytest.mark.parametrize(
    "target",
    [
        "/", "/images", "/images/", "/images/.", "/images/..", "/images/../secret.png",
        "/images/%2e%2e/secret.png", "/images/..%2fsecret.png", "/images//42-7.png",
        "/images/none.png", "/images/42-7.png/", "/images/%00", "/images/42-7.png%00.txt",
        "/images/.imagegen-abc", "/images/link.png", "/images/linked/secret.png",
        "/images/text.png",
        "/images/folder", "/images/pipe", "/metrics", "/images/" + "a" * 3000, "/images/%ff%fe",
    ],
)  # fmt: skip
def test_nothing_but_the_images_of_the_folder_is_served(
    base: str, folder: Path, target: str
) -> None:
    (folder / ".imagegen-abc").write_bytes(PNG)
    (folder / "link.png").symlink_to(folder.parent / "secret.png")
    (folder / "linked").symlink_to(folder.parent)
    (folder / "text.png").write_text("no image")
    (folder / "folder").mkdir()
    os.mkfifo(folder / "pipe")

    assert ask(base, target) == b"HTTP/1.0 404 Not Found"


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE"])
def test_nothing_can_be_changed(base: str, method: str) -> None:
    refused = get(f"{base}/images/42-7.png", method)

    assert (refused.status_code, refused.headers["Allow"]) == (405, "GET, HEAD")


def test_a_large_image_is_not_read_into_memory(base: str, folder: Path) -> None:
    size = 30_000_000
    with (folder / "44-9.png").open("wb") as file:
        file.write(PNG)
        file.truncate(size)
    tracemalloc.start()
    with httpx.stream("GET", f"{base}/images/44-9.png", trust_env=False) as answer:
        read = sum(len(chunk) for chunk in answer.iter_raw())
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert read == size
    assert most < 3_000_000
