"""The text of every SQL statement by name, collected without a database."""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext, suppress
from datetime import UTC, datetime
from decimal import Decimal
from functools import partial
from typing import Any, Self

from imagegen import audit
from imagegen.database import BRIEFLY, STATUSES, Tables
from imagegen.operator import acts, enqueue, holds, prune, spend, status, tokens
from imagegen.operator import retry as retries
from imagegen.operator.enqueue_input import from_arguments
from imagegen.operator.retry import RetryPlan
from imagegen.queue import Claim, queue
from imagegen.queue import statements as queue_statements
from imagegen.web import snapshot, stats, token_page
from imagegen.web.search import read_found
from imagegen.web.search_input import Search
from tests.support.json_outputs import made

Rows = Sequence[Any]
Question = Callable[[Any], object]

# The blank before a clause, but not within FOR NO KEY UPDATE, LEFT JOIN, extract(epoch FROM …).
CLAUSE = re.compile(
    r"(?<!FOR)(?<!KEY)(?<!LEFT)(?<!epoch)(?<!DISTINCT) (?=(?:SELECT|FROM|WHERE|UPDATE|INSERT|SET"
    r"|WITH|RETURNING|UNION|GROUP BY|ORDER BY|LIMIT|LEFT JOIN|JOIN|FOR NO KEY UPDATE|AND)\b)"
)


def _tables(labels: Callable[[str], str], column_type: str, *, naive: bool) -> Tables:
    literals = {status: f"'{labels(status)}'::{column_type}" for status in STATUSES}
    return Tables(literals, created_at_is_naive=naive)


KINDS_OF_TABLES = {
    "enum-lower-aware": _tables(str.lower, "token_status", naive=False),
    "enum-upper-aware": _tables(str.upper, "token_status", naive=False),
    "enum-lower-naive": _tables(str.lower, "token_status", naive=True),
    "text-naive": _tables(str.lower, "text", naive=True),
}


SEARCHES = {
    "all": Search(),
    "of an author": Search(author="0xA", before=42),
    "of a failure": Search(failure="transient", before=42),
    "of those at work": Search(status="generating"),
    "of a status elsewhere": Search(status="revealed", token=42),
}


def _search(connection: Any, tables: Tables, search: Search) -> object:
    return read_found(connection, tables, search)


def statements(tables: Tables) -> dict[str, str]:
    """Return every statement by name. The one function to adapt when SQL moves.

    The names are those of the golden files. They stay, wherever the SQL is.
    """
    since = datetime(2026, 1, 1, tzinfo=UTC)
    prunable = prune.Prunable(since, 1, 1, 1)
    seen, claim = made(retries.TokenSnapshot, copy_path=None), made(Claim)
    asked: dict[str, Question] = {
        "queue.record_request within a limit": lambda it: queue.Queue(
            it, tables, "w", lease_seconds=15, give_up_after_seconds=60, daily_limit=1
        ).record_request(claim, prompt="A", model="m", account="a"),
        "queue.record_request within a budget": lambda it: queue.Queue(
            it, tables, "w", lease_seconds=15, give_up_after_seconds=60,
            daily_budget=Decimal(1),
            request_dollars=Decimal("0.1"),
        ).record_request(claim, prompt="A", model="m", account="a"),
        "web.known": lambda it: stats.read_stats(it, tables),
        "web.waits": lambda it: stats.any_token_waits(it, tables),
        "web.tables": lambda it: stats.check_tables(it, tables),
        "web.snapshot": lambda it: snapshot.read_snapshot(it, tables),
        "web.details": lambda it: snapshot.read_details(it, 42),
        "web.path": lambda it: snapshot.read_path(it, 42),
        "web.token": lambda it: token_page.read_story(it, tables, 42, None),
        **{
            f"web.search {name}": partial(_search, tables=tables, search=search)
            for name, search in SEARCHES.items()
        },
        "status.queue": lambda it: status.read_queue(it, tables),
        "tokens.list": lambda it: tokens.list_tokens(it, tables, limit=50),
        "tokens.list filtered": lambda it: tokens.list_tokens(
            it, tables, statuses=["failed"], author="0xA", older=since, newer=since,
            error_kind="transient", limit=50,
        ),
        "tokens.list of a status elsewhere": lambda it: tokens.list_tokens(
            it, tables, statuses=["minted"], limit=50
        ),
        "tokens.show": lambda it: tokens.read_history(it, tables, 42),
        "retry.named": lambda it: retries.plan_named(it, tables, [42], lost=False),
        "retry.failed": lambda it: retries.plan_failed(it, tables, since, None),
        "retry.failed of a kind": lambda it: retries.plan_failed(it, tables, since, "transient"),
        "retry.retry with the fallback prompt": lambda it: list(
            retries.retry(it, tables, RetryPlan([seen], []), fallback=True)
        ),
        "retry.retry": lambda it: list(retries.retry(it, tables, RetryPlan([seen], [seen]))),
        "holds.hold": lambda it: holds.change(it, tables, "hold", [42], "why"),
        "holds.release": lambda it: holds.change(it, tables, "release", [42], "why"),
        "acts.pause": lambda it: acts.pause(it, "why", 60),
        "acts.read_pause": acts.read_pause,
        "acts.set_limits": lambda it: acts.set_limits(it, {"create_rate": 1}, [], "why"),
        "acts.read_limits": acts.read_limits,
        "acts.price_of_last": acts.price_of_last,
        "acts.newest": acts.newest,
        "spend.spend": lambda it: spend.read_spend(it, since),
        "prune.find": lambda it: prune.find_prunable(it, 1.0),
        "prune.prune": lambda it: list(prune.prune(it, tables, prunable)),
        "prune.dry_run": lambda it: list(prune.prune(it, tables, prunable, dry_run=True)),
        "enqueue.enqueue": lambda it: list(
            enqueue.enqueue(it, tables, from_arguments(["A"], "0xA", 1))
        ),
    }  # fmt: skip
    of_queue = {name: each.text for name, each in queue_statements(tables).items()}
    of_queue |= {"briefly": BRIEFLY}
    of_audit = {f"audit.{name}": text for name, text in audit.SQL.items()}
    return (
        {f"queue.{name}": sql for name, sql in of_queue.items()}
        | of_audit
        | {name: executed_by(question, ROWS) for name, question in asked.items()}
    )


