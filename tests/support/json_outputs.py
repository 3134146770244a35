"""What the commands print with `--json`, without a database and without a supervisor."""

import json
from collections.abc import Iterator
from contextlib import ExitStack, nullcontext
from dataclasses import fields
from datetime import UTC, datetime
from typing import Any
from unittest.mock import patch

from click.testing import CliRunner

from imagegen import audit as auditing
from imagegen.cli import cli
from imagegen.database import STATUSES, Tables, acts
from imagegen.database.odd_tokens import KINDS
from imagegen.database.queue_stats import QueueStats
from imagegen.doctor import Finding, Level
from imagegen.metrics.workers import WorkerRow
from imagegen.operator import acts as operators_acts
from imagegen.operator import enqueue, holds, prune, spend, tokens
from imagegen.operator import retry as retries

ENOUGH = {
    "DATABASE_URL": "postgresql://user@localhost:5432/tokens",
    "REPLICATE_API_TOKEN": "r8_0123456789",
}
COMMANDS = [
    "status",
    "tokens list",
    "tokens show 42",
    "tokens retry 42",
    "audit",
    "audit --price 0.003",
    "spend",
    "spend --price 0.003",
    "prune --older 1y",
    "doctor",
    "enqueue A",
    "tokens hold 42",
    "tokens release 42",
    "limits --daily 5",
    "pause --reason why",
    "resume",
    "db current",
    "db check",
    "db upgrade",
    "db downgrade 0001",
]


def made(kind: type[Any], **given: object) -> Any:
    """Return a dataclass's object with 0 for each field that is not given."""
    return kind(**{item.name: 0 for item in fields(kind)} | given)


def stand_ins() -> dict[str, object]:
    """Return what takes the place of the functions that ask a database or a supervisor.

    By their dotted names: the one function to adapt when they move.
    """
    token, generation = made(tokens.Token), made(tokens.Generation)
    set_aside = dict.fromkeys(KINDS, 0)
    pause = acts.Pause("me", since="", until="")
    act = made(operators_acts.Act, at="", until="", details={"create_rate": 1})
    history = tokens.TokenHistory(token, [generation], False, [act])
    queue = made(
        QueueStats, tokens=dict.fromkeys(STATUSES, 0), tokens_set_aside=set_aside, pause=pause
    )
    worker = made(WorkerRow, closed_by=["throttled"], restarts={})
    noon = datetime(2026, 1, 1, 12, tzinfo=UTC)
    audit = auditing.Audit(noon, noon, "us")
    audit.strangers["web", "owner/name"] = 1
    audit.add(made(auditing.Finding, verdict=auditing.Verdict.LOST, made_at=noon))
    tables = Tables(dict.fromkeys(STATUSES, "''"), created_at_is_naive=False)
    answers: dict[str, object] = {
        "imagegen.database.connect": nullcontext(),
        "imagegen.database.check_revision": "0001",
        "imagegen.database.current_revision": "0001",
        "imagegen.database.read_tables": tables,
        "imagegen.database.preflight.problems": [],
        "imagegen.database.preflight.table_problems": [],
        "imagegen.database.migrations.upgrade": "0001",
        "imagegen.database.migrations.downgrade": "0001",
        "imagegen.operator.status.read_queue": queue,
        "imagegen.operator.status.read_workers": [worker],
        "imagegen.operator.acts.newest": [act],
        "imagegen.operator.acts.pause": None,
        "imagegen.operator.acts.set_limits": None,
        "imagegen.operator.acts.read_limits": (acts.Limits(), act),
        "imagegen.operator.acts.price_of_last": None,
        "imagegen.operator.acts.resume": None,
        "imagegen.operator.acts.read_pause": operators_acts.PauseState(pause, 0),
        "imagegen.operator.tokens.list_tokens": [token],
        "imagegen.operator.tokens.read_history": history,
        "imagegen.operator.holds.change": holds.Held([42]),
        "imagegen.operator.retry.plan_named": retries.RetryPlan(),
        "imagegen.operator.retry.retry": [("hand_on", 1), ("retry", 1)],
        "imagegen.cli.audit.run": audit,
        "imagegen.operator.spend.read_spend": [made(spend.SpendRow), made(spend.SpendRow)],
        "imagegen.operator.prune.find_prunable": prune.Prunable(
            datetime(2026, 1, 1, tzinfo=UTC), 1, 1, 1
        ),
        "imagegen.operator.prune.prune": iter([prune.Pruned(1, 1, 1, [])]),
        "imagegen.operator.enqueue.enqueue": [[made(enqueue.EnqueuedToken)]],
        "imagegen.doctor.examine": [made(Finding, level=level) for level in Level],
    }
    return answers


def json_outputs() -> dict[str, Any]:
    """Return what each command prints with `--json`, read, by the command."""
    outputs = {}
    with ExitStack() as stack:
        for name, answer in stand_ins().items():
            stack.enter_context(patch(name, return_value=answer))
        for command in COMMANDS:
            arguments = [*command.split(), "--json"]
            result = CliRunner().invoke(cli, arguments, prog_name="imagegen", env=ENOUGH)
            outputs[command] = json.loads(result.stdout)
    return outputs


def keys(value: object, path: str = "") -> Iterator[str]:
    """Yield the path of each value in it, as `workers[].pid`."""
    match value:
        case dict():
            for name, item in value.items():
                yield from keys(item, f"{path}.{name}".removeprefix("."))
        case [first, *_]:
            yield from keys(first, f"{path}[]")
        case _:
            yield path
