"""`imagegen spend` shows from the ledger what Replicate accepted and bills."""

import json
from typing import Any

import pytest
from click import unstyle
from click.testing import Result

from imagegen.replicate.outcomes import Failed, of_prediction
from imagegen.replicate.replies import Prediction
from tests.support.command_line import imagegen
from tests.support.generation_rows import MODEL, insert_failed_generation, insert_generation
from tests.support.processes import Site
from tests.support.sandbox import Sandbox
from tests.support.terminal import on_a_terminal

PRICED = ("--price", "0.003")


def spend(site: Site, *arguments: str) -> Any:
    """What the command tells as JSON."""
    done = site.call("spend", "--json", *arguments)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def billed(site: Site) -> dict[str, tuple[int, int]]:
    """By outcome: the images that are billed, and those that perhaps are."""
    lines = spend(site)["lines"]
    return {
        line["outcome"]: (line["images_billed"], line["images_perhaps_billed"]) for line in lines
    }


def test_images_of_the_main_job_are_shown_with_their_price(site: Site, sandbox: Sandbox) -> None:
    site.mint("one", "two", "three")
    with site.supervisor(procs=1) as program:
        site.wait_until_done()
        program.stop()

    told = spend(site, *PRICED)

    assert told["total"]["predictions"] == len(sandbox.ledger.creates()) == 3
    assert told["total"]["usd"] == 0.009
    assert [(line["model"], line["outcome"]) for line in told["lines"]] == [(MODEL, "succeeded")]


def test_a_duplicate_has_its_generations_images_and_is_perhaps_billed(site: Site) -> None:
    insert_generation(site, images=2)
    for generation_id, status in ((1, "succeeded"), (99, "starting")):  # the other one is pruned
        site.query(
            "INSERT INTO imagegen_duplicates VALUES (%s, %s, 1, %s, 'us', %s, now())",
            f"duplicate{generation_id}", generation_id, MODEL, status,
        )  # fmt: skip

    assert billed(site) == {"succeeded": (2, 0), "duplicate": (2, 1)}


def test_days_are_those_of_the_request_in_utc_and_models_have_lines_of_their_own(
    site: Site,
) -> None:
    insert_generation(site, requested_at="2026-11-01T23:59:59Z")
    insert_generation(site, requested_at="2026-11-01T23:00:00-03:00", model="a/b")
    insert_generation(site, requested_at="2026-11-02T12:00:00Z", predict_seconds=1.25, images=4)

    lines = spend(site, "--since", "2026-11-01")["lines"]

    assert [(line["day"], line["model"], line["images_billed"]) for line in lines] == [
        ("2026-11-01", MODEL, 1),
        ("2026-11-02", "a/b", 1),
        ("2026-11-02", MODEL, 4),
    ]
    assert lines[2]["predict_seconds"] == 1.25


def test_generations_that_failed_were_refused_or_are_at_work_cost_nothing(site: Site) -> None:
    insert_failed_generation(site, 1, "transient")
    insert_failed_generation(site, 2, "content_policy")
    insert_generation(site, 3, state="refused", error_kind="misconfigured")
    insert_generation(site, 4, state="open")

    assert billed(site) == {
        "failed: content_policy": (0, 0),
        "failed: transient": (0, 0),
        "open": (0, 0),
        "refused": (0, 0),
    }


def test_an_image_that_was_made_and_lost_is_billed(site: Site) -> None:
    insert_failed_generation(site, 1, "no_output")
    insert_failed_generation(site, 2, "data_removed")

    assert billed(site) == {"failed: data_removed": (1, 0), "failed: no_output": (1, 0)}


def test_a_prediction_whose_end_is_unknown_is_perhaps_billed(site: Site) -> None:
    insert_failed_generation(site, 1, "gone")
    insert_generation(site, 2, state="failed", error_kind="unresolved", prediction_id=None)

    assert billed(site) == {"failed: gone": (0, 1), "failed: unresolved": (0, 1)}
    assert spend(site)["total"]["predictions"] == 1


