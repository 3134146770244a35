"""The figures of the page and /metrics are right, whatever is in the tables, and cheap."""

import re
from collections.abc import Callable
from pathlib import Path

import psycopg
import pytest

from imagegen.database import queue_stats
from imagegen.database.connection import Connection, connect
from imagegen.database.queue_stats import QueueStats
from imagegen.database.tables import Tables, read_tables
from imagegen.web import snapshot as snapshots
from imagegen.web.database_thread import DatabaseThread, read_row
from imagegen.web.snapshot import Snapshot, read_details, read_path, read_snapshot, snapshot_sql
from imagegen.web.stats import any_token_waits, check_tables, read_stats
from tests.support.processes import Site


def snapshot(site: Site) -> Snapshot:
    with connect(site.database_url) as connection:
        return read_snapshot(connection, read_tables(connection))


def stats(site: Site) -> QueueStats:
    with connect(site.database_url) as connection:
        return read_stats(connection, read_tables(connection))


def add_images(site: Site, count: int, age: str, *, first_token_id: int = 1) -> None:
    """Images of as many tokens, a millisecond from one to the next, the last of them of this age;
    their tokens are not there."""
    site.query(
        """INSERT INTO generations (token_id, attempt, prompt, model, seed, lease_until, opened_at,
               closed_at, state, image_url)
           SELECT n, 1, 'a lighthouse', 'a/b', n, now(), at, at, 'succeeded', 'https://host/' || n
           FROM (SELECT n, now() - %s::interval - (%s - n) * interval '1 ms' AS at
                 FROM generate_series(%s, %s - 1) n) numbered""",
        age, first_token_id + count - 1, first_token_id, first_token_id + count,
    )  # fmt: skip


def test_the_figures_are_those_of_the_tables(site: Site) -> None:
    site.mint(*["a lighthouse"] * 10)
    site.query("UPDATE tokens_s0 SET status = 'failed' WHERE token_id = 1")
    site.query("UPDATE tokens_s0 SET status = 'uploading', image_url = 'x' WHERE token_id < 3")
    site.query("UPDATE tokens_s0 SET status = 'revealed' WHERE token_id = 3")
    site.query("UPDATE tokens_s0 SET status = 'failed' WHERE token_id = 4")
    site.query("UPDATE tokens_s0 SET generate_after = now() + interval '1 h' WHERE token_id = 10")

    now = snapshot(site)

    assert (now.waiting, now.paused, now.generating, now.failed) == (6, 1, 0, 1)
    assert (now.done, now.tokens) == (3, 10)
    assert now.oldest_waiting_seconds is not None
    assert [(failure.token_id, failure.kind) for failure in now.failures] == [(4, None)]
    assert len(now.buckets) == 36


def test_few_are_counted_whatever_postgresql_estimates(site: Site) -> None:
    site.mint("a lighthouse")
    site.query("UPDATE pg_class SET reltuples = 1000000 WHERE relname ~ 'tokens'")

    now = snapshot(site)

    assert (now.waiting, now.failed, now.tokens) == (1, 0, 1)


