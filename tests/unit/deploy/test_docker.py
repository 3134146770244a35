"""deploy/docker/: what the image is made of, and what compose lets in, starts first and shows."""

import fnmatch
import re
from typing import Any

import pytest

from tests.support.deploy_files import (
    DEPLOY,
    DOCKERFILE,
    LONGEST_STOP_SECONDS,
    TOP,
    documents,
    seconds,
)


def test_what_the_dockerfile_copies_is_there_and_not_ignored() -> None:
    ignored = (TOP / ".dockerignore").read_text(encoding="utf-8").splitlines()
    kept = [line.removeprefix("!") for line in ignored if line.startswith("!")]
    copied = [
        path
        for sources in re.findall(r"^COPY (?!--from)(.+) \S+$", DOCKERFILE, re.MULTILINE)
        for path in sources.split()
    ]

    assert "*" in ignored
    assert copied
    for path in copied:
        assert (TOP / path).exists()
        assert any(fnmatch.fnmatch(path, pattern) for pattern in kept)


def test_the_base_of_the_image_changes_only_when_somebody_names_another() -> None:
    assert re.search(r"^ARG BASE=python:3\.\d+\.\d+-slim-[a-z]+$", DOCKERFILE, re.MULTILINE)


@pytest.fixture(scope="module")
def compose() -> dict[str, Any]:
    return documents(DEPLOY / "docker" / "compose.yaml")[0]


def test_compose_lets_nobody_in_from_outside(compose: dict[str, Any]) -> None:
    ports = [port for service in compose["services"].values() for port in service.get("ports", [])]

    assert ports
    assert all(port.startswith("127.0.0.1:") for port in ports)


def test_compose_migrates_before_imagegen_starts_and_lets_it_stop_gently(
    compose: dict[str, Any],
) -> None:
    imagegen = compose["services"]["imagegen"]

    assert imagegen["depends_on"] == {"migrate": {"condition": "service_completed_successfully"}}
    assert compose["services"]["migrate"]["command"] == ["db", "upgrade"]
    assert seconds(imagegen["stop_grace_period"]) > LONGEST_STOP_SECONDS


def test_compose_shows_imagegen_no_password_but_that_in_its_database_url(
    compose: dict[str, Any],
) -> None:
    services = compose["services"]
    told = {name: service.get("environment", {}) for name, service in services.items()}

    assert services["imagegen"]["env_file"] == "imagegen.env"
    assert {name for name, service in services.items() if "env_file" in service} == {"imagegen"}
    for name in ("imagegen", "migrate"):
        assert [key for key, value in told[name].items() if "PASSWORD" in value] == ["DATABASE_URL"]