@pytest.mark.parametrize(
    ("status", "output", "outcome", "images"),
    [
        ("canceled", None, "failed: canceled", (0, 1)),
        ("aborted", None, "failed: aborted", (0, 0)),
        ("succeeded", [{"not": "an image"}], "failed: unreadable", (1, 0)),
    ],
)
def test_a_canceled_prediction_is_perhaps_billed_and_an_unreadable_output_surely(
    site: Site, status: str, output: object, outcome: str, images: tuple[int, int]
) -> None:
    ended = of_prediction(Prediction(id="p", status=status, output=output), http_allowed=False)
    assert isinstance(ended, Failed)
    insert_generation(site, state="failed", error_kind=ended.kind, error_message=ended.message)

    assert billed(site) == {outcome: images}


def test_requests_that_replicate_did_not_accept_are_not_counted(site: Site) -> None:
    insert_generation(site, 1, state="refused", error_kind="throttled", prediction_id=None)
    insert_generation(site, 2, state="failed", error_kind="invalid_prompt", prediction_id=None,
           requested_at=None)  # fmt: skip

    done = site.call("spend", "--since", "2026-11-01T12:30+02:00")

    assert done.stdout == "Replicate accepted nothing since 2026-11-01 10:30 UTC\n"


@pytest.mark.parametrize(("since", "seen"), [("2h", 1), ("4h", 2), ("10800s", 1), ("7d", 3)])
def test_since_is_a_duration_back_from_now(site: Site, since: str, seen: int) -> None:
    for hours in (1, 3, 100):
        (ago,) = site.query("SELECT now() - make_interval(hours => %s)", hours)
        insert_failed_generation(site, 1, "transient", at=ago[0])

    assert spend(site, "--since", since)["total"]["predictions"] == seen


def test_since_is_thirty_days_unless_said_otherwise(site: Site) -> None:
    for days in (29, 31):
        (ago,) = site.query("SELECT now() - make_interval(days => %s)", days)
        insert_failed_generation(site, 1, "transient", at=ago[0])

    assert spend(site)["total"]["predictions"] == 1


@pytest.mark.parametrize(
    "since", ["yesterday", "-1d", "2026-13-01", "2026", "nan", "nand", "99999999d", ""]
)
def test_a_wrong_since_is_one_line_and_exit_code_2(site: Site, since: str) -> None:
    done = site.call("spend", "--since", since)

    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == (
        "imagegen: --since must be a duration such as 24h or 30d, or a date such as 2026-11-01,"
        f" not {since!r}\n"
    )


def test_the_table_adds_up_and_marks_images_that_are_perhaps_billed(site: Site) -> None:
    at = "2026-11-24T01:00:00Z"
    insert_generation(site, requested_at=at, images=2, predict_seconds=1.4)
    insert_generation(site, requested_at=at, predict_seconds=0.7)
    insert_failed_generation(site, 2, "transient", at=at)
    insert_failed_generation(site, 3, "gone", at=at)

    done = site.call("spend", "--since", "2026-11-24", *PRICED)

    assert done.stdout.splitlines() == [
        "day         model                           outcome            predictions  images"
        "  seconds             USD",
        "2026-11-24  black-forest-labs/flux-schnell  failed: gone                 1      1?"
        "      0.0          0.003?",
        "2026-11-24  black-forest-labs/flux-schnell  failed: transient            1       0"
        "      0.0           0.000",
        "2026-11-24  black-forest-labs/flux-schnell  succeeded                    2       3"
        "      2.1           0.009",
        "total                                                                    4  3 + 1?"
        "      2.1  0.009 + 0.003?",
    ]


def test_on_a_terminal_kinds_with_the_same_initial_are_told_apart(site: Site) -> None:
    for kind in ("content_policy", "canceled", "no_output", "gone"):
        insert_failed_generation(site, 1, kind, at="2026-11-24T01:00:00Z")

    code, screen = on_a_terminal(site, "spend", "--since", "2026-11-24", *PRICED)

    outcomes = [line.split()[2] for line in unstyle(screen).splitlines()[1:5]]
    assert code == 0
    assert outcomes == ["canceled", "content_p…", "gone", "no_output"]


