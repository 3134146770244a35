"""One row never stops another: an odd one is held back alone, and named (law 9)."""

import re
from datetime import UTC, datetime
from itertools import pairwise

import httpx
import pytest

from imagegen.database import odd_tokens
from imagegen.worker.set_aside import SetAside
from tests.support import odd_rows
from tests.support.fake_clock import FakeClock
from tests.support.odd_rows import ODD_ROWS, Fate
from tests.support.processes import Site, wait_for
from tests.support.queue_fixtures import MODEL, MakeQueue, claim

OTHERS = 30
SET_ASIDE = [row for row in ODD_ROWS if row.fate is Fate.SET_ASIDE]


def test_odd_rows_of_every_sort_keep_no_other_token_waiting_and_end_no_worker(
    site: Site,
) -> None:
    odd_rows.loosen(site)
    ids = odd_rows.insert(site, *ODD_ROWS)
    site.mint(*(f"picture number {n}" for n in range(OTHERS)))

    with site.supervisor() as program:
        wait_for("the other tokens' images", lambda: images_of_others(site) == OTHERS)
        wait_for("those that can be made", lambda: became(site, ids) == expected())
        wait_for("each to be logged", lambda: not (reasons() - logged(program.events())))
        metrics = program.metrics()
        page = httpx.get(program.metrics_url().replace("/metrics", "/"), trust_env=False)
        doctor = site.run("doctor").stdout
        program.stop()

    assert not program.events("process.died")
    assert not program.events("slot.crashed")
    assert page.status_code == 200
    left_alone = re.findall(r"warning +tokens +(\d+) tokens? .+ left alone .+: (.+)", doctor)
    for reason in reasons():
        assert any(reason in found for _, found in left_alone), (reason, doctor)
    assert sum(int(count) for count, _ in left_alone) == len(SET_ASIDE)
    counted = [metrics[f'imagegen_tokens_set_aside{{kind="{kind}"}}'] for kind in odd_tokens.KINDS]
    assert counted == [1, 1, 3, 1, 5]


def images_of_others(site: Site) -> int:
    ((images,),) = site.query(
        """SELECT count(*) FROM tokens_s0
           WHERE token_id BETWEEN 1 AND %s AND status = 'uploading'""",
        OTHERS,
    )
    return int(images)


def expected() -> dict[str, str | None]:
    """What becomes of each odd token, where imagegen decides it."""
    ends = {Fate.IMAGE: "uploading", Fate.FAILED: "failed", Fate.UNTOUCHED: "failed"}
    return {row.name: ends[row.fate] for row in ODD_ROWS if row.fate is not Fate.SET_ASIDE}


def became(site: Site, ids: dict[str, str]) -> dict[str, str | None]:
    found = odd_rows.statuses(site, ids)
    return {name: found[name] for name in expected()}


def reasons() -> set[str]:
    return {row.reason for row in SET_ASIDE}


def logged(events: list[dict[str, object]]) -> set[str]:
    """The reasons that are in the log."""
    said = [str(line["reason"]) for line in events if line["event"] == "token.set_aside"]
    return {reason for reason in reasons() if any(reason in each for each in said)}


def test_tokens_set_aside_are_claimed_by_new_workers_once_they_are_corrected(site: Site) -> None:
    odd_rows.loosen(site)
    (row,) = [row for row in ODD_ROWS if row.name == "refused by a trigger"]
    odd_rows.insert(site, row)

    with site.supervisor(procs=1) as program:
        program.wait_for_event("token.set_aside")
        site.query("DROP TRIGGER user_trigger ON tokens_s0")
        program.hang_up()
        ended = site.wait_until_done()

    assert ended == {"uploading": 1}


def test_a_table_that_cannot_be_used_for_a_while_sets_no_token_aside(site: Site) -> None:
    with site.supervisor(procs=1) as program:
        program.wait_for_event("worker.started")
        site.query("ALTER TABLE tokens_s0 RENAME COLUMN generate_after TO gone")
        program.wait_for_event("database.unavailable")
        site.mint("a picture")
        site.query("ALTER TABLE tokens_s0 RENAME COLUMN gone TO generate_after")
        ended = site.wait_until_done()

    assert ended == {"uploading": 1}
    assert not program.events("token.set_aside")
    assert not program.events("process.died")


