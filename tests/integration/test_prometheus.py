"""The configuration of deploy/ for Prometheus and Grafana, on a real Prometheus and a bad day."""

import json
import re
import uuid
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.support.pooler import PgBouncer
from tests.support.postgres import PostgresServer
from tests.support.processes import Program, Site, wait_for
from tests.support.prometheus import (
    DEPLOY,
    Prometheus,
    filled_in,
    needs_prometheus,
    prometheus,
    promtool,
)
from tests.support.sandbox import Fault, Sandbox

DASHBOARD = json.loads((DEPLOY / "grafana/imagegen.json").read_text(encoding="utf-8"))
PANELS = {panel["title"]: panel for panel in DASHBOARD["panels"]}
METRIC = re.compile(r"\b(?:instance:|job:)?imagegen_[a-z_]+(?::\w+)?")
TRANSIENT = "Director: unexpected error handling prediction (E6716)"


pytestmark = needs_prometheus


@pytest.fixture(scope="module")
def database(postgres_server: PostgresServer, pooler: PgBouncer | None) -> Iterator[str]:
    name = f"test_{uuid.uuid4().hex}"
    url = postgres_server.create_database(name)
    yield pooler.url(name) if pooler else url
    postgres_server.drop_database(name)


@pytest.fixture(scope="module")
def watcher(database: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prometheus]:
    """It has seen most things go wrong, and now Replicate wants money."""
    folders = {name: tmp_path_factory.mktemp(name) for name in ("site", "copies", "prometheus")}
    with Sandbox(latency_seconds=0.2) as sandbox:
        # Everything is set that has a metric.
        settings = {
            "IMAGEGEN_TEST_HOUR_SECONDS": "60",
            "IMAGEGEN_PRICE": "0.003",
            "IMAGEGEN_DAILY_LIMIT": "1000",
            "IMAGEGEN_DAILY_BUDGET": "1000",
            "IMAGEGEN_KEEP_IMAGES": str(folders["copies"]),
        }
        site = Site(database, sandbox.url, folders["site"], settings)
        site.upgrade()
        with (
            site.supervisor() as running,
            prometheus(folders["prometheus"], running.metrics_url()) as watcher,
        ):
            wait_for("the first scrape", lambda: watcher.values("imagegen_workers == 2"))
            have_a_bad_day(site, sandbox, running)
            sandbox.faults.add(Fault.answers(402))
            site.mint("unpaid", first_token_id=100)
            yield watcher


def have_a_bad_day(site: Site, sandbox: Sandbox, running: Program) -> None:
    assert site.run("audit").returncode == 0
    sandbox.faults.add(
        Fault.throttles(1, times=1),
        Fault.resets(creates=True, prompt="unanswered", times=1),
        Fault.answers(500, operation="file", prompt="uncopied"),
        Fault.fails("doomed", error=TRANSIENT),
        Fault.censors("naughty"),
        Fault.outputs([], "empty", times=1),
        Fault.takes(3.0, "slow"),
    )
    odd = ["unanswered", "uncopied", "doomed", "naughty", "empty", "slow", None]
    site.mint(*odd, *(f"picture number {n}" for n in range(10)))
    wait_for("some images", lambda: site.statuses().get("uploading", 0) > 5)
    worker = running.worker_pids()["worker-0"]
    (exporter,) = {*running.children()} - {*running.worker_pids().values()}
    running.kill(worker)
    running.kill(exporter)
    site.wait_until_done()
    sandbox.faults.clear()


@pytest.mark.parametrize("title", PANELS)
def test_each_panel_shows_something(watcher: Prometheus, title: str) -> None:
    for target in PANELS[title]["targets"]:
        expression = target["expr"]
        wait_for(expression, lambda: watcher.values(expression), seconds=10)  # noqa: B023


@pytest.mark.parametrize(
    ("title", "counter"),
    [
        ("Failures", 'imagegen_failures_total{instance="a:9464", kind="transient"}'),
        ("Refusals", 'imagegen_refusals_total{instance="a:9464", reason="no_credit"}'),
    ],
)
def test_the_bars_of_a_panel_add_up_to_what_happened(
    tmp_path: Path, title: str, counter: str
) -> None:
    # With a bar a minute, as the panel wants it at least, and a scrape every 15 s.
    assert PANELS[title]["interval"] == "1m"
    grafana = {"$__rate_interval": "75s", "$__interval_ms": "60000", "$instance": ".*"}
    bars = filled_in(PANELS[title]["targets"][0]["expr"], grafana)
    half_an_hour = {"expr": f"sum(round(sum_over_time(({bars})[30m:1m])))", "eval_time": "60m"}
    four_a_minute = {"series": counter, "values": "0+1x300"}
    test = {
        "interval": "15s",
        "input_series": [four_a_minute],
        "promql_expr_test": [half_an_hour | {"exp_samples": [{"labels": "{}", "value": 31 * 4}]}],
    }
    (tmp_path / "bars.yml").write_text(json.dumps({"tests": [test]}))

    assert "SUCCESS" in promtool("test", "rules", str(tmp_path / "bars.yml"))


def test_a_replaced_worker_is_marked_in_the_dashboard(watcher: Prometheus) -> None:
    (annotation,) = DASHBOARD["annotations"]["list"]

    assert watcher.values(annotation["expr"])


def test_every_rule_can_be_evaluated(watcher: Prometheus) -> None:
    wait_for(
        "every rule to have been looked at",
        lambda: all(rule["health"] != "unknown" for rule in watcher.rules()),
    )

    assert {rule["name"]: rule.get("lastError") for rule in watcher.rules()} == {
        rule["name"]: None for rule in watcher.rules()
    }


def test_rules_and_panels_name_no_metric_that_is_not_there(
    watcher: Prometheus,
) -> None:
    rules = (DEPLOY / "prometheus/imagegen.rules.yml").read_text()
    named = set(METRIC.findall(rules + json.dumps(DASHBOARD)))

    assert len(named) > 20
    assert named - set(watcher.ask("label/__name__/values")) == set()


def test_an_alert_says_what_is_wrong_how_bad_it_is_and_where_the_runbook_is(
    watcher: Prometheus,
) -> None:
    for rule in watcher.rules():
        if rule["type"] == "alerting":
            assert rule["labels"]["severity"] in {"critical", "warning", "info"}
            assert {"summary", "description", "runbook"} == rule["annotations"].keys()
            section = f"deploy/RUNBOOK.md#{rule['name'].lower()}"
            assert rule["annotations"]["runbook"] == section


def test_an_account_without_credit_is_alerted_with_that_reason_if_a_single_token_waits(
    watcher: Prometheus,
) -> None:
    (alert,) = wait_for("the alert", lambda: watcher.firing("ImagegenGateClosed"))

    assert "Reasons of the refusals: no_credit." in alert["annotations"]["description"]


def test_promtool_finds_nothing_wrong_with_the_metrics(
    watcher: Prometheus,
) -> None:
    (target,) = watcher.ask("targets")["activeTargets"]
    text = httpx.get(target["scrapeUrl"], trust_env=False).text

    assert promtool("check", "metrics", stdin=text) == ""
