"""The sandbox as `imagegen demo` uses it, without what tests add to it."""

import socket
import struct
import zlib
from urllib.parse import urlsplit

import pytest

from imagegen.sandbox import Fault, Sandbox
from imagegen.sandbox.placeholder_png import SIZE, placeholder_png
from tests.support.sandbox_user import SandboxUser


def test_predictions_succeed_but_for_the_prompts_that_have_a_fault() -> None:
    faults = (Fault.censors("nude"), Fault.fails("kitten", error="CUDA out of memory.", times=2))
    with Sandbox(*faults, latency_seconds=0.0) as sandbox:
        user = SandboxUser(sandbox.url)
        with user.http:
            errors = [
                user.look_at(user.create(prompt))["error"]
                for prompt in ("a cat", "a nude", "a kitten", "a kitten", "a kitten", "a nude")
            ]
            image = user.http.get(user.gets_from("a cat")["output"][0])

    censored, failed = errors[1], "CUDA out of memory."
    assert "NSFW" in censored
    assert errors == [None, censored, failed, failed, None, censored]
    assert image.headers["content-type"] == "image/png"


def test_a_client_that_goes_away_is_no_traceback(capfd: pytest.CaptureFixture[str]) -> None:
    with Sandbox(latency_seconds=0.0) as sandbox:
        address = urlsplit(sandbox.url)
        with socket.create_connection((address.hostname, address.port)) as client:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            client.sendall(b"POST /v1/predictions HTTP/1.1\r\ncontent-length: 100\r\n\r\n{")
        user = SandboxUser(sandbox.url)
        with user.http:
            assert user.post().status_code == 201

    assert capfd.readouterr().err == ""


def pixels(image: bytes) -> list[list[bytes]]:
    """The rows of pixels of a PNG; fails where a chunk's checksum is wrong."""
    assert image.startswith(b"\x89PNG\r\n\x1a\n")
    chunks, position = {}, 8
    while position < len(image):
        (length,) = struct.unpack_from(">I", image, position)
        name, data = image[position + 4 : position + 8], image[position + 8 : position + 8 + length]
        (checksum,) = struct.unpack_from(">I", image, position + 8 + length)
        assert checksum == zlib.crc32(name + data)
        chunks[name] = data
        position += 12 + length
    assert list(chunks) == [b"IHDR", b"IDAT", b"IEND"]
    assert struct.unpack(">IIBBBBB", chunks[b"IHDR"]) == (SIZE, SIZE, 8, 2, 0, 0, 0)
    raw, row_bytes = zlib.decompress(chunks[b"IDAT"]), 1 + 3 * SIZE
    assert len(raw) == SIZE * row_bytes
    rows = [raw[start : start + row_bytes] for start in range(0, len(raw), row_bytes)]
    assert {row[0] for row in rows} == {0}  # no filter
    return [[row[start : start + 3] for start in range(1, row_bytes, 3)] for row in rows]


def test_an_image_is_a_gradient_from_one_colour_to_another() -> None:
    rows = pixels(placeholder_png("a cat", 1))

    first, last = rows[0][0], rows[-1][-1]
    assert first != last
    assert rows[0][-1] == rows[-1][0]  # half-way, in the other two corners
    colours = {pixel for row in rows for pixel in row}
    assert all(
        min(start, end) <= part <= max(start, end)
        for colour in colours
        for start, part, end in zip(first, colour, last, strict=True)
    )


def test_an_image_depends_on_prompt_seed_and_index_alone() -> None:
    different = [("a cat", 1, 0), ("a cat", 2, 0), ("a dog", 1, 0), ("a cat", 1, 1), ("", None, 0)]

    images = [placeholder_png(*of) for of in different]

    assert len(set(images)) == len(images)
    assert [placeholder_png(*of) for of in different] == images
