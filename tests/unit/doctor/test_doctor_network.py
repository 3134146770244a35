"""What doctor says of the way to Replicate: names, certificates, proxies."""

import contextlib
import socket
import ssl
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import trustme

from imagegen.doctor import Level
from imagegen.doctor.model import check_model
from imagegen.doctor.replicate import check_replicate
from tests.support.connect_proxy import ConnectProxy
from tests.unit.doctor.test_doctor import settings


@pytest.mark.parametrize("name", ["a" * 70, "replicate.invalid"])
def test_a_host_that_there_is_not_is_reported_with_the_fix(name: str) -> None:
    given = settings(REPLICATE_BASE_URL=f"https://{name}")
    (way, _), (model,) = check_replicate(given), check_model(given)

    assert way.message.startswith(f"no address is known of {name}: ")
    assert way.fix is not None
    assert way.fix.startswith("put the right host into REPLICATE_BASE_URL")
    assert model.level is Level.WARNING


@contextlib.contextmanager
def speaking_tls(authority: trustme.CA, name: str) -> Iterator[int]:
    """The port of a server whose certificate is for this name."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(name).configure_cert(context)
    listening = socket.create_server(("127.0.0.1", 0))

    def greet() -> None:
        connection, _ = listening.accept()
        with connection, contextlib.suppress(OSError):
            context.wrap_socket(connection, server_side=True)

    thread = threading.Thread(target=greet)
    thread.start()
    with listening:
        yield listening.getsockname()[1]
    thread.join()


@pytest.mark.parametrize(
    ("trusted", "name", "fix"),
    [
        (False, "127.0.0.1", "name the CA of your proxy in SSL_CERT_FILE, or set this host's"),
        (True, "127.0.0.2", "put the host that its certificate is for into REPLICATE_BASE_URL"),
    ],
)
def test_a_certificate_that_does_not_fit_is_reported_with_the_fix(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, trusted: bool, name: str, fix: str
) -> None:
    authority = trustme.CA()
    known = authority if trusted else trustme.CA()
    known.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "ca.pem"))

    with speaking_tls(authority, name) as port:
        way, *_ = check_replicate(settings(REPLICATE_BASE_URL=f"https://127.0.0.1:{port}"))

    assert "certificate verify failed" in way.message
    assert way.fix is not None
    assert way.fix.startswith(fix)


def test_a_proxy_is_asked_and_a_settle_time_that_is_too_short_for_it_is_reported(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("no_proxy", "")
    with ConnectProxy(1, b"HTTP/1.1 407 Who are you\r\n\r\n") as proxy:
        monkeypatch.setenv("HTTPS_PROXY", proxy.url)
        way, credentials = check_replicate(settings())
        longer, _ = check_replicate(settings(IMAGEGEN_SETTLE_SECONDS="5m"))

    assert (way.level, longer.level) == (Level.WARNING, Level.OK)
    assert way.fix is not None
    assert way.fix.startswith("set IMAGEGEN_SETTLE_SECONDS=300, and in the proxy")
    assert credentials.message == "no answer: ProxyError: 407 Who are you"
