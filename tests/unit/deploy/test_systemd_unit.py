"""deploy/systemd/: imagegen waits as long as it may need and is restarted; audits have the time."""

import configparser

import pytest

from imagegen.cli.audit import BUDGET_SHARE
from imagegen.errors import CONFIGURATION
from imagegen.supervisor import supervisor
from tests.support.command_line import imagegen
from tests.support.deploy_files import (
    DEFAULTS,
    DEPLOY,
    LONGEST_STOP_SECONDS,
    README,
    RULES,
    seconds,
)

# What begins a line that takes a right away.
CONFINED = (
    "DynamicUser", "User", "StateDirectory", "LimitCORE", "UMask", "Private", "Protect",
    "Capability", "NoNew", "Keyring", "Lock", "Memory", "RemoveIPC", "RestrictA", "RestrictN",
    "RestrictR", "RestrictS", "SystemCall",
)  # fmt: skip


def read(name: str) -> configparser.ConfigParser:
    unit = configparser.ConfigParser(interpolation=None, strict=False)
    unit.optionxform = str  # type: ignore[assignment, method-assign]
    unit.read(DEPLOY / "systemd" / name)
    return unit


@pytest.fixture(scope="module")
def unit() -> configparser.ConfigParser:
    return read("imagegen.service")


@pytest.fixture(scope="module")
def service(unit: configparser.ConfigParser) -> configparser.SectionProxy:
    return unit["Service"]


def test_systemd_waits_for_a_stop_longer_than_it_lasts(
    service: configparser.SectionProxy,
) -> None:
    assert service["KillMode"] == "mixed"
    assert seconds(service["TimeoutStopSec"]) > LONGEST_STOP_SECONDS


def test_systemd_starts_imagegen_again_unless_a_setting_is_wrong(
    service: configparser.SectionProxy,
) -> None:
    assert service["Restart"] == "always"
    assert service["RestartPreventExitStatus"] == str(CONFIGURATION)


def test_systemd_starts_imagegen_again_after_a_second_however_often_it_dies(
    unit: configparser.ConfigParser,
) -> None:
    assert seconds(unit["Service"]["RestartSec"]) == 1.0
    assert unit["Unit"]["StartLimitIntervalSec"] == "0"


def test_systemd_hides_no_boot_id_by_which_a_start_knows_the_leases_of_the_dead(
    service: configparser.SectionProxy,
) -> None:
    assert service.get("ProcSubset", "all") == "all"


def test_systemd_loses_patience_only_after_several_signs_of_life_were_missed(
    service: configparser.SectionProxy,
) -> None:
    assert (service["Type"], service["NotifyAccess"]) == ("notify", "main")
    assert seconds(service["WatchdogSec"]) > DEFAULTS.watchdog_seconds


def test_systemd_gives_a_worker_the_time_to_begin_that_the_supervisor_gives(
    service: configparser.SectionProxy,
) -> None:
    assert seconds(service["TimeoutStartSec"]) > supervisor.BOOT_SECONDS


def test_the_unit_that_prunes_is_confined_as_the_main_one_is_and_its_command_is_one() -> None:
    main, prune = (
        (DEPLOY / "systemd" / name).read_text(encoding="utf-8").splitlines()
        for name in ("imagegen.service", "imagegen-prune.service")
    )
    confined = [line for line in main if line.startswith(CONFINED)]
    (command,) = [line for line in prune if line.startswith("ExecStart=")]
    done = imagegen(*command.split()[1:], "--help")

    assert len(confined) > 20
    assert [line for line in prune if line.startswith(CONFINED)] == confined
    assert done.exit_code == 0


def test_doctor_finds_the_folder_for_copies_before_systemd_has_made_it(
    service: configparser.SectionProxy,
) -> None:
    made = README.index(f"sudo mkdir -p /var/lib/{service['StateDirectory']}\n")

    assert made < README.index("/opt/imagegen/bin/imagegen doctor")


def test_an_audit_has_the_time_that_the_pages_of_a_day_take_and_no_more_rights() -> None:
    audit, main = read("imagegen-audit.service")["Service"], read("imagegen.service")["Service"]
    rights = [name for name in main if name.startswith(("Protect", "Restrict", "SystemCall"))]

    assert seconds(audit["TimeoutStartSec"]) > 8640 / (DEFAULTS.poll_budget / 60 * BUDGET_SHARE)
    assert [audit[name] for name in rights] == [main[name] for name in rights]


def test_audits_overlap_and_the_alert_waits_for_the_next_one() -> None:
    assert read("imagegen-audit.timer")["Timer"]["OnCalendar"] == "*-*-* 05:30:00 UTC"
    assert "audit --since 25h" in read("imagegen-audit.service")["Service"]["ExecStart"]
    assert "(imagegen_audit_age_seconds) > 36 * 3600" in RULES.read_text(encoding="utf-8")
