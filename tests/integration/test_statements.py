"""Every statement of every file of SQL can be explained by its name."""

from collections import defaultdict
from pathlib import Path
from typing import Any

import psycopg
import pytest

import imagegen
from imagegen.database import connect, queue_stats, read_tables, sql
from imagegen.operator import acts, holds
from imagegen.queue.fill import STATEMENTS
from imagegen.web import snapshot
from tests.support.processes import Site

PACKAGE = Path(imagegen.__file__).parent
FILES = sorted(path.relative_to(PACKAGE) for path in PACKAGE.rglob("*.sql"))
# These are loaded together with fragments of other files.
TOGETHER = {
    Path("web/page.sql"): snapshot.SQL,
    Path("database/queue_stats.sql"): queue_stats.SQL,
    Path("queue/queue.sql"): STATEMENTS,
    Path("operator/acts.sql"): acts.SQL,
    Path("operator/holds.sql"): holds.SQL,
}
# Conditions that `list` is put together from.
IS_CONDITION = "with_"


@pytest.mark.parametrize("file", FILES, ids=str)
def test_each_statement_can_be_explained_by_its_name(file: Path, site: Site) -> None:
    found = TOGETHER.get(file) or sql.load(f"imagegen.{file.parent}", file.name)
    statements = {name: text for name, text in found.items() if not name.startswith(IS_CONDITION)}
    filled_in = snapshot.VALUES | {"filters": "true", "generation_id": 1}
    filled_in |= {"looked_at": 1, "authors_looked_at": 1, "limit": 1, "older": "true"}
    filled_in |= {"status": "'failed'", "conditions": "true"}
    filled_in |= {"window": "SELECT * FROM tokens_s0"}
    with connect(site.database_url) as connection:
        tables = read_tables(connection)
        filled_in |= {"waited_seconds": tables.waited_seconds, "but": "NOT"}
        for name, text in statements.items():
            filled = tables.fill(text, **filled_in)
            values: Any = defaultdict(lambda: None)
            if "%(" not in filled:
                values = [None] * filled.count("%s")
            plan = psycopg.ClientCursor(connection).execute(f"EXPLAIN {filled}", values).fetchall()

            assert plan, name
