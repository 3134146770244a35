"""The parts of a night: its schedule, deploy's rules in its time, the runbook's commands."""

import re
from pathlib import Path

import pytest

from tests.drills.night_mishaps import MISHAPS
from tests.drills.night_schedule import CALLING, FACTOR, KINDS, plan
from tests.drills.night_watch import command_in, shortened, unbroken
from tests.support.prometheus import RULES, needs_prometheus, promtool

NIGHT = plan(7, mishaps=30, minutes=20)


def test_a_seed_always_makes_the_same_night_and_another_seed_another() -> None:
    assert plan(7, mishaps=30, minutes=20) == NIGHT
    assert plan(8, mishaps=30, minutes=20) != NIGHT


def test_each_thing_goes_wrong_in_a_whole_night_one_after_the_other() -> None:
    assert len(NIGHT) == 30
    assert {mishap.kind for mishap in NIGHT} == KINDS.keys() == MISHAPS.keys()
    ends = [mishap.at_seconds + mishap.seconds for mishap in NIGHT]
    begins = [mishap.at_seconds for mishap in NIGHT[1:]]
    assert all(end <= begin for end, begin in zip(ends, begins, strict=False))
    assert ends[-1] <= 20 * 60


def test_a_short_night_has_the_mishaps_that_need_a_person_too() -> None:
    assert {mishap.kind for mishap in plan(7, mishaps=3, minutes=3)} == CALLING.keys()


@needs_prometheus
def test_every_time_of_the_rules_is_shortened_and_nothing_else(tmp_path: Path) -> None:
    rules = RULES.read_text()
    (tmp_path / "rules.yml").write_text(found := shortened(rules, FACTOR))

    promtool("check", "rules", str(tmp_path / "rules.yml"))
    assert not re.search(r"(?:for: |offset |\[|:)\d+[smhd]\b", found)
    assert "for: 12500ms" in found and "[12500ms:625ms]" in found
    assert "imagegen_oldest_waiting_seconds) > 25\n" in found
    assert re.sub(r"[\d.]+m?[smhd]?", "", found) == re.sub(r"[\d.]+m?[smhd]?", "", rules)


@pytest.mark.parametrize(
    ("alert", "description", "command"),
    [
        ("GateClosed", "Reasons of the refusals: no_credit.", "systemctl reload imagegen"),
        ("GateClosed", "Reasons of the refusals: unauthorized.", "systemctl restart imagegen"),
        ("NoCopies", "For five minutes no image could be copied.", "imagegen doctor"),
    ],
)
def test_an_alert_that_calls_a_person_leads_to_one_command(
    alert: str, description: str, command: str
) -> None:
    runbook = f"deploy/RUNBOOK.md#imagegen{alert.lower()}"
    annotations = {"description": description, "runbook": runbook}

    assert command_in({"labels": {"alertname": alert}, "annotations": annotations}) == command


def test_an_alert_that_pauses_has_fired_twice() -> None:
    assert unbroken([1.0, 1.5, 2.0, 4.0, 4.5], 0.5) == [(1.0, 2.0), (4.0, 4.5)]
