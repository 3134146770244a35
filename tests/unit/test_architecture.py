"""Which room of the package may import which: no arrow back, no circle, through the doors."""

from pathlib import Path

import pytest

from tests.support.imports import arrows, circle, floors, forbidden, imports, past_the_door, rooms

# Every room may import the ground; what is below all others, only leaves of it.
GROUND = {
    "backoff", "errors", "failures", "image_formats", "logs", "owned_folders", "redaction", "text",
}  # fmt: skip
LEAVES = GROUND - {"logs"}
ALLOWED: dict[str, set[str]] = {
    "__main__": {"cli"},
    # `replicate` for its TLS, in which a mistake is found before a demo starts, and for the audit.
    "cli": {
        "app",
        "audit",
        "config",
        "database",
        "demo",
        "doctor",
        "metrics",
        "operator",
        "replicate",
        "startup",
    }
    | GROUND,
    "app": {
        "config",
        "database",
        "metrics",
        "replicate",
        "startup",
        "supervisor",
        "web",
        "worker",
    }
    | GROUND,
    "startup": {"config", "database"} | GROUND,
    "demo": {"config", "database", "sandbox", "supervisor", "web"} | GROUND,
    "doctor": {"config", "database", "metrics", "operator", "queue", "replicate", "web"} | GROUND,
    "worker": {"config", "database", "metrics", "queue", "replicate"} | GROUND,
    # `operator` for what is known of a token, and for what can be done with it.
    "web": {"config", "database", "metrics", "operator"} | GROUND,
    "operator": {"config", "database", "metrics"} | GROUND,
    "audit": {"database", "replicate"} | GROUND,
    "supervisor": {"backoff", "errors", "logs", "metrics"},  # never settings, database, Replicate
    "queue": {"database"} | GROUND,
    "replicate": {"metrics"} | GROUND,
    "sandbox": GROUND,
    "config": {"errors", "failures", "redaction", "text"},
    "database": LEAVES,
    "metrics": LEAVES,
    "logs": {"redaction", "text"},
}
MOST_ROOMS, MOST_FLOORS = 25, 7
# Packages whose modules nobody outside may name. The modules of `metrics` and `operator` are doors
# themselves: metrics are made by an import, and each command has a module of its own.
ROOMS_WITH_A_DOOR = {
    "audit", "cli", "config", "database", "demo", "doctor", "queue", "replicate", "sandbox",
    "supervisor", "web", "worker",
}  # fmt: skip


def test_every_import_is_allowed_to_its_room() -> None:
    found = forbidden(imports(), ALLOWED)

    assert not found, "\n".join(found)


def test_no_rooms_import_one_another_in_a_circle() -> None:
    assert circle(arrows(imports())) == []


def test_there_are_few_rooms_and_floors() -> None:
    assert len(rooms()) <= MOST_ROOMS
    assert floors(arrows(imports())) <= MOST_FLOORS


def test_packages_are_imported_through_their_doors() -> None:
    found = past_the_door(imports(), ROOMS_WITH_A_DOOR)

    assert not found, "\n".join(found)


def test_what_is_allowed_has_no_circle_and_few_floors() -> None:
    assert circle(ALLOWED) == []
    assert floors(ALLOWED) <= MOST_FLOORS


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A package with the rooms `app` and `queue`, a package with two modules, and `logs`."""
    package = tmp_path / "imagegen"
    (package / "queue").mkdir(parents=True)
    (package / "__init__.py").touch()
    (package / "logs.py").touch()
    (package / "app.py").write_text("from imagegen import logs\nfrom imagegen.queue import Queue\n")
    (package / "queue" / "__init__.py").write_text("from imagegen.queue.queue import Queue\n")
    (package / "queue" / "queue.py").write_text("import imagegen.queue.sql\nimport json\n")
    return package


RIGHT = {"app": {"logs", "queue"}}


def test_rooms_are_modules_and_packages_at_the_top(tree: Path) -> None:
    assert rooms(tree) == {"app", "logs", "queue"}


def test_allowed_imports_pass(tree: Path) -> None:
    found = imports(tree)

    assert arrows(found) == RIGHT
    assert forbidden(found, RIGHT) == []
    assert circle(arrows(found)) == []
    assert floors(arrows(found)) == 2


@pytest.mark.parametrize(
    "statement",
    [
        "import imagegen.app",
        "from imagegen import app",
        "from imagegen.app import main",
        "from ..app import main",
        "def claim():\n    from imagegen.app import main",
        "if TYPE_CHECKING:\n    from imagegen.app import main",
    ],
)
def test_a_wrong_import_is_found_however_it_is_written(tree: Path, statement: str) -> None:
    (tree / "queue" / "sql.py").write_text(f"{statement}\n")
    found = imports(tree)

    [line] = forbidden(found, RIGHT)
    assert line.startswith("imagegen/queue/sql.py:")
    assert line.endswith("(queue may import none)")
    assert circle(arrows(found)) == ["app", "queue", "app"]


def test_the_message_names_what_a_room_may_import(tree: Path) -> None:
    (tree / "app.py").write_text("\nimport imagegen.database")

    assert forbidden(imports(tree), RIGHT) == [
        "imagegen/app.py:2: import imagegen.database (app may import logs, queue)"
    ]


def test_a_name_of_the_package_itself_is_an_import_of_its_root(tree: Path) -> None:
    (tree / "app.py").write_text("from imagegen import VERSION")

    assert arrows(imports(tree)) == {"app": {"imagegen"}}


@pytest.mark.parametrize(
    "statement",
    [
        "from imagegen.queue import Queue",
        "from imagegen.queue import sql",
        "from imagegen import queue",
        "import imagegen.queue",
    ],
)
def test_a_package_and_one_thing_in_it_is_an_import_through_the_door(
    tree: Path, statement: str
) -> None:
    (tree / "app.py").write_text(statement)

    assert past_the_door(imports(tree), ["queue"]) == []


@pytest.mark.parametrize(
    "statement", ["from imagegen.queue.queue import Queue", "import imagegen.queue.queue"]
)
def test_a_module_inside_a_package_is_an_import_past_the_door(tree: Path, statement: str) -> None:
    (tree / "app.py").write_text(statement)

    assert past_the_door(imports(tree), ["queue"]) == [
        f"imagegen/app.py:1: {statement} (import it from imagegen.queue)"
    ]
    assert past_the_door(imports(tree), []) == []


def test_floors_are_the_rooms_on_the_longest_path() -> None:
    assert floors({"a": {"b", "d"}, "b": {"c"}, "c": {"d"}}) == 4
