"""Fixtures of integration tests and drills: a migrated database, the sandbox, a way to both."""

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.processes import Site
from tests.support.sandbox import Sandbox


@pytest.fixture
def sandbox() -> Iterator[Sandbox]:
    with Sandbox(latency_seconds=0.2) as sandbox:
        yield sandbox


@pytest.fixture
def empty_site(database_url: str, sandbox: Sandbox, tmp_path: Path) -> Site:
    """A database without any table of ours."""
    return Site(database_url, sandbox.url, tmp_path)


@pytest.fixture
def site(empty_site: Site) -> Site:
    empty_site.upgrade()
    return empty_site


@pytest.fixture
def folder_for_all() -> Iterator[Path]:
    """A folder that everybody can reach; pytest's tmp_path is for its owner only."""
    folder = Path(tempfile.mkdtemp(prefix="imagegen-test-"))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)
