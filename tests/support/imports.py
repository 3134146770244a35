"""Who imports whom: the rooms of the package, the arrows between them, and their floors.

A room is a module or a package at the top of `imagegen/`: `imagegen.cli.tokens` is of `cli`. An
arrow is an import of one room by another, wherever in the file it stands.

    python -m tests.support.imports

prints the rooms of this tree with the rooms that each imports.
"""

import ast
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

ROOT = "imagegen"
PACKAGE = Path(__file__).parents[2] / ROOT

Graph = Mapping[str, set[str]]


@dataclass(frozen=True)
class Import:
    """An import of a part of the package by another one, or by itself."""

    file: Path
    line: int
    text: str
    room: str  # which imports
    parts: tuple[str, ...]  # of the module's name, as it is written, without the root

    @property
    def imported(self) -> str:
        """The room that is imported."""
        return self.parts[0] if self.parts else ROOT

    def __str__(self) -> str:
        return f"{self.file}:{self.line}: {self.text}"


def imports(package: Path = PACKAGE) -> list[Import]:
    """Return all imports of the package within itself, those of a room by itself included."""
    return [each for file in sorted(package.rglob("*.py")) for each in _imports_of(package, file)]


def rooms(package: Path = PACKAGE) -> set[str]:
    """Return the modules and packages at the top of the package."""
    modules = {file.stem for file in package.glob("*.py")} - {"__init__"}
    return modules | {folder.parent.name for folder in package.glob("*/__init__.py")}


def arrows(found: Iterable[Import]) -> dict[str, set[str]]:
    """Return the rooms that each room imports, for rooms that import any."""
    graph: dict[str, set[str]] = {}
    for each in found:
        if each.imported != each.room:
            graph.setdefault(each.room, set()).add(each.imported)
    return graph


def forbidden(found: Iterable[Import], allowed: Graph) -> list[str]:
    """Return a line for each import that is not allowed to its room."""
    return [
        f"{each} ({each.room} may import {', '.join(sorted(allowed.get(each.room, ()))) or 'none'})"
        for each in found
        if each.imported != each.room and each.imported not in allowed.get(each.room, set())
    ]


def past_the_door(found: Iterable[Import], packages: Iterable[str]) -> list[str]:
    """Return a line for each import of a module inside one of these packages from outside.

    The door of a package is its name: `from imagegen.queue import Queue` and `from
    imagegen.replicate import outcomes` go through it; `from imagegen.queue.queue import Queue` and
    `import imagegen.queue.queue` do not.
    """
    with_a_door = set(packages)
    return [
        f"{each} (import it from {ROOT}.{each.imported})"
        for each in found
        if each.imported in with_a_door and each.imported != each.room and len(each.parts) > 1
    ]


def circle(graph: Graph) -> list[str]:
    """Return rooms that import one another in a circle, the first one twice; empty without one."""
    done: set[str] = set()

    def search(room: str, way: list[str]) -> list[str]:
        if room in way:
            return [*way[way.index(room) :], room]
        if room in done:
            return []
        for following in sorted(graph.get(room, ())):
            if found := search(following, [*way, room]):
                return found
        done.add(room)
        return []

    return next((found for room in sorted(graph) if (found := search(room, []))), [])


def floors(graph: Graph) -> int:
    """Return the number of rooms on the longest path. There must be no circle."""
    heights: dict[str, int] = {}

    def height(room: str) -> int:
        if room not in heights:
            heights[room] = 1 + max(map(height, graph.get(room, ())), default=0)
        return heights[room]

    return max(map(height, graph), default=0)


def _imports_of(package: Path, file: Path) -> Iterator[Import]:
    place = file.relative_to(package).with_suffix("").parts
    room = place[0] if place != ("__init__",) else ROOT
    shown = file.relative_to(package.parent)
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        for parts in _imported(node, package, place):
            yield Import(shown, node.lineno, ast.unparse(node), room, parts)  # type: ignore[attr-defined]


def _imported(node: ast.AST, package: Path, place: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
    """Yield the parts of each module of the package that a statement names."""
    match node:
        case ast.Import(names=names):
            for alias in names:
                root, *parts = alias.name.split(".")
                if root == ROOT:
                    yield tuple(parts)
        case ast.ImportFrom(module=module, names=names, level=level):
            parts = module.split(".") if module else []
            if level:  # relative to the package of this file
                parts = [ROOT, *place[: len(place) - level], *parts]
            if parts[0] != ROOT:
                return
            if parts[1:]:
                yield tuple(parts[1:])
                return
            for alias in names:  # from imagegen import what may be a room
                yield (alias.name,) if alias.name in rooms(package) else ()


def main() -> None:
    graph = arrows(imports())
    for room in sorted(rooms()):
        print(f"{room}: {', '.join(sorted(graph.get(room, ())))}")
    print(f"\n{len(rooms())} rooms, {sum(map(len, graph.values()))} arrows", end="")
    print(f", a circle: {circle(graph)}" if circle(graph) else f", {floors(graph)} floors")


if __name__ == "__main__":
    main()
