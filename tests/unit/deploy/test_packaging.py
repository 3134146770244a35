"""What is installed: every package, and every file in it that is not Python."""

import tomllib
from pathlib import Path

TOP = Path(__file__).parents[3]
PROJECT = tomllib.loads((TOP / "pyproject.toml").read_text(encoding="utf-8"))
SETUPTOOLS = PROJECT["tool"]["setuptools"]
# Read in the checkout, or made there.
NOT_INSTALLED = {".md", ".pyc"}


def folders() -> dict[str, Path]:
    """The packages by name, each with its folder."""
    found = {
        ".".join(door.parent.relative_to(TOP).parts): door.parent
        for door in (TOP / "imagegen").rglob("__init__.py")
    }
    return found | {"imagegen.db": TOP / "db", "imagegen.db.versions": TOP / "db" / "versions"}


def test_every_package_is_installed() -> None:
    assert sorted(SETUPTOOLS["packages"]) == sorted(folders())


def test_every_file_that_is_read_is_installed() -> None:
    patterns = SETUPTOOLS["package-data"]
    there, installed = set(), set()
    for package, folder in folders().items():
        files = [path for path in folder.rglob("*") if path.is_file() and path.suffix != ".py"]
        there |= {path for path in files if path.suffix not in NOT_INSTALLED}
        installed |= {path for each in patterns.get(package, ()) for path in folder.glob(each)}

    assert there
    assert sorted(there - installed) == []
