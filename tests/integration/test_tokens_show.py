"""`imagegen tokens show` shows the history of a token."""

import json
from typing import Any

from tests.support.generation_rows import HOSTILE, insert_generation, insert_tokens
from tests.support.processes import Site
from tests.support.sandbox import Fault, Sandbox
from tests.support.terminal import on_a_terminal


def shown(site: Site, token_id: int) -> Any:
    done = site.call("tokens", "show", str(token_id), "--json")
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_the_whole_history_of_a_token_is_shown(site: Site, sandbox: Sandbox) -> None:
    sandbox.faults.add(Fault.censors("naughty"))
    site.mint("a naughty picture")
    with site.supervisor("--price", "0.003", procs=1) as program:
        site.wait_until_done()
        program.stop()

    told = site.call("tokens", "show", "1").stdout
    story = shown(site, 1)

    censored, fallback = story["generations"]
    assert [item["fallback"] for item in (censored, fallback)] == [False, True]
    assert [item["state"] for item in (censored, fallback)] == ["failed", "succeeded"]
    assert {item["prediction_id"] for item in (censored, fallback)} == {
        entry.prediction_id for entry in sandbox.ledger.creates()
    }
    assert "status      uploading" in told
    assert f"generation {censored['id']}, attempt 1, failed: content_policy" in told
    assert "sent        a naughty picture" in told
    assert f"generation {fallback['id']}, attempt 1, fallback prompt, succeeded" in told
    assert f"sent        {fallback['prompt']}" in told
    assert f"prediction  {fallback['prediction_id']}" in told
    assert f"image       {story['token']['image_url']}" in told
    assert f"requested   {fallback['requested_at'][:10]} " in told
    assert f"worker      {fallback['worker']}" in told
    assert [censored["cost"], fallback["cost"]] == ["0", "0.003"]
    assert "cost        0.003 USD" in told


def test_a_history_obeys_no_prompt_either(site: Site) -> None:
    insert_tokens(site, "failed", 1, generation_error=HOSTILE, generate_after="infinity")
    insert_generation(site, 1, state="open", prompt=HOSTILE, error_message=HOSTILE)

    code, screen = on_a_terminal(site, "tokens", "show", "1")

    assert code == 0
    assert "not before  infinity" in screen
    assert "held until" in screen
    assert "\x1b]" not in screen
    assert "\u202e" not in screen


def test_a_history_of_a_thousand_refusals_ends_with_the_newest(site: Site) -> None:
    insert_tokens(site, "detected", 1)
    site.query(
        """INSERT INTO generations (token_id, attempt, model, seed, state, lease_until, closed_at)
           SELECT 1, n, 'a/b', 1, 'refused', now(), now() FROM generate_series(1, 1000) n"""
    )

    story = shown(site, 1)

    assert story["generations_left_out"] is True
    assert [item["attempt"] for item in story["generations"]] == list(range(801, 1001))
    assert "only the newest 200 generations follow" in site.call("tokens", "show", "1").stdout


def test_the_generations_of_a_deleted_token_are_still_shown(site: Site) -> None:
    insert_generation(site, 5)

    told = site.call("tokens", "show", "5")

    assert told.returncode == 0
    assert told.stdout.startswith("token 5\n  is not in tokens_s0 any more\n\ngeneration 1, ")


def test_an_unknown_token_is_one_line_and_exit_code_1(site: Site) -> None:
    told = site.call("tokens", "show", "99")

    assert (told.returncode, told.stderr) == (1, "imagegen: there is no token 99\n")
