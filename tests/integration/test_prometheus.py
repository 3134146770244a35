"""What deploy/ tells Prometheus and Grafana, tried on a real Prometheus that watches a bad day."""

import contextlib
import json
import math
import re
import shutil
import signal
import subprocess
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from imagegen.sandbox import Fault, Sandbox
from imagegen.supervisor.forking import dies_with_this_process
from tests.support.pooler import PgBouncer
from tests.support.postgres import PostgresServer
from tests.support.processes import Program, Site, wait_for

DEPLOY = Path(__file__).parents[2] / "deploy"
DASHBOARD = json.loads((DEPLOY / "grafana/imagegen.json").read_text(encoding="utf-8"))
PANELS = {panel["title"]: panel for panel in DASHBOARD["panels"]}
VARIABLES = {"$__rate_interval": "5s", "$__interval_ms": "1000", "$instance": ".*"}
METRIC = re.compile(r"\b(?:instance:)?imagegen_[a-z_]+(?::\w+)?")
# What the package brings in /etc/prometheus, shortened.
DEBIANS = """\
global:
  scrape_interval:     15s
rule_files:
  # - "first_rules.yml"

scrape_configs:
  - job_name: 'prometheus'
    static_configs:
      - targets: ['localhost:9090']
"""
TRANSIENT = "Director: unexpected error handling prediction (E6716)"


pytestmark = pytest.mark.skipif(
    not (shutil.which("prometheus") and shutil.which("promtool")),
    reason="Debian's package prometheus is not installed: alerts and dashboard are not tried",
)


@dataclass(frozen=True)
class Prometheus:
    """A running one."""

    url: str
    started: float  # Unix time

    def ask(self, path: str, **parameters: str | float) -> Any:
        answer = httpx.get(f"{self.url}/api/v1/{path}", params=parameters, trust_env=False)
        body = answer.json()
        assert body["status"] == "success", f"{parameters}: {body['error']}"
        assert not body.get("warnings"), body["warnings"]
        return body["data"]

    def values(self, expression: str) -> list[float]:
        """Every number that a panel would show of it."""
        query, now = filled_in(expression, VARIABLES), time.time()
        found = self.ask("query_range", query=query, start=self.started, end=now, step=1)
        numbers = [float(value) for series in found["result"] for _, value in series["values"]]
        return [number for number in numbers if not math.isnan(number)]

    def rules(self) -> list[dict[str, Any]]:
        return [rule for group in self.ask("rules")["groups"] for rule in group["rules"]]

    def firing(self, alert: str) -> list[dict[str, Any]]:
        alerts = self.ask("alerts")["alerts"]
        firing = [each for each in alerts if each["state"] == "firing"]
        return [each for each in firing if each["labels"]["alertname"] == alert]


def filled_in(expression: str, variables: dict[str, str]) -> str:
    """A panel's query with what Grafana puts into it."""
    for variable, value in variables.items():
        expression = expression.replace(variable, value)
    return expression


@contextlib.contextmanager
def prometheus(folder: Path, metrics_url: str) -> Iterator[Prometheus]:
    """Prometheus with the deployed configuration, on another target, and quicker."""
    target = metrics_url.removeprefix("http://").removesuffix("/metrics")
    configuration = (DEPLOY / "prometheus/prometheus.yml").read_text().replace("15s", "1s")
    rules = (DEPLOY / "prometheus/imagegen.rules.yml").read_text()
    (folder / "prometheus.yml").write_text(configuration.replace("127.0.0.1:9464", target))
    quicker = re.sub(r"for: \d+m", "for: 1s", rules).replace("[2m]", "[5s]")
    (folder / "imagegen.rules.yml").write_text(quicker)
    log = folder / "log"
    with log.open("w") as stderr, subprocess.Popen(
        [
            "prometheus", f"--config.file={folder}/prometheus.yml",
            f"--storage.tsdb.path={folder}/data", "--web.listen-address=127.0.0.1:0",
        ],
        stderr=stderr, preexec_fn=dies_with_this_process(signal.SIGKILL),  # noqa: PLW1509
    ) as process:  # fmt: skip
        try:
            found = wait_for("Prometheus to listen", lambda: listening(process, log))
            yield Prometheus(f"http://{found}", time.time())
        finally:
            process.kill()


def listening(process: "subprocess.Popen[bytes]", log: Path) -> str | None:
    assert process.poll() is None, log.read_text()
    found = re.search(r'msg="Listening on" address=(\S+)', log.read_text())
    ready = "Server is ready to receive web requests" in log.read_text()
    return found[1] if found and ready else None


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
            "IMAGEGEN_PRICE": "0.003",
            "IMAGEGEN_DAILY_LIMIT": "1000",
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
    running.kill(running.worker_pids()["worker-0"])
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


@pytest.mark.parametrize("name", ["prometheus.yml", "prometheus.compose.yml"])
def test_promtool_finds_nothing_wrong_with_the_configuration(name: str) -> None:
    assert "SUCCESS" in promtool("check", "config", "--lint-fatal", name)


def test_what_the_readme_does_to_debians_prometheus_makes_it_scrape_imagegen(
    tmp_path: Path,
) -> None:
    (tmp_path / "prometheus.yml").write_text(DEBIANS)
    readme = (DEPLOY / "README.md").read_text(encoding="utf-8")
    (steps,) = re.findall(r"```sh\nsudo apt install prometheus\n(.*?)```", readme, re.DOTALL)
    here = steps.replace("/etc/prometheus", str(tmp_path)).replace(
        "sudo systemctl", "echo systemctl"
    )

    done = subprocess.run(
        ["sh", "-euc", here.replace("sudo ", "")],
        cwd=DEPLOY.parent, capture_output=True, text=True, check=True,
    )  # fmt: skip

    assert done.stdout.endswith("systemctl reload prometheus\n")
    then, ours = (
        yaml.safe_load((folder / "prometheus.yml").read_text())
        for folder in (tmp_path, DEPLOY / "prometheus")
    )
    assert then["rule_files"] == ours["rule_files"]
    assert [job["job_name"] for job in then["scrape_configs"]] == ["prometheus", "imagegen"]
    assert then["scrape_configs"][1:] == ours["scrape_configs"]


def test_in_compose_the_target_is_another_and_nothing_else() -> None:
    here, compose = (
        (DEPLOY / "prometheus" / name).read_text().partition("global:")[2]
        for name in ("prometheus.yml", "prometheus.compose.yml")
    )

    assert here.replace("127.0.0.1:9464", "imagegen:9464") == compose


def test_the_rules_pass_their_own_tests() -> None:
    tests = [path.name for path in (DEPLOY / "prometheus").glob("*.test.yml")]

    assert "SUCCESS" in promtool("test", "rules", *tests)


def promtool(*arguments: str, stdin: str = "") -> str:
    """What it says where it finds nothing wrong."""
    done = subprocess.run(
        ["promtool", *arguments],
        cwd=DEPLOY / "prometheus", input=stdin, capture_output=True, text=True, check=False,
    )  # fmt: skip
    said = done.stdout + done.stderr
    assert done.returncode == 0, said
    return said
