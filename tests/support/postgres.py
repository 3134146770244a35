"""The PostgreSQL server of a test run: a container where Docker answers, else the embedded one."""

import contextlib
import gc
import os
import subprocess
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import quote, urlsplit

import psycopg
import pytest
from psycopg import sql

from imagegen.demo.postgres import EmbeddedPostgres
from imagegen.demo.postgres_programs import (
    VERSION_FOLDER,
    EmbeddedPostgresError,
    find_package,
)

if TYPE_CHECKING:
    from testcontainers.community.postgres import PostgresContainer

VARIABLE = "IMAGEGEN_TEST_POSTGRES"
TESTCONTAINERS = "testcontainers"
EMBEDDED = "embedded"
IMAGE = "postgres:17-alpine"
PASSWORD = "container-password"  # a word of its own, for the tests that look whether it is shown
DOCKER_ANSWER_SECONDS = 10  # an engine that takes longer to say its version will not help here


@dataclass(frozen=True)
class PostgresServer:
    """A server, by the url of its first database."""

    url: str

    def create_database(self, name: str) -> str:
        """Make an empty database and return its url."""
        with psycopg.connect(self.url, autocommit=True) as connection:
            connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
        return urlsplit(self.url)._replace(path=f"/{quote(name)}").geturl()

    def drop_database(self, name: str) -> None:
        """Drop a database, also under open connections."""
        statement = sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name))
        with psycopg.connect(self.url, autocommit=True) as connection:
            connection.execute(statement)


@dataclass(frozen=True)
class PostgresChoice:
    """Which sort of server this run uses, decided once, and why not the other."""

    kind: str
    detail: str

    def __str__(self) -> str:
        return f"postgres: {self.kind} ({self.detail})"


@dataclass(frozen=True)
class DockerAnswer:
    """The engine's version, or why there is none."""

    version: str = ""
    error: str = ""


def choose() -> PostgresChoice:
    """Take what the environment variable forces, or a container if Docker answers."""
    forced = os.environ.get(VARIABLE, "")
    if forced not in {"", TESTCONTAINERS, EMBEDDED}:
        raise pytest.UsageError(
            f"{VARIABLE} must be {TESTCONTAINERS} or {EMBEDDED}, not {forced!r}"
        )
    if forced == EMBEDDED:
        return PostgresChoice(EMBEDDED, embedded_version())
    docker = ask_docker()
    if docker.version:
        return PostgresChoice(TESTCONTAINERS, f"{IMAGE}, Docker {docker.version}")
    if forced == TESTCONTAINERS:
        raise pytest.UsageError(f"{VARIABLE}={forced}, but Docker does not answer: {docker.error}")
    return PostgresChoice(EMBEDDED, f"{embedded_version()}; Docker does not answer")


def ask_docker() -> DockerAnswer:
    """Ask the engine that testcontainers would use.

    testcontainers connects as soon as it is imported, and the SDK leaves sockets of connections
    that failed to the garbage collector, where they would be the next test's ResourceWarning.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        from docker.errors import DockerException  # type: ignore[import-untyped]  # noqa: PLC0415
        from testcontainers.core.docker_client import DockerClient  # noqa: PLC0415

        try:
            with contextlib.closing(DockerClient(timeout=DOCKER_ANSWER_SECONDS).client) as client:
                answer = DockerAnswer(version=str(client.version()["Version"]))
        except DockerException as error:
            answer = DockerAnswer(error=str(error))
        gc.collect()
    return answer


def embedded_version() -> str:
    """What the binaries say; a missing package is told when a test wants the server."""
    try:
        postgres = find_package() / VERSION_FOLDER / "bin" / "postgres"
    except EmbeddedPostgresError as error:
        return str(error)
    answer = subprocess.run([postgres, "--version"], capture_output=True, text=True, check=True)
    return answer.stdout.strip()


@contextlib.contextmanager
def running(choice: PostgresChoice) -> Iterator[PostgresServer]:
    """Start the chosen server and stop it at the end."""
    if choice.kind == EMBEDDED:
        with EmbeddedPostgres(durable=False) as server:
            yield PostgresServer(server.url)
        return
    container = _container_class()(
        IMAGE, username="imagegen", password=PASSWORD, dbname="imagegen", driver=None
    )
    with container:
        yield PostgresServer(container.get_connection_url())


def _container_class() -> "type[PostgresContainer]":
    try:
        from testcontainers.community.postgres import PostgresContainer  # noqa: PLC0415
    except ModuleNotFoundError:  # before 4.15; the older name is deprecated where both exist
        from testcontainers.postgres import PostgresContainer  # noqa: PLC0415
    return PostgresContainer
