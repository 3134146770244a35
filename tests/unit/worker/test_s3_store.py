"""Copies in S3: written once, compared with what was sent, and no slot waits for a dead bucket."""

import contextlib
import hashlib
import threading
import tracemalloc
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from imagegen.config import S3Location
from imagegen.doctor import Level, host
from imagegen.worker import s3_store
from imagegen.worker.copy_stores import CopyError, Written
from imagegen.worker.s3_store import S3Store
from tests.support.proxy import Proxy
from tests.support.s3_server import BUCKET, S3Server, running_s3
from tests.support.settings import settings

PLACE = S3Location(BUCKET, "images/")
PNG = b"\x89PNG\r\n\x1a\n" + b"pixels" * 20


@pytest.fixture(scope="module")
def of_module() -> Iterator[S3Server]:
    with running_s3() as server:
        yield server


@pytest.fixture
def server(of_module: S3Server, monkeypatch: pytest.MonkeyPatch) -> S3Server:
    for name, value in of_module.environment.items():
        monkeypatch.setenv(name, value)
    for version in of_module.client.list_object_versions(Bucket=BUCKET).get("Versions", []):
        of_module.client.delete_object(
            Bucket=BUCKET, Key=version["Key"], VersionId=version["VersionId"]
        )
    return of_module


def written(image: bytes) -> Written:
    return Written(len(image), hashlib.sha256(image).digest(), "image/png")


def keep(store: S3Store, image: bytes = PNG, name: str = "7-1.png") -> str:
    with store.new_file() as file:
        file.write(image)
        return store.keep(file, name, written(image))


@contextlib.contextmanager
def a_page(status: int) -> Iterator[str]:
    """The URL of a server that answers everything with a page."""

    class Handler(BaseHTTPRequestHandler):
        def answer(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length", 0)))
            self.send_response(status)
            self.send_header("Content-Length", "20")
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(b"<html>Welcome</html>")

        do_GET = do_HEAD = do_PUT = answer  # noqa: N815 (http.server's names)

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=[0.01])
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def test_a_copy_is_an_object_with_its_type_and_sha256(server: S3Server) -> None:
    assert keep(S3Store(PLACE)) == f"s3://{BUCKET}/images/7-1.png"

    assert server.objects() == {"images/7-1.png": PNG}
    kept = server.client.head_object(Bucket=BUCKET, Key="images/7-1.png")
    assert kept["ContentType"] == "image/png"
    assert kept["Metadata"] == {"sha256": hashlib.sha256(PNG).hexdigest()}


def test_a_copy_that_is_there_is_not_written_again(server: S3Server) -> None:
    first = keep(S3Store(PLACE))

    assert keep(S3Store(PLACE)) == first
    assert server.writes() == 1


def test_another_image_of_the_same_name_replaces_none(server: S3Server) -> None:
    keep(S3Store(PLACE))
    other = PNG + b"other"
    path = keep(S3Store(PLACE), other)

    assert keep(S3Store(PLACE), other) == path
    assert path.startswith(f"s3://{BUCKET}/images/7-1-")
    assert sorted(server.objects().values()) == sorted([PNG, other])


def test_a_large_image_is_sent_without_growing_the_memory(server: S3Server) -> None:
    store, image = S3Store(PLACE), bytearray(PNG + bytes(20_000_000))
    keep(store)
    with store.new_file() as file:
        file.write(image)
        about = written(bytes(image))
        del image
        tracemalloc.start()
        store.keep(file, "8-2.png", about)
        _, most = tracemalloc.get_traced_memory()
        tracemalloc.stop()

    assert most < 5_000_000


def test_an_object_that_is_not_what_was_sent_is_no_copy(
    server: S3Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = S3Store(PLACE)
    client: Any = store._client()
    monkeypatch.setattr(client, "put_object", lambda **_: {"ChecksumSHA256": "another"})

    with pytest.raises(CopyError, match="differs from the image that was sent"):
        keep(store)


def test_a_bucket_that_is_not_there_is_named(server: S3Server) -> None:
    with pytest.raises(CopyError, match="NoSuchBucket"):
        keep(S3Store(S3Location("nothing-here", "")))


def test_no_client_is_made_before_it_is_used(server: S3Server) -> None:
    store = S3Store(PLACE)  # a fork after this shares no connection
    store.check()
    assert store._made is None

    keep(store)
    assert store._made is not None


@pytest.mark.parametrize(
    ("bucket", "endpoint", "level"),
    [
        (BUCKET, None, Level.OK),
        ("nothing-here", None, Level.WRONG),
        (BUCKET, "http://127.0.0.1:1", Level.WRONG),
    ],
)
def test_the_doctor_asks_for_the_bucket(
    server: S3Server,
    bucket: str,
    endpoint: str | None,
    level: Level,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    if endpoint:
        monkeypatch.setenv("AWS_ENDPOINT_URL", endpoint)
    (found,) = host.check_images_folder(settings(keep_images=S3Location(bucket, "")))

    assert found.level is level
    assert bucket in found.message


@pytest.mark.parametrize("endpoint", ["http://127.0.0.1:1", "no url"])
def test_a_dead_endpoint_gives_no_copy(
    server: S3Server, endpoint: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", endpoint)

    with pytest.raises(CopyError, match="endpoint"):
        keep(S3Store(PLACE))


@pytest.mark.parametrize("status", [200, 301, 400, 500])
def test_a_page_in_place_of_s3_gives_no_copy(
    server: S3Server, status: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    with a_page(status) as url:
        monkeypatch.setenv("AWS_ENDPOINT_URL", url)

        with pytest.raises(CopyError):
            keep(S3Store(PLACE))


def test_no_credentials_are_told_in_a_line(
    server: S3Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "/dev/null")
    monkeypatch.setenv("AWS_CONFIG_FILE", "/dev/null")

    with pytest.raises(CopyError, match="NoCredentialsError: Unable to locate credentials"):
        keep(S3Store(PLACE))


def test_a_bucket_that_keeps_silent_is_given_up_and_then_left_alone_for_a_while(
    server: S3Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(s3_store, "READ_SECONDS", 0.2)
    with Proxy(server.port) as proxy:
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{proxy.port}")
        store = S3Store(PLACE)
        proxy.freeze()
        for _ in range(s3_store.FAILURES_IN_A_ROW):
            store.check()
            with pytest.raises(CopyError, match="Read timeout"):
                keep(store)
        with pytest.raises(CopyError, match="has failed several times in a row: ReadTimeoutError"):
            store.check()

        proxy.thaw()
        monkeypatch.setattr(store, "_away_until", 0.0)
        store.check()
        keep(store)
        store.check()
    assert list(server.objects()) == ["images/7-1.png"]
