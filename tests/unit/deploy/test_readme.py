"""The README's table of settings is made of the settings."""

from pathlib import Path

import yaml

from imagegen.config.settings import all_settings

DEPLOY = Path(__file__).parents[3] / "deploy"
README = Path(__file__).parents[3] / "README.md"


def settings_table() -> str:
    rows = []
    for spec in all_settings():
        default = "required" if not spec.optional else "not set"
        if spec.default is not None:
            default = f"`{spec.default}`"
        rows.append(f"| `{spec.variable}` | {default} | {spec.help} |")
    return "\n".join(rows)


def test_the_readme_lists_every_setting_with_its_default() -> None:
    assert settings_table() in README.read_text(encoding="utf-8")


def test_each_alert_has_its_paragraph_in_the_runbook() -> None:
    rules = yaml.safe_load((DEPLOY / "prometheus" / "imagegen.rules.yml").read_text())
    alerts = [rule for group in rules["groups"] for rule in group["rules"] if "alert" in rule]
    headings = README.read_text(encoding="utf-8").splitlines()

    assert len(alerts) > 10
    for alert in alerts:
        assert f"### {alert['alert']}" in headings
        assert alert["annotations"]["runbook"] == f"README.md#{alert['alert'].lower()}"
