"""The files of deploy/prometheus/, without a running Prometheus: configuration and rules."""

import re
import subprocess
from pathlib import Path

import pytest
import yaml

from tests.support.prometheus import DEPLOY, needs_prometheus, promtool

# What the package brings in /etc/prometheus, shortened.
pytestmark = needs_prometheus
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
