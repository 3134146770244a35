"""`imagegen audit` explains every prediction of the account, without false alarms."""

import json
from typing import Any

from tests.support.generation_rows import MODEL, insert_generation
from tests.support.processes import Site
from tests.support.sandbox import Fault, Sandbox

AN_HOUR = ("--since", "1h")
PRICED = ("--price", "0.003")


def audit(site: Site, *arguments: str) -> tuple[int, Any]:
    """Return the exit code, and what it prints as JSON."""
    done = site.run("audit", "--json", *(arguments or AN_HOUR))
    return done.returncode, json.loads(done.stdout)


def let_time_pass(site: Site, sandbox: Sandbox, seconds: int = 120) -> None:
    """All that was made so far is older than what a list may not show yet."""
    sandbox.age(seconds)
    ago = f"interval '{seconds} seconds'"
    site.query(f"UPDATE generations SET requested_at = requested_at - {ago}")
    site.query(f"UPDATE imagegen_duplicates SET made_at = made_at - {ago}")


def make(site: Site, *prompts: str) -> None:
    """Let the real main job make an image for each prompt."""
    site.settings["IMAGEGEN_TEST_SETTLE_SECONDS"] = "2"
    site.mint(*prompts)
    with site.supervisor() as program:
        assert site.wait_until_done() == {"uploading": len(prompts)}
        program.stop()


def test_an_audit_explains_lost_answers_and_duplicates_and_counts_strangers_by_source(
    site: Site, sandbox: Sandbox
) -> None:
    sandbox.faults.add(
        Fault.resets(creates=True, prompt="lost", times=1),
        Fault.repeats(504, prompt="sent twice, answered with an error", times=1),
    )
    make(site, "one", "two", "an answer that is lost", "sent twice, answered with an error")
    for number in range(3):
        sandbox.add(f"played {number}", model=MODEL, source="web")
        sandbox.add(f"of another program {number}", model=MODEL, seed=number)
        sandbox.add("a summary", model="meta/llama")
    let_time_pass(site, sandbox)

    code, told = audit(site)

    assert code == 0, told
    assert (told["account"], told["complete"]) == ("sandbox", True)
    assert (told["predictions"], told["explained"], told["cancelled_duplicates"]) == (14, 4, 1)
    strangers = [(each["source"], each["model"]) for each in told["strangers"]]
    assert strangers == [("api", MODEL), ("api", "meta/llama"), ("web", MODEL)]
    assert told["unexplained"] == 0
    assert site.query("SELECT account, unexplained FROM imagegen_audits") == [("sandbox", 0)]


def test_predictions_that_the_ledger_or_replicate_lacks_are_named_with_their_cost(
    site: Site, sandbox: Sandbox
) -> None:
    sandbox.faults.add(Fault.repeats(times=1))
    site.settings["IMAGEGEN_TEST_SETTLE_SECONDS"] = "2"
    site.mint("sent twice")
    with site.supervisor(procs=1) as program:
        site.wait_until_done()
        insert_generation(site, token_id=7, prediction_id="unknown0000", account="sandbox")
        insert_generation(site, token_id=8, prediction_id="another0000", account="another")
        let_time_pass(site, sandbox)

        code, told = audit(site, *AN_HOUR, *PRICED)
        metrics = program.metrics()

    assert code == 1
    assert {each["kind"]: (each["token_id"], each["usd"], each["usd_perhaps"])
            for each in told["findings"]} == {
        "duplicate": (1, 0.003, 0.0), "unknown": (7, 0.0, 0.003),
    }  # fmt: skip
    assert (told["unexplained"], told["of_other_accounts"]) == (2, 1)
    assert "audit      2 unexplained, " in site.run("status").stdout
    assert metrics["imagegen_audit_unexplained"] == 2
    assert metrics["imagegen_audit_age_seconds"] < 60


def test_a_list_that_cannot_be_read_to_its_end_is_reported_and_not_recorded(
    site: Site, sandbox: Sandbox
) -> None:
    sandbox.faults.add(Fault.answers(503, operation="list"))

    done = site.run("audit")

    assert done.returncode == 1
    assert "imagegen: the list could not be read to its end: HTTP 503" in done.stderr
    assert site.query("SELECT * FROM imagegen_audits") == []


def test_no_generation_is_missed_where_a_page_of_the_list_ends(
    site: Site, sandbox: Sandbox
) -> None:
    site.settings["IMAGEGEN_TEST_SETTLE_SECONDS"] = "2"
    ids = [sandbox.add(f"picture {n}", model=MODEL, seed=n) for n in range(250)]
    # Requested up to ten seconds before it was made, so before many others of another page.
    site.query(
        """INSERT INTO generations (token_id, attempt, model, seed, lease_until, state, opened_at,
               closed_at, requested_at, prediction_id, image_url, account)
           SELECT n, 1, 'owner/name', n, now(), 'succeeded', now(), now(),
               now() - mod(n * 7, 10) * interval '1 s', id, 'https://a/b.webp', 'sandbox'
           FROM unnest(%s::text[]) WITH ORDINALITY listed (id, n)""",
        [*ids, "unknown0000"],
    )
    let_time_pass(site, sandbox)

    code, told = audit(site)

    assert code == 1
    assert (told["predictions"], told["explained"], told["unexplained"]) == (250, 250, 1)
    assert [each["prediction_id"] for each in told["findings"]] == ["unknown0000"]
    assert len(sandbox.ledger.of("list")) == 3