@pytest.mark.parametrize("columns", [40, 80])
def test_on_a_terminal_no_line_of_the_ledger_is_too_wide(site: Site, columns: int) -> None:
    insert_generation(site, images=2, predict_seconds=1.4)
    insert_failed_generation(site, 3, "gone")

    _, screen = on_a_terminal(site, "spend", "--price", "0.003", columns=columns)

    assert max(map(len, unstyle(screen.partition("imagegen:")[0]).splitlines())) <= columns


def test_a_price_is_shown_with_its_source_and_without_one_there_is_no_money(site: Site) -> None:
    insert_generation(site)
    without = site.call("spend")
    given = site.call("spend", *PRICED)
    site.settings["IMAGEGEN_PRICE"] = "0.025"
    set_up = site.call("spend")

    assert "USD" not in without.stdout
    assert without.stderr == ""
    assert given.stderr == (
        "imagegen: the price, 0.003 an image of any model, is --price, not Replicate's bill:"
        " see https://replicate.com/pricing\n"
    )
    assert "0.025 an image of any model, is IMAGEGEN_PRICE, not" in set_up.stderr
    assert set_up.stdout.endswith("0.025\n")


def test_a_wrong_price_is_named(site: Site) -> None:
    done = site.call("spend", "--price", "cheap")

    assert done.returncode == 78
    assert done.stderr.startswith("imagegen: --price must be an amount of money")


def test_a_database_that_is_not_migrated_is_reported_with_the_fix(empty_site: Site) -> None:
    done = empty_site.run("spend")

    assert done.returncode == 1
    assert done.stderr == "imagegen: the database is not migrated: run `imagegen db upgrade`\n"


def insert_priced(site: Site, token_id: int, cost: str, **columns: object) -> None:
    """A prediction that cost so much."""
    at = "2026-11-24T01:00:00Z"
    insert_generation(site, token_id, requested_at=at, cost=cost, **columns)


def run(site: Site, *arguments: str) -> Result:
    return imagegen("spend", *arguments, DATABASE_URL=site.database_url)


def test_dollars_are_those_of_the_ledger_and_the_rest_is_at_todays_price(site: Site) -> None:
    insert_priced(site, 1, "0.04")
    insert_priced(site, 2, "0.0025", state="failed", error_kind="transient")
    insert_priced(site, 3, "0.04", state="failed", error_kind="gone")
    insert_generation(site, 4, requested_at="2026-11-24T01:00:00Z")

    without = json.loads(run(site, "--json", "--since", "2026-11-24").stdout)
    done = run(site, "--since", "2026-11-24", "--csv", *PRICED)

    assert (without["total"]["usd"], without["total"]["usd_perhaps"]) == (0.0425, 0.04)
    assert done.stdout.splitlines()[-1] == "total,,,4,3,1,0.0,0.0455,0.04"
    assert done.stderr.splitlines()[1:] == [
        "imagegen: requests without a cost in the ledger, at today's price: 1"
    ]


def test_spend_is_added_up_by_author_and_named_by_wallet(site: Site) -> None:
    site.mint("one")
    [(author, wallet)] = site.query("SELECT id::text, wallet_address FROM authors")
    insert_priced(site, 1, "0.01", author=author)
    insert_priced(site, 2, "0.02", author=author, model="a/b")
    insert_priced(site, 3, "0.04", author="gone")

    done = run(site, "--since", "2026-11-24", "--by", "author", "--by", "model", "--csv")

    assert done.stdout.splitlines() == [
        "author,model,predictions,images_billed,images_perhaps_billed,predict_seconds,usd,usd_perhaps",
        *sorted(
            [
                f"{wallet},a/b,1,1,0,0.0,0.02,0",
                f"{wallet},{MODEL},1,1,0,0.0,0.01,0",
                f"gone,{MODEL},1,1,0,0.0,0.04,0",
            ]
        ),
        "total,,3,3,0,0.0,0.07,0",
    ]


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (("--by", "week"), "--by must be one of day, model, author, outcome, not 'week'"),
        (("--json", "--csv"), "--json and --csv are two forms of the same: name one"),
    ],
)
def test_a_wrong_way_to_add_up_is_one_line_and_exit_code_2(
    site: Site, arguments: tuple[str, ...], complaint: str
) -> None:
    done = run(site, *arguments)

    assert (done.exit_code, done.stdout, done.stderr) == (2, "", f"imagegen: {complaint}\n")
