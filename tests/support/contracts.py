"""What users and their tools rely on, as text, and the committed files that hold it.

    python -m tests.support.contracts --write

rewrites the files. Do that only where a change is meant, and commit them with it.
"""

import ast
import difflib
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from unittest.mock import patch

import click
from click.testing import CliRunner

from imagegen.cli import cli
from imagegen.database import Tables
from tests.support import sql_statements
from tests.support.json_outputs import ENOUGH, json_outputs, keys

REPOSITORY = Path(__file__).parents[2]
PACKAGE = REPOSITORY / "imagegen"
FOLDER = REPOSITORY / "tests" / "unit" / "data" / "contracts"
REWRITE = "python -m tests.support.contracts --write"

EVENT = re.compile(r"[a-z_]+(\.[a-z_]+){1,3}")
LOGGERS = {"log", "_log", "logger", "_logger"}
WIDTH = 80


def help_texts() -> str:
    """Return the help of every command, the root first."""
    texts = []
    with patch.dict(os.environ, clear=True):
        for path in _commands(cli, ()):
            arguments = [*path, "--help"]
            shown = CliRunner().invoke(cli, arguments, prog_name="imagegen", terminal_width=WIDTH)
            texts.append(f"$ imagegen {' '.join(arguments)}\n{shown.stdout}")
    return "\n".join(texts)


def _commands(command: click.Command, path: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
    yield path
    if isinstance(command, click.Group):
        context = click.Context(command)
        for name in command.list_commands(context):
            _, found, _ = command.resolve_command(context, [name])
            assert found is not None
            yield from _commands(found, (*path, name))


def config() -> str:
    """Return every setting as `imagegen config --json` shows it where only two are set."""
    with patch.dict(os.environ, ENOUGH, clear=True):
        return CliRunner().invoke(cli, ["config", "--json"], prog_name="imagegen").stdout


def metrics() -> str:
    """Return the metrics by name, type and labels, and the series that are there from the start."""
    with tempfile.TemporaryDirectory() as folder:
        return subprocess.run(
            [sys.executable, "-m", "tests.support.metric_definitions"],
            cwd=REPOSITORY,
            env={"TMPDIR": folder},
            check=True,
            capture_output=True,
            text=True,
        ).stdout


def events() -> str:
    """Return the names of all log events, wherever in the package they are logged."""
    trees = [ast.parse(file.read_text(encoding="utf-8")) for file in PACKAGE.rglob("*.py")]
    return _lines({event for tree in trees for event in events_in(tree)})


def events_in(tree: ast.AST) -> Iterator[str]:
    """Yield the event names in arguments of log calls and in values that are named `event`."""
    for node in ast.walk(tree):
        for value in _logged(node):
            for part in ast.walk(value):
                match part:
                    case ast.Constant(value=str() as text) if EVENT.fullmatch(text):
                        yield text


def _logged(node: ast.AST) -> list[ast.expr]:
    """Return the expressions of a node that may be the name of an event."""
    match node:
        case ast.Call(func=ast.Attribute(value=ast.Name(id=name) | ast.Attribute(attr=name))):
            # log.log has the level first.
            return node.args[:2] if name in LOGGERS else []
        case ast.Assign(targets=targets, value=value):
            names = [each for target in targets for each in ast.walk(target)]
            is_event = any(isinstance(each, ast.Name) and each.id == "event" for each in names)
            return [value] if is_event else []
        case ast.AnnAssign(target=ast.Name(id="event"), value=ast.expr() as value):
            return [value]
        case ast.keyword(arg="event", value=value):
            return [value]
    return []


def json_keys() -> str:
    """Return the path of each value that the commands print with `--json`."""
    with patch.dict(os.environ, clear=True):
        outputs = json_outputs()
    return _lines({f"{name}: {key}" for name, output in outputs.items() for key in keys(output)})


def statements(tables: Tables) -> str:
    """Return each SQL statement under its name, for these tables."""
    found = sql_statements.statements(tables)
    return "\n".join(
        f"-- {name}\n{sql_statements.normalised(found[name])}\n" for name in sorted(found)
    )


def _lines(found: set[str]) -> str:
    return "".join(f"{line}\n" for line in sorted(found))


CONTRACTS: dict[str, Callable[[], str]] = {
    "help.txt": help_texts,
    "config.json": config,
    "metrics.txt": metrics,
    "events.txt": events,
    "json-keys.txt": json_keys,
    **{
        f"statements-{kind}.txt": partial(statements, tables)
        for kind, tables in sql_statements.KINDS_OF_TABLES.items()
    },
}


def difference(name: str) -> str:
    """Return how the present text differs from the committed one; empty where it does not."""
    file = FOLDER / name
    committed = file.read_text(encoding="utf-8") if file.exists() else ""
    lines = difflib.unified_diff(
        committed.splitlines(), CONTRACTS[name]().splitlines(), "committed", "now", lineterm=""
    )
    return "\n".join(lines)


def write() -> None:
    FOLDER.mkdir(parents=True, exist_ok=True)
    for name, text in CONTRACTS.items():
        (FOLDER / name).write_text(text(), encoding="utf-8")


if __name__ == "__main__":
    if sys.argv[1:] != ["--write"]:
        raise SystemExit(f"usage: {REWRITE}")
    write()
