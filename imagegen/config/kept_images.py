"""The place where copies of the images are kept, and the URLs of copies."""

import ipaddress
import re
from contextlib import suppress
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

from imagegen.config.parsers import LOOPBACK, PLAIN_URL, WrongValueError, folder, quoted

# Ends of names that only a private network resolves, such as Kubernetes' svc.cluster.local.
PRIVATE_SUFFIXES = (".local", ".internal", ".lan", ".home.arpa")
S3 = "s3://"
S3_PLACE = re.compile(r"s3://([a-z0-9][a-z0-9.-]{1,61}[a-z0-9])(?:/([A-Za-z0-9!_.*'()/-]*))?")


@dataclass(frozen=True)
class S3Location:
    """A bucket, and the prefix of the copies' keys in it."""

    bucket: str
    prefix: str  # of the keys: empty, or it ends in a slash

    def key(self, name: str) -> str:
        return self.prefix + name

    def url(self, name: str) -> str:
        return f"{self}{name}"

    def __str__(self) -> str:
        return f"{S3}{self.bucket}/{self.prefix}"


def s3_client(connect_seconds: float, read_seconds: float) -> Any:
    """Return a client of S3 with these time limits and without retries of its own. The library
    finds credentials, region and endpoint by its own rules. It raises its own errors, or ValueError
    if the endpoint is no URL."""
    import boto3  # noqa: PLC0415 (it is large, and mostly not used)
    from botocore.config import Config  # noqa: PLC0415

    config = Config(
        connect_timeout=connect_seconds,
        read_timeout=read_seconds,
        retries={"total_max_attempts": 1},
    )
    return boto3.session.Session().client("s3", config=config)


def images_target(value: str) -> Path | S3Location:
    """Return a writable folder, or a place in S3, which needs boto3. Raises WrongValueError."""
    if not value.lower().startswith(S3):
        return folder(value)
    if not (found := S3_PLACE.fullmatch(value.strip())):
        raise WrongValueError(f"a folder, or s3://bucket/prefix, not {quoted(value)}")
    if find_spec("boto3") is None:
        raise WrongValueError("a folder, as boto3 for S3 is not installed: pip install '.[s3]'")
    prefix = (found[2] or "").strip("/")
    return S3Location(found[1], f"{prefix}/" if prefix else "")


def copy_url(path: str) -> str:
    """Return the URL of a copy by its recorded path, without a base: file: or s3:."""
    return path if path.startswith(S3) else Path(path).as_uri()


def url_below(base: str, path: str) -> str:
    """Return the URL of a copy below the base URL, by its recorded path."""
    return base + quote(Path(path).name)


def image_url_base(value: str) -> str:
    """Return a URL that ends in a slash. Raises WrongValueError, also for http outside a private
    network: anybody in between could replace the images."""
    url = value.strip()
    with suppress(ValueError):
        parts = urlsplit(url)
        parts.port  # noqa: B018 (raises ValueError if it is no port)
        host = parts.hostname or ""
        match parts.scheme:
            case "https":
                is_usable = bool(host)
            case "http":
                is_usable = _is_private(host)
            case "file":
                is_usable = not parts.netloc and parts.path.startswith("/")
            case _:
                is_usable = False
        if is_usable and PLAIN_URL.fullmatch(url):
            return url.rstrip("/") + "/"
    raise WrongValueError(
        "a URL such as https://images.example.com/ or file:///mnt/images/, without a user, query or"
        f" fragment; http only for a host of your own network (localhost, 10.0.0.7, imagegen,"
        f" images.internal), not {quoted(value)}"
    )


def _is_private(host: str) -> bool:
    """Return whether a host is this one, or in a private network, by its name or address."""
    with suppress(ValueError):
        return ipaddress.ip_address(host).is_private
    has_no_domain = "." not in host and bool(host)
    return host in LOOPBACK or has_no_domain or host.endswith(PRIVATE_SUFFIXES)
