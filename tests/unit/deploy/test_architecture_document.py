"""The documents for programmers name files that exist, and arrows that are allowed."""

import ast
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
# A function or method and its module below imagegen/: `worker.slots.start`.
FUNCTION = re.compile(r"`([a-z_]+(?:\.[a-z_]+)+)`")
# db/README.md takes it for its example.
NOT_YET = "db/versions/0014_what_it_holds.py"


@pytest.mark.parametrize("document", DOCUMENTS)
def test_each_file_that_a_document_names_is_there(document: str) -> None:
    named = set(PATH.findall((TOP / document).read_text(encoding="utf-8"))) - {NOT_YET}

    assert len(named) > 3
    assert sorted(path for path in named if not (TOP / path).exists()) == []


def test_each_name_in_a_file_is_in_it() -> None:
    named = re.findall(r"`(\w+)` in `(imagegen/[^`]+)`", ARCHITECTURE)
    in_brackets = re.findall(r"`(imagegen/\S+)` \(`(\w+)`\)", ARCHITECTURE)
    named += [(name, path) for path, name in in_brackets]

    assert len(named) > 10
    missing = [
        (name, path)
        for name, path in named
        if not re.search(rf"\b{name}\b", (TOP / path).read_text(encoding="utf-8"))
    ]
    assert missing == []


def functions(module: Path) -> list[str]:
    """Return the names of the functions and methods of a module."""
    tree = ast.parse(module.read_text(encoding="utf-8"))
    return [node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)]


@pytest.mark.parametrize("life", ["a token", "a worker", "a killed supervisor"])
def test_each_step_of_a_life_names_the_one_function_that_does_it(life: str) -> None:
    section = ARCHITECTURE.partition(f"\n## The life of {life}")[2].partition("\n## ")[0]
    steps = re.findall(r"^ *(?:\d+\.|-) (.+)$", section, re.MULTILINE)
    named = FUNCTION.findall(section)

    assert len(steps) >= 10
    assert [step for step in steps if not FUNCTION.search(step)] == []
    for name in named:
        module, _, function = name.rpartition(".")
        path = TOP / "imagegen" / f"{module.replace('.', '/')}.py"
        assert functions(path).count(function) == 1, name


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
