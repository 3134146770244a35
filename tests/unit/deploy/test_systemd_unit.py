"""deploy/systemd/imagegen.service waits as long as imagegen may need, and restarts it."""

import configparser

import pytest

from imagegen.errors import CONFIGURATION
from imagegen.supervisor import supervisor
from tests.support.command_line import imagegen
from tests.support.deploy_files import (
    DEFAULTS,
    DEPLOY,
    LONGEST_STOP_SECONDS,
    README,
    seconds,
)

# What begins a line that takes a right away.
CONFINED = (
    "DynamicUser", "User", "StateDirectory", "LimitCORE", "UMask", "Private", "Protect",
    "Capability", "NoNew", "Keyring", "Lock", "Memory", "RemoveIPC", "RestrictA", "RestrictN",
    "RestrictR", "RestrictS", "SystemCall",
)  # fmt: skip


@pytest.fixture(scope="module")
def unit() -> configparser.ConfigParser:
    unit = configparser.ConfigParser(interpolation=None, strict=False)
    unit.optionxform = str  # type: ignore[assignment, method-assign]
    unit.read(DEPLOY / "systemd" / "imagegen.service")
    return unit


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
