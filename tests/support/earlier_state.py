"""A database that goes back to an earlier state, as by a failover to a standby that lagged."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

Execute = Callable[[str], object]
# In the order in which their rows can be put back.
TABLES = ("authors", "tokens_s0", "generations", "imagegen_servers", "imagegen_duplicates")
SAVED = "saved_"


def save(execute: Execute) -> None:
    """Keep the state of the tables, in place of one that was kept before."""
    for table in TABLES:
        execute(f"DROP TABLE IF EXISTS {SAVED}{table}")
        execute(f"CREATE TABLE {SAVED}{table} AS TABLE {table}")


def go_back(execute: Execute) -> None:
    """Put the state back that was kept. As on another server, ids are given out again."""
    execute("TRUNCATE generations")  # makes another file of it, and so another server
    for table in reversed(TABLES):
        execute(f"DELETE FROM {table}")
    for table in TABLES:
        execute(f"INSERT INTO {table} OVERRIDING SYSTEM VALUE TABLE {SAVED}{table}")
    execute(
        """SELECT setval(pg_get_serial_sequence('generations', 'id'),
           coalesce(max(id), 0) + 1, false) FROM generations"""
    )


@contextmanager
def forgotten(execute: Execute) -> Iterator[None]:
    """What happens within is forgotten at its end."""
    save(execute)
    yield
    go_back(execute)
