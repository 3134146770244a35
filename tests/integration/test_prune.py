"""`imagegen prune` deletes rows that no token needs, and `imagegen spend` shows the same."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest
from click.testing import Result

from imagegen.queue import Complete
from tests.support.command_line import imagegen
from tests.support.generation_rows import insert_generation, insert_tokens
from tests.support.processes import Site
from tests.support.queue_fixtures import MakeQueue, accept, claim, claim_one
from tests.support.sandbox import Sandbox
from tests.support.terminal import on_a_terminal

OLD = datetime.now(UTC) - timedelta(days=400)


def insert_old(site: Site, token_id: int, **columns: object) -> None:
    """A generation that ended more than a year ago."""
    times = {"opened_at": OLD, "requested_at": OLD, "closed_at": OLD}
    insert_generation(site, token_id, **times | columns)


def run(site: Site, *arguments: str) -> Result:
    return imagegen(*arguments, DATABASE_URL=site.database_url)


def prune(site: Site, *arguments: str) -> Any:
    done = run(site, "prune", "--older", "1y", "--json", *arguments)
    assert done.exit_code == 0, done.stderr
    return json.loads(done.stdout)


def tokens_left(site: Site) -> list[int]:
    return [each for (each,) in site.query("SELECT token_id FROM generations ORDER BY id")]


def spent(site: Site, *arguments: str) -> Any:
    done = run(site, "spend", "--since", "2000d", *arguments)
    assert done.exit_code == 0, done.stderr
    return done.stdout


def test_rows_of_tokens_that_were_handed_on_or_deleted_go_all_or_none(site: Site) -> None:
    insert_tokens(site, "uploading", 1, 2, 3)
    site.query("UPDATE tokens_s0 SET status = 'ready' WHERE token_id = 2")
    for token_id in (1, 2, 3, 77):
        insert_old(site, token_id, state="failed", error_kind="transient")
        insert_old(site, token_id)
    insert_generation(site, 3)

    done = prune(site)

    assert (done["generations"], done["tokens"], done["old"]) == (6, 3, 8)
    assert tokens_left(site) == [3, 3, 3]


@pytest.mark.parametrize("status", ["detected", "generating", "failed"])
def test_a_token_that_may_generate_again_keeps_its_rows(site: Site, status: str) -> None:
    insert_tokens(site, status, 1)
    insert_old(site, 1, state="failed", error_kind="transient")

    assert prune(site)["generations"] == 0
    assert tokens_left(site) == [1]


def test_an_image_that_the_next_stage_has_not_taken_can_still_be_handed_on_by_its_copy(
    site: Site,
) -> None:
    insert_tokens(site, "uploading", 1, 2)
    insert_old(site, 1, image_path="/images/1-1.png")
    insert_old(site, 2)

    assert prune(site)["tokens"] == 1
    assert tokens_left(site) == [1]


def test_unresolved_and_open_generations_stay(site: Site) -> None:
    insert_old(site, 1, state="failed", error_kind="unresolved", prediction_id=None)
    insert_old(site, 1)
    insert_old(site, 2)
    insert_old(site, 2, state="open")

    assert prune(site)["generations"] == 0


def test_spend_is_the_same_before_and_after_also_in_two_steps(site: Site) -> None:
    site.mint("a prompt")
    [(author,)] = site.query("SELECT id::text FROM authors")
    insert_tokens(site, "ready", 2, 3, 4, 5, 6)
    insert_old(site, 2, cost="0.0000001", author=author, images=2, predict_seconds=1.25)
    insert_old(site, 3, cost="0.003", author=author)
    insert_old(site, 4, predict_seconds=0.5)  # from before there were costs
    insert_old(site, 5, state="failed", error_kind="gone", cost="0.003")
    insert_old(site, 6, state="refused", error_kind="throttled", prediction_id=None)
    insert_generation(site, 6)
    by_all = ("--by", "day", "--by", "model", "--by", "author", "--by", "outcome", "--csv")
    asked: list[tuple[str, ...]] = [(), ("--json", "--price", "0.04"), by_all]
    before = [spent(site, *each) for each in asked]
    assert before[2].splitlines()[-1] == "total,,,,5,5,1,1.75,0.0030001,0.003"

    site.query("UPDATE tokens_s0 SET status = 'failed' WHERE token_id = 3")
    first = prune(site)["generations"]
    site.query("UPDATE tokens_s0 SET status = 'ready' WHERE token_id = 3")
    second = prune(site)["generations"]

    assert (first, second) == (3, 1)
    after = [spent(site, *each) for each in asked]
    assert [_without_since(each) for each in after] == [_without_since(each) for each in before]


def _without_since(output: str) -> list[str]:
    return [line for line in output.splitlines() if '"since"' not in line]


def test_a_dry_run_says_what_would_go_and_deletes_nothing(site: Site) -> None:
    insert_old(site, 1)
    insert_old(site, 1)
    insert_old(site, 2)
    insert_generation(site, 3)

    done = run(site, "prune", "--older", "52w", "--dry-run")

    assert done.stdout == "would delete 3 rows of 2 tokens; 0 old rows would stay\n"
    assert tokens_left(site) == [1, 1, 2, 3]
    assert site.query("SELECT count(*) FROM imagegen_spend_totals") == [(0,)]


def test_copies_go_with_their_rows_but_not_one_that_is_the_image_of_its_token(
    site: Site, tmp_path: Path
) -> None:
    elsewhere = tmp_path / "mine.png"
    folder = tmp_path / "images"
    folder.mkdir()
    insert_tokens(site, "ready", 1, 2, 3, 4)
    copies = [folder / f"{token_id}-1.webp" for token_id in (1, 2, 3)]
    for path in (*copies, elsewhere):
        path.write_bytes(b"an image")
    for token_id, path in enumerate((*copies, elsewhere), 1):
        insert_old(site, token_id, image_path=str(path))
    site.query("UPDATE tokens_s0 SET image_url = %s WHERE token_id = 2", copies[1].as_uri())
    site.query("UPDATE generations SET image_url = %s WHERE token_id = 3", copies[2].as_uri())

    done = run(site, "prune", "--older", "1y", "--images", "--keep-images", str(folder))

    assert done.stdout == "deleted 4 rows of 4 tokens, and 1 image; 0 old rows stay\n"
    assert done.stderr == f"imagegen: {elsewhere} is not in {folder}: it is left there\n"
    assert [path.exists() for path in (*copies, elsewhere)] == [False, True, True, True]


def test_copies_stay_unless_asked_for(site: Site, tmp_path: Path) -> None:
    copy = tmp_path / "1-1.webp"
    copy.write_bytes(b"an image")
    insert_old(site, 1, image_path=str(copy))

    assert prune(site, "--keep-images", str(tmp_path))["images"] == 0
    assert copy.exists()


@pytest.mark.parametrize(
    ("arguments", "code", "complaint"),
    [
        (
            ("--older", "47h"),
            2,
            "--older must be an age such as 1y or 90d, at least 48h, not '47h'",
        ),
        (("--older", "1"), 2, "--older must be an age such as 1y or 90d, at least 48h, not '1'"),
        (("--older", "nand"), 2, "at least 48h, not 'nand'"),
        (("--older", "1y", "--images"), 78, "--images needs a folder in IMAGEGEN_KEEP_IMAGES"),
    ],
)
def test_a_wrong_use_is_one_line_and_deletes_nothing(
    site: Site, arguments: tuple[str, ...], code: int, complaint: str
) -> None:
    insert_old(site, 1)

    done = run(site, "prune", *arguments)

    assert (done.exit_code, done.stdout) == (code, "")
    assert complaint in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert tokens_left(site) == [1]


def test_a_token_that_another_session_has_locked_is_left_to_the_next_run(site: Site) -> None:
    insert_tokens(site, "ready", 1, 2)
    insert_old(site, 1)
    insert_old(site, 2)
    with psycopg.connect(site.database_url) as other:
        other.execute("UPDATE tokens_s0 SET status = 'detected' WHERE token_id = 1")
        assert prune(site)["generations"] == 1

    assert tokens_left(site) == [1]


def test_a_token_that_was_pruned_and_is_minted_again_gets_a_generation(
    site: Site, make_queue: MakeQueue
) -> None:
    site.mint("one")
    queue = make_queue()
    first = accept(queue, claim_one(queue))
    assert queue.apply(first, Complete("https://x", 1.0, 1))
    site.query(
        """UPDATE generations SET opened_at = %s, requested_at = %s, closed_at = %s""",
        OLD, OLD, OLD,
    )  # fmt: skip
    assert prune(site)["generations"] == 1
    site.query("UPDATE tokens_s0 SET status = 'detected', image_url = NULL")

    (second,) = claim(queue)

    assert (second.seed, second.unresolved) == (first.seed, ())
    assert second.generation_id != first.generation_id


def test_many_rows_go_in_steps_while_workers_claim(site: Site, sandbox: Sandbox) -> None:
    site.query(
        """INSERT INTO generations (token_id, attempt, model, seed, lease_until, state,
               prediction_id, requested_at, opened_at, closed_at, image_url, cost)
           SELECT 1000 + n, 1, 'a/b', n, %s, 'succeeded', 'p' || n, %s, %s, %s, 'https://x', 0.003
           FROM generate_series(1, 3500) n""", OLD, OLD, OLD, OLD
    )  # fmt: skip
    site.mint(*[f"picture {number}" for number in range(10)])

    with site.supervisor(procs=1):
        code, screen = on_a_terminal(site, "prune", "--older", "1y")
        assert site.wait_until_done() == {"uploading": 10}

    assert code == 0
    assert "deleted 3,500 rows of 3,500 tokens" in screen
    assert site.query("SELECT predictions, cost::text FROM imagegen_spend_totals") == [
        (3500, "10.500")
    ]
    assert len(sandbox.ledger.creates()) == 10
