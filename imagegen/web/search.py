"""The search for tokens: one round to the database, which never reads all tokens."""

from dataclasses import dataclass, field

from psycopg.rows import dict_row

from imagegen.database import Connection, Tables, one_round, sql
from imagegen.web.search_input import FAILED, LARGEST_ID, Search, SearchError
from imagegen.web.snapshot import (
    MESSAGE_CHARACTERS,
    PROMPT_CHARACTERS,
    STATEMENT_TIMEOUT_MILLISECONDS,
)

SQL = sql.load("imagegen.web", "search.sql")
SHOWN = 50
# The most tokens that are looked at for one page, which takes some tens of milliseconds.
LOOKED_AT = 50_000
# Fewer of the waiting and failed tokens. They are scattered over the table, and so are their
# generations, where the kind of failure is.
LOOKED_AT_BY_MINT = 5_000
# The most authors that are compared with a wallet in another case than the recorded one.
AUTHORS_LOOKED_AT = 100_000
BY_MINT = ("detected", FAILED)


@dataclass(frozen=True)
class FoundToken:
    """A token in the list of results. `kind` and `refused` say how its newest generation ended."""

    token_id: int | None
    author: str | None
    status: str | None
    is_held: bool
    attempts: int
    prompt: str | None
    message: str | None
    kind: str | None
    refused: bool
    minted_at: float | None  # Unix time; None if the recorded time is not a real one
    age_seconds: float | None


@dataclass(frozen=True)
class Found:
    """A page of results, and how far the search looked."""

    search: Search
    tokens: list[FoundToken] = field(default_factory=list)
    before: int | None = None  # where the next page begins; None: there is none
    looked_at: int | None = None  # the search ended after this many tokens; None: it found all
    knows_author: bool = True  # False: not among the authors that were looked through


def read_found(connection: Connection, tables: Tables, search: Search) -> Found:
    """Return a page of tokens that fit. Raises SearchError if no token can have the status, or one
    of NO_ANSWER."""
    status = _status(search)
    is_other = status is not None and status not in tables.labels
    author = search.author
    up_to = LARGEST_ID if search.before is None else search.before - 1
    values = vars(search) | {
        "status": status,
        "up_to": up_to,
        "spellings": [author, (author or "").lower()],
    }
    with one_round(connection, STATEMENT_TIMEOUT_MILLISECONDS):
        found = connection.cursor(row_factory=dict_row)
        found.execute(search_sql(tables, search), values)
        statuses = connection.execute(SQL["statuses"]) if is_other else None
    row = found.fetchone()
    assert row is not None  # noqa: S101 (a SELECT without FROM has a row)
    rows = row["tokens"]
    if is_other and statuses is not None and not rows:
        known = sorted({status for (status,) in statuses} | tables.labels.keys())
        if status not in known:
            raise SearchError(f"status must be one of {', '.join(known)}.")
    for each in rows:
        del each["place"]
    tokens = [FoundToken(**each) for each in rows[:SHOWN]]
    if len(rows) > SHOWN:
        return Found(search, tokens, before=tokens[-1].token_id)
    last = row["last_looked_at"]
    looked_at = None if last is None else _looked_at(search)
    return Found(search, tokens, last, looked_at, row["knows_author"])


def search_sql(tables: Tables, search: Search) -> str:
    """Return the statement of a search: the tokens that it looks at, and its conditions."""
    status = _status(search)
    older, conditions = "true", []
    if search.token is not None:
        window, conditions = "by_token", [SQL["with_status"]] if status else []
    elif status in BY_MINT:
        window = "by_mint"
        older = SQL["with_older_mint"] if search.before is not None else older
    elif status == "generating":
        window = "by_number_at_work"
    else:
        window, conditions = "by_number", [SQL["with_status"]] if status else []
    conditions += [SQL["with_author"]] if search.author is not None else []
    conditions += [SQL["with_failure"]] if search.failure is not None else []
    looked_at = _looked_at(search)
    label = tables.labels.get(status or "", "NULL")
    return tables.fill(
        SQL["search"],
        window=tables.fill(SQL[window], status=label, older=older, looked_at=looked_at),
        conditions=tables.fill(" AND ".join(conditions) or "true"),
        limit=SHOWN + 1,
        looked_at=looked_at,
        authors_looked_at=AUTHORS_LOOKED_AT,
        # One more than is shown, so that the page sees that a text was longer.
        prompt_characters=PROMPT_CHARACTERS + 1,
        message_characters=MESSAGE_CHARACTERS + 1,
    )


def _status(search: Search) -> str | None:
    """Return the status to search for. Only failed tokens have a kind of failure."""
    return FAILED if search.failure is not None else search.status


def _looked_at(search: Search) -> int:
    return LOOKED_AT_BY_MINT if _status(search) in BY_MINT else LOOKED_AT
