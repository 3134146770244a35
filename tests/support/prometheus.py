"""Prometheus with the configuration of deploy/, as a test asks it, and promtool."""

import contextlib
import math
import os
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from imagegen.supervisor.forking import dies_with_this_process
from tests.support.processes import wait_for

DEPLOY = Path(__file__).parents[2] / "deploy"
RULES = DEPLOY / "prometheus/imagegen.rules.yml"
VARIABLES = {"$__rate_interval": "5s", "$__interval_ms": "1000", "$instance": ".*"}

needs_prometheus = pytest.mark.skipif(
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


def quicker(rules: str) -> str:
    """Return rules whose alerts fire within seconds."""
    return re.sub(r"for: \d+m", "for: 1s", rules).replace("[2m]", "[5s]")


@contextlib.contextmanager
def prometheus(
    folder: Path,
    metrics_url: str,
    *,
    interval: str = "1s",
    change: Callable[[str], str] = quicker,
    launcher: Sequence[str] = (),
) -> Iterator[Prometheus]:
    """Prometheus with the deployed configuration, on another target, and with changed rules."""
    target = metrics_url.removeprefix("http://").removesuffix("/metrics")
    configuration = (DEPLOY / "prometheus/prometheus.yml").read_text().replace("15s", interval)
    (folder / "prometheus.yml").write_text(configuration.replace("127.0.0.1:9464", target))
    (folder / "imagegen.rules.yml").write_text(change(RULES.read_text()))
    log = folder / "log"
    with log.open("w") as stderr, subprocess.Popen(
        [
            *launcher, "prometheus", f"--config.file={folder}/prometheus.yml",
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


def promtool(*arguments: str, stdin: str = "") -> str:
    """What it says where it finds nothing wrong."""
    done = subprocess.run(
        ["promtool", *arguments],
        cwd=DEPLOY / "prometheus", input=stdin, capture_output=True, text=True, check=False,
        env=os.environ | {"GOGC": "400"},  # a fifth of its CPU time went into collecting garbage
    )  # fmt: skip
    said = done.stdout + done.stderr
    assert done.returncode == 0, said
    return said
