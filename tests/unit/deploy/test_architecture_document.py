"""The documents for programmers name files that exist, and arrows that are allowed."""

import re
from pathlib import Path

import pytest

from tests.support.imports import arrows, floors, imports, rooms
from tests.unit.test_architecture import ALLOWED, GROUND

TOP = Path(__file__).parents[3]
ARCHITECTURE = (TOP / "imagegen" / "ARCHITECTURE.md").read_text(encoding="utf-8")
TESTS = (TOP / "tests" / "README.md").read_text(encoding="utf-8")
DOCUMENTS = ["imagegen/ARCHITECTURE.md", "tests/README.md", "db/README.md"]
PATH = re.compile(r"`((?:imagegen|tests|db|deploy)/[^`\s*<…]*)`")
# At the end of a line of the drawing, below imagegen/.
DRAWN = re.compile(r" ([a-z_/]+\.(?:py|sql))$", re.MULTILINE)
# db/README.md takes it for its example.
NOT_YET = "db/versions/0014_what_it_holds.py"


@pytest.mark.parametrize("document", DOCUMENTS)
def test_each_file_that_a_document_names_is_there(document: str) -> None:
    named = set(PATH.findall((TOP / document).read_text(encoding="utf-8"))) - {NOT_YET}

    assert len(named) > 3
    assert sorted(path for path in named if not (TOP / path).exists()) == []


def test_each_file_of_the_drawing_is_there() -> None:
    drawn = set(DRAWN.findall(ARCHITECTURE))

    assert len(drawn) > 5
    assert sorted(path for path in drawn if not (TOP / "imagegen" / path).exists()) == []


def test_the_packages_and_what_they_import_are_those_that_a_test_holds() -> None:
    rows = re.findall(
        r"^\| `imagegen/(\w+)(?:/|\.py)` \|.*\| ([^|]+) \|$", ARCHITECTURE, re.MULTILINE
    )
    shown = {name: set(re.findall(r"`(\w+)`", imports)) for name, imports in rows}
    described = ALLOWED.keys() - GROUND - {"__main__"}

    assert shown == {room: ALLOWED[room] - GROUND for room in described}
    count = (
        f"{len(rooms())} modules and packages at the top, on {floors(arrows(imports()))} floors."
    )
    assert count in ARCHITECTURE


def test_the_ground_is_named_in_full() -> None:
    (ground,) = re.findall(r"^The ground is (.*?)\. ", ARCHITECTURE, re.MULTILINE)

    assert set(re.findall(r"`(\w+)`", ground)) == GROUND


def test_there_are_at_least_twenty_questions_and_ten_laws() -> None:
    questions = ARCHITECTURE.partition("## Where is")[2]

    assert len(re.findall(r"^\| (?!---|question)", questions, re.MULTILINE)) >= 20
    assert re.findall(r"^(\d+)\. \*\*", ARCHITECTURE, re.MULTILINE) == [
        str(n) for n in range(1, 11)
    ]


def test_every_helper_of_the_tests_is_named_once() -> None:
    support = TESTS.partition("## The helpers")[2].partition("\n## ")[0]
    named = re.findall(r"^\| `(\w+\.py)` \|", support, re.MULTILINE)
    there = {path.name for path in (TOP / "tests" / "support").glob("*.py")} - {"__init__.py"}

    assert sorted(named) == sorted(there)
