"""`imagegen limits`: the limits of all hosts, changed without a restart."""

import json
from decimal import Decimal

import pytest

from imagegen.failures import Reason
from imagegen.queue import DailyLimitError
from tests.support.judge import judge
from tests.support.processes import Site, wait_for
from tests.support.queue_fixtures import MakeQueue, claim, claim_one, record_request
from tests.support.sandbox import Sandbox


def limits(site: Site, *arguments: str) -> str:
    done = site.run("limits", *arguments)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


def test_the_limits_that_hold_are_shown_with_their_source(site: Site) -> None:
    site.settings["IMAGEGEN_CREATE_RATE"] = "30"
    before = json.loads(limits(site, "--json"))
    limits(site, "--daily", "5000", "--reason", "the drop")
    text = limits(site, "--create-rate", "60")
    after = json.loads(limits(site, "--daily", "setting", "--json"))

    assert before == {
        "daily_limit": {"value": None, "source": "default"},
        "daily_budget": {"value": None, "source": "default"},
        "create_rate": {"value": 30, "source": "environment"},
        "changed": None,
    }
    assert "daily limit   5,000 predictions in any 24 hours, over all hosts  (set by" in text
    assert "create rate   60 predictions a minute, each supervisor  (set by an operator" in text
    assert after["daily_limit"] == {"value": None, "source": "default"}
    assert after["create_rate"] == {"value": 60, "source": "operator"}
    assert "the drop" in str(site.query("SELECT reason FROM imagegen_acts"))


@pytest.mark.parametrize(
    "arguments", [("--daily", "few"), ("--create-rate", "none"), ("--budget", "much")]
)
def test_a_value_that_is_no_limit_is_refused(site: Site, arguments: tuple[str, str]) -> None:
    refused = site.run("limits", *arguments)

    assert refused.returncode == 2
    assert refused.stderr.startswith(f"imagegen: {arguments[0]} must be ")
    assert "setting, or a" in refused.stderr


def test_a_budget_that_admits_no_prediction_is_refused(site: Site) -> None:
    site.settings["IMAGEGEN_PRICE"] = "0.003"

    refused = site.run("limits", "--budget", "0.001")
    closed = site.run("limits", "--budget", "0")

    assert (refused.returncode, closed.returncode) == (2, 0)
    assert refused.stderr == (
        "imagegen: --budget must be 0, or at least 0.003, which one prediction may cost\n"
    )


def test_a_budget_below_the_price_on_record_is_warned_of_where_none_is_set(
    site: Site, make_queue: MakeQueue
) -> None:
    site.mint("one")
    queue = make_queue(daily_budget=Decimal(1), request_dollars=Decimal("0.003"))
    assert record_request(queue, claim_one(queue), "one")

    warned = site.run("limits", "--budget", "0.001")

    assert warned.returncode == 0
    assert warned.stderr == (
        "imagegen: the last prediction may have cost 0.003: a budget of 0.001 admits none\n"
    )


def test_a_daily_limit_of_an_operator_holds_for_what_was_claimed(
    site: Site, make_queue: MakeQueue
) -> None:
    site.mint("one", "two")
    limits(site, "--daily", "1")
    queue = make_queue(daily_limit=100)
    first, second = claim(queue)
    assert record_request(queue, first, "one")

    with pytest.raises(DailyLimitError):
        record_request(queue, second, "two")


def test_a_budget_of_an_operator_holds_until_it_is_left_to_the_setting_again(
    site: Site, make_queue: MakeQueue
) -> None:
    site.mint("one", "two")
    text = limits(site, "--budget", "0.01")
    queue = make_queue(request_dollars=Decimal("0.01"))
    first, second = claim(queue)
    assert record_request(queue, first, "one")

    assert "daily budget  0.01 dollars in any 24 hours, over all hosts  (set by an op" in text
    with pytest.raises(DailyLimitError):
        record_request(queue, second, "two")
    assert json.loads(limits(site, "--budget", "none", "--json"))["daily_budget"]["value"] is None
    queue.read_standing()
    assert record_request(queue, second, "two")


def test_a_host_that_knows_no_price_sends_nothing_while_a_budget_holds(
    site: Site, make_queue: MakeQueue
) -> None:
    site.mint("one")
    limits(site, "--budget", "10")
    queue = make_queue()
    [claimed] = claim(queue)

    assert queue.daily_allowance().closed_by is Reason.DAILY_BUDGET
    with pytest.raises(DailyLimitError):
        record_request(queue, claimed, "one")


def test_running_workers_follow_another_limit_within_seconds(site: Site, sandbox: Sandbox) -> None:
    site.mint(*[f"picture {number}" for number in range(6)])
    with site.supervisor("--daily-limit", "2") as program:
        wait_for("the limit", lambda: len(sandbox.ledger.created()) == 2)
        wait_for("the metric", lambda: program.metrics()["imagegen_daily_limit"] == 2)

        limits(site, "--daily", "none", "--create-rate", "300")

        assert site.wait_until_done(seconds=20) == {"uploading": 6}
        assert "imagegen_daily_limit" not in program.metrics()
        wait_for("the rate", lambda: program.metrics()["imagegen_create_pace"] <= 300)
        program.wait_for_event("limits.changed", count=2)
    judge(site, sandbox)
