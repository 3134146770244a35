"""Where the images are in an output: the shapes that models give, and what is no image."""

import base64

import pytest

from imagegen.replicate.images import find_images, image_in

U = "https://replicate.delivery/pbxt/9inf/out-0.png"
V = "https://replicate.delivery/pbxt/9inf/out-1.png"
BARE = "https://replicate.delivery/pbxt/9inf/out"  # without a suffix
PNG = b"\x89PNG\r\n\x1a\n" + bytes(80)
WEBP = b"RIFF\x58\0\0\0WEBPVP8 " + bytes(80)


def data_uri(image: bytes, media_type: str = "image/png") -> str:
    return f"data:{media_type};base64,{base64.b64encode(image).decode()}"


def nested(value: object, levels: int) -> object:
    for _ in range(levels):
        value = [value]
    return value


@pytest.mark.parametrize(
    ("output", "images"),
    [
        (U, [U]),
        ([U], [U]),
        ([U, V], [U, V]),
        ([[U]], [U]),
        ({"url": U}, [U]),
        ({"image": U}, [U]),
        ({"images": [U, V]}, [U, V]),
        ({"output": {"url": U}}, [U]),
        ({"output": [{"image": {"uri": U, "width": 512}}]}, [U]),
        ([None, U], [U]),
        (["", {}, {"url": U}], [U]),
        ([U, "x"], [U]),
        ([U, U], [U]),
        (f" {U}\n", [U]),
        (BARE, [BARE]),
        ({"image": BARE}, [BARE]),
        (f"{U}?width=512&name=a.json", [f"{U}?width=512&name=a.json"]),
        # With something that is none of the images:
        ({"video": "https://h/x.mp4", "image": U}, [U]),
        ({"json": "https://h/x.json", "files": [U, V]}, [U, V]),
        ({"mask": V, "image": BARE}, [BARE]),
        ({"input": {"image": V}, "output": {"image": U}}, [U]),
        ({"thumbnails": [{"url": V}], "images": [{"url": U}]}, [U]),
        ({"web": "https://h/p/abc", "files": [U]}, [U]),
        ({"page": "https://h/p/abc", "url": BARE}, [BARE]),
        ({"text": "A cat, as in https://h/cat", "url": U}, [U]),
        ({"b64_json": data_uri(PNG), "url": U}, [U]),
        # With the image itself:
        (data_uri(WEBP, "image/webp"), [data_uri(WEBP, "image/webp")]),
        ([data_uri(PNG)], [data_uri(PNG)]),
        ({"image": data_uri(PNG)}, [data_uri(PNG)]),
        (data_uri(WEBP, "application/octet-stream"), [data_uri(WEBP, "application/octet-stream")]),
        (data_uri(PNG).replace("data:", "DATA:"), [data_uri(PNG)]),
        ({"b64_json": base64.b64encode(PNG).decode()}, [data_uri(PNG, "")]),
    ],
)
def test_models_put_their_images_into_many_shapes(output: object, images: list[str]) -> None:
    assert find_images(output, http_allowed=False) == images


@pytest.mark.parametrize(
    "output",
    [
        *(None, [], "", {}, 7, True, "hello", ["\n\n", "a haiku"], {"url": None}, {"seed": 42}),
        *("ftp://host/out.png", "https://", "https://[1/out.png", "javascript:alert(1)"),
        *("https://host/" + "x" * 2000, "http://replicate.delivery/out.png", "//host/out.png"),
        *("https://h/x.png is the image", "see https://h/x.png", "https://h/\u00e9.png"),
        *("https://h/x.mp4", {"video": BARE}, {"json": "https://h/x.json"}, ["https://h/x.glb"]),
        *({"image": "https://h/x.MP4"}, {"logs": "https://h/logs"}, {"web": "https://h/p/abc"}),
        *("data:image/png;base64,", "data:image/png;base64,AAAA", "data:image/png,%89PNG", "data:"),
        *("data:image/svg+xml;base64,PGh0bWw+", "data:image/png;base64,iVBORw0KGg", "data:,x"),
        *("x" * 10_000, nested(U, 50), ["a word"] * 1000 + [U]),
    ],
)  # fmt: skip
def test_what_is_no_image_is_never_taken_for_one(output: object) -> None:
    assert find_images(output, http_allowed=False) == []


def test_plain_http_is_only_for_the_sandbox() -> None:
    url = "http://127.0.0.1:8080/files/abc/out-0.png"

    assert find_images([url], http_allowed=True) == [url]
    assert find_images([url], http_allowed=False) == []


@pytest.mark.parametrize("escaped", [False, True])
def test_the_image_of_a_data_uri_is_decoded(escaped: bool) -> None:
    uri = data_uri(PNG)
    if escaped:
        uri = uri.replace("+", "%2B").replace("=", "%3D")

    assert image_in(uri) == PNG