# What the database would answer, by a part of the statement. Others bring no row.
ROWS: dict[str, Rows] = {
    "UNION SELECT lower(enumlabel)": [("minted",)],
    "RETURNING lower(wallet_address)": [("0xa", "1")],
    "attidentity": [
        ("id", "uuid", True),
        ("created_at", "date", True),
        ("token_id", "bigint", False),
    ],
    "attname = 'token_id'": [("bigint",)],
    "max(token_id)": [(41,)],
    "WHERE t.token_id = %s": [(42,)],
    "UPDATE generations SET requested_at = now()": [{"prompt": "A"}],
    "AS requested, (": [{"requested": 0, "unsent": 0}],
    "AS before, count(*)": [prune.Prunable(datetime(2026, 1, 1, tzinfo=UTC), 1, 1, 1)],
    "AS paths": [prune.Pruned(None, 0, 0, [])],
    "AS spent FROM": [{"dollars": Decimal(0), "spent": Decimal(0)}],
}


class NoRowError(Exception):
    """Ends a question that needs a row which the recording connection does not have."""


class RecordingConnection:
    """A pool, its connection and its cursor in one: keeps each statement, has canned rows."""

    rowcount = 0

    def __init__(self, rows: Mapping[str, Rows]) -> None:
        self.executed: list[str] = []
        self._rows = rows
        self._found: Rows = []

    def connection(self) -> AbstractContextManager[Self]:
        """As of a pool."""
        return nullcontext(self)

    def pipeline(self) -> AbstractContextManager[None]:
        return nullcontext()

    def transaction(self) -> AbstractContextManager[None]:
        return nullcontext()

    def cursor(self, **_: object) -> Self:
        return self

    def execute(self, sql: str | bytes, _: object = None) -> Self:
        text = sql.decode() if isinstance(sql, bytes) else sql
        self.executed.append(text)
        line = " ".join(text.split())
        self._found = next((rows for part, rows in self._rows.items() if part in line), [])
        return self

    def nextset(self) -> None:
        """The answer of the second statement of two, which are executed together."""

    def fetchall(self) -> Rows:
        return self._found

    def fetchone(self) -> Any:
        if not self._found:
            raise NoRowError
        return self._found[0]

    def __iter__(self) -> Iterator[Any]:
        return iter(self._found)


def executed_by(question: Question, rows: Mapping[str, Rows]) -> str:
    """Return all statements that a question executes, joined."""
    connection = RecordingConnection(rows)
    with suppress(NoRowError):
        question(connection)
    return ";\n".join(connection.executed)


def normalised(sql: str) -> str:
    """Return a statement in a form that depends on neither blanks nor comments.

    Each clause begins a line, so that a difference is shown by the line.
    """
    text = " ".join(re.sub(r"(?m)--.*$", "", sql).split())
    text = text.replace("( ", "(").replace(" )", ")").removesuffix(";")
    return CLAUSE.sub("\n", text)