def test_a_token_waits_for_an_author_who_comes_later(site: Site) -> None:
    site.query("ALTER TABLE tokens_s0 DROP CONSTRAINT tokens_s0_author_id_fkey")
    ((author,),) = site.query(
        "INSERT INTO tokens_s0 (token_id, author_id) VALUES (1, gen_random_uuid())"
        " RETURNING author_id"
    )

    with site.supervisor(procs=1) as program:
        program.wait_for_event("token.set_aside")
        site.query(
            "INSERT INTO authors (id, wallet_address, prompt_text) VALUES (%s, '0x1', 'a picture')",
            author,
        )
        ended = site.wait_until_done()

    assert ended == {"uploading": 1}
    assert site.token() == ("uploading", 1, None)


def test_a_reset_that_a_trigger_refuses_stops_no_other_repair(
    site: Site, make_queue: MakeQueue
) -> None:
    odd_rows.loosen(site)
    site.mint("guarded", "reset", "of an older worker", "guarded, too")
    queue = make_queue()
    assert len(claim(queue)) == 4
    site.query("ALTER TABLE tokens_s0 DISABLE TRIGGER user_trigger")
    site.query("UPDATE generations SET state = 'failed', closed_at = now() WHERE token_id > 2")
    site.query("UPDATE tokens_s0 SET status = 'detected' WHERE token_id <= 2")
    site.query("UPDATE tokens_s0 SET note = 'guarded' WHERE token_id IN (1, 4)")
    site.query("ALTER TABLE tokens_s0 ENABLE TRIGGER user_trigger")
    set_aside = SetAside(queue, MODEL)
    orphans = queue.repair_statuses({}, only=[]).orphans

    repairs = set_aside.repair_statuses(orphans)

    assert (repairs.repaired, set(repairs.orphans)) == (2, {3, 4})
    assert site.query("SELECT token_id, status FROM tokens_s0 ORDER BY 1") == [
        (1, "detected"), (2, "generating"), (3, "detected"), (4, "generating"),
    ]  # fmt: skip


def test_a_mint_in_the_far_future_is_looked_for_like_one_of_now(
    site: Site, make_queue: MakeQueue
) -> None:
    site.mint("a picture")
    site.query("UPDATE tokens_s0 SET created_at = '200000-01-01'")
    site.query("UPDATE imagegen_servers SET server = 'another' WHERE noticed_at > '-infinity'")

    (only,) = claim(make_queue())

    assert only.doubt is not None
    assert datetime.fromisoformat(only.doubt.since) < datetime.now(UTC)


def test_a_token_set_aside_is_tried_again_after_growing_delays_and_recorded_in_one_row(
    site: Site, make_queue: MakeQueue, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = FakeClock()
    monkeypatch.setattr("imagegen.worker.set_aside.time", clock)
    odd_rows.loosen(site)
    odd_rows.insert(site, *(row for row in ODD_ROWS if row.name == "refused by a check"))
    set_aside = SetAside(make_queue(), MODEL)
    tried_at: list[float] = []

    while len(tried_at) < 9:
        assert set_aside.claim(limit=1, new_limit=1, busy=[]) == []
        ((times,),) = site.query("SELECT refusals FROM generations")
        if times > len(tried_at):
            tried_at.append(clock.now)
        clock.passes(5)

    waits = [after - before for before, after in pairwise(tried_at)]
    assert waits == [15, 30, 60, 120, 240, 480, 600, 600]
    message = 'new row for relation "tokens_s0" violates check constraint "user_check"'
    assert site.query("SELECT state, error_kind, error_message FROM generations") == [
        ("refused", "set_aside", message)
    ]
    site.query("UPDATE tokens_s0 SET note = NULL")
    clock.passes(600)
    assert len(set_aside.claim(limit=1, new_limit=1, busy=[])) == 1
