"""Prompts that are refused for their content, through the whole program: the fallback is sent."""

from tests.support.judge import judge
from tests.support.processes import Site
from tests.support.sandbox import Fault, Sandbox


def test_a_censored_prompt_is_sent_once_though_its_fallback_is_throttled(site: Site) -> None:
    with Sandbox(latency_seconds=0.2, creates_per_minute=60, burst=1) as narrow:
        site.provider_url = narrow.url
        narrow.faults.add(Fault.censors("a scandal"))
        site.mint("a scandal", *[f"picture {number}" for number in range(5)])
        with site.supervisor(procs=1):
            assert site.wait_until_done() == {"uploading": 6}

        judge(site, narrow)
        assert len(narrow.predictions.about("a scandal")) == 1
        assert len(narrow.ledger.created()) == 7


def test_at_a_slow_pace_a_fallback_has_its_turn_before_newer_tokens(
    site: Site, sandbox: Sandbox
) -> None:
    site.settings["IMAGEGEN_CREATE_RATE"] = "60"
    sandbox.faults.add(Fault.censors("a scandal"))
    site.mint("a scandal", *[f"picture {number}" for number in range(7)])
    with site.supervisor(procs=1):
        assert site.wait_until_done() == {"uploading": 8}

    images = site.query("SELECT token_id FROM generations WHERE image_url <> '' ORDER BY closed_at")
    assert images.index((1,)) < 4, images


def test_a_lone_fallback_that_is_refused_tries_again_by_itself(
    site: Site, sandbox: Sandbox
) -> None:
    sandbox.faults.add(Fault.censors("a scandal"), Fault.answers(402, prompt="flowers", times=3))
    site.settings["FALLBACK_CENSORED_PROMPT"] = "flowers"
    site.mint("a scandal")
    with site.supervisor() as program:
        assert site.wait_until_done() == {"uploading": 1}
        assert program.events("gate.opened")

    judge(site, sandbox)
    assert len(sandbox.predictions.about("a scandal")) == 1


def test_a_refusal_that_nobody_knows_gets_the_fallback_by_the_operators_words(
    site: Site, sandbox: Sandbox
) -> None:
    site.settings["IMAGEGEN_CONTENT_POLICY_WORDS"] = "keeper says no|code 77"
    refusal = {"detail": "The Keeper says no.", "status": 422}
    sandbox.faults.add(
        Fault.answers(422, refusal, prompt="a scandal"),
        Fault.fails("an affair", error="odd (code 77)"),
    )
    site.mint("a scandal", "an affair")
    with site.supervisor(procs=1) as program:
        assert site.wait_until_done() == {"uploading": 2}
        assert len(program.events("token.censored")) == 2

    assert len(sandbox.ledger.creates()) == 4


def test_words_that_are_no_pattern_are_refused_at_the_start(site: Site) -> None:
    site.settings["IMAGEGEN_CONTENT_POLICY_WORDS"] = "("
    done = site.run("supervise")

    assert done.returncode == 78
    [line] = [each for each in done.stderr.splitlines() if "CONTENT_POLICY_WORDS" in each]
    assert "must be a regular expression" in line