def test_many_are_estimated_where_postgresql_has_an_estimate_and_counted_where_not(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(snapshots.VALUES, "counted_up_to", 2)
    site.mint(*["a lighthouse"] * 4)

    not_yet = snapshot(site)
    site.query("UPDATE pg_class SET reltuples = 1000000 WHERE relname = 'tokens_s0'")
    site.query("UPDATE pg_class SET reltuples = 9000 WHERE relname = 'imagegen_tokens_detected'")
    by_then = snapshot(site)

    assert (not_yet.waiting, not_yet.tokens) == (4, 4)
    assert (by_then.waiting, by_then.tokens) == (9000, 1_000_000)


def test_without_statistics_no_failed_token_is_looked_for_among_all_generations(
    site: Site,
) -> None:
    for table in ("tokens_s0", "generations"):
        site.query(f"ALTER TABLE {table} SET (autovacuum_enabled = off)")
    site.mint(*["a lighthouse"] * 300)
    site.query("UPDATE tokens_s0 SET status = 'failed'")
    add_images(site, 20_000, "0 s")

    with connect(site.database_url) as connection:
        sql = snapshot_sql(read_tables(connection))
        plan = connection.execute(f"EXPLAIN {sql}".encode()).fetchall()

    assert "generations_token" in str(plan)
    assert "generations_pkey" not in str(plan)


@pytest.mark.direct
def test_each_question_goes_to_the_database_in_one_message(site: Site, tmp_path: Path) -> None:
    questions: list[Callable[[Connection, Tables], object]] = [
        read_snapshot,
        read_stats,
        check_tables,
        any_token_waits,
        lambda connection, _: read_details(connection, 1),
        lambda connection, _: read_path(connection, 1),
    ]
    with connect(site.database_url) as connection:
        tables = read_tables(connection)
        for place, question in enumerate(questions):
            messages = tmp_path / str(place)
            with messages.open("wb") as file:
                connection.pgconn.trace(file.fileno())
                question(connection, tables)
                connection.pgconn.untrace()
            sent = re.findall(r"^\S+ \S+\tF\t\d+\t(\w+)", messages.read_text(), re.MULTILINE)
            assert sent == ["Query"]


def test_a_token_waits_until_its_request_is_sent_or_again_if_nothing_comes_of_it(
    site: Site,
) -> None:
    def waits() -> bool:
        with connect(site.database_url) as connection:
            return any_token_waits(connection, read_tables(connection))

    at_first = waits()
    site.mint("a lighthouse")
    minted = waits()
    site.query("UPDATE tokens_s0 SET status = 'generating'")
    site.query(
        """INSERT INTO generations (token_id, attempt, prompt, model, seed, lease_until)
           VALUES (1, 1, 'a lighthouse', 'a/b', 1, now())"""
    )
    claimed = waits()
    site.query("UPDATE generations SET requested_at = now()")
    sent = waits()
    site.query("UPDATE generations SET requested_at = now() - interval '11 minutes'")
    unresolved = waits()
    site.query("UPDATE generations SET prediction_id = 'p'")

    assert [at_first, minted, claimed, sent, unresolved, waits()] == [
        False, True, True, False, True, False
    ]  # fmt: skip


def test_of_many_tokens_a_scrape_takes_the_share_of_each_status_from_the_statistics(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    site.query("ALTER TABLE tokens_s0 SET (autovacuum_enabled = off)")
    site.mint(*["a lighthouse"] * 20)
    site.query("UPDATE tokens_s0 SET status = 'revealed' WHERE token_id > 8")
    site.query("UPDATE tokens_s0 SET status = 'failed' WHERE token_id < 3")

    exactly = stats(site).tokens
    monkeypatch.setattr(queue_stats, "COUNTED_UP_TO", 5)
    without_statistics = stats(site).tokens
    site.query("VACUUM ANALYZE tokens_s0")
    site.query("UPDATE tokens_s0 SET status = 'revealed' WHERE token_id BETWEEN 4 AND 8")

    assert exactly == without_statistics
    assert exactly == {
        "detected": 6, "generating": 0, "uploading": 0, "failed": 2, "revealed": 12
    }  # fmt: skip
    # Those that wait and that failed are counted all the same.
    assert stats(site).tokens == exactly | {"detected": 1}


def test_newer_and_older_follow_the_wall_where_ids_do_not(site: Site) -> None:
    for first_token_id, age in ((1, "1 min"), (4, "3 min"), (7, "2 min")):
        add_images(site, 3, age, first_token_id=first_token_id)
    site.query("UPDATE generations SET closed_at = '2026-01-01' WHERE token_id IN (3, 4, 5)")

    wall = [picture.generation_id for picture in snapshot(site).pictures]
    with connect(site.database_url) as connection:
        seen = [read_details(connection, generation_id) for generation_id in wall]

    around = [(details.newer, details.older) for details in seen if details]
    assert around == list(zip([None, *wall], [*wall[1:], None], strict=False))


def test_a_question_that_takes_too_long_is_a_timeout_and_costs_no_connection(site: Site) -> None:
    def pid(connection: Connection, _: Tables) -> int:
        return connection.info.backend_pid

    def too_much(connection: Connection, _: Tables) -> None:
        read_row(connection, "SELECT pg_sleep(60)", 20)

    database = DatabaseThread(site.database_url, "test")
    before = database.ask(pid, 10)

    with pytest.raises(psycopg.errors.QueryCanceled):
        database.ask(too_much, 10)
    after = database.ask(pid, 10)
    database.ask(lambda connection, _: connection.close(), 10)

    assert after == before


def test_the_hours_are_cut_into_ten_minutes_with_the_times_of_their_images(site: Site) -> None:
    site.query(
        """INSERT INTO generations (token_id, attempt, prompt, model, seed, lease_until, opened_at,
               closed_at, state, image_url)
           SELECT n, 1, 'a lighthouse', 'a/b', n, now(), at - n * interval '1 s', at,
               CASE WHEN n <= 100 THEN 'succeeded' ELSE 'failed' END,
               CASE WHEN n <= 100 THEN 'https://replicate.delivery/x' END
           FROM (SELECT n, now() - interval '9 hours' * (mod(n, 7) = 0)::integer AS at
                 FROM generate_series(1, 110) n) numbered"""
    )

    now = snapshot(site)

    assert (now.total.images, now.total.failed) == (86, 9)
    assert now.buckets[-1].images + now.buckets[-2].images == 86
    assert now.total.p50_seconds == pytest.approx(50.5, abs=1)
    assert now.total.p95_seconds == pytest.approx(95, abs=2)
    assert len(now.pictures) == 24
