"""imagegen as a service of systemd: it is installed, watched, and started again."""

import json
import time

from tests.machine.installation import Installation
from tests.support.processes import wait_for
from tests.support.prometheus import Prometheus

# systemd waits for a second. Until the workers work it takes another, or more on a busy machine.
STARTED_AGAIN_SECONDS = 2.5
PATIENCE_SECONDS = 60.0
# In place of the minute in deploy/systemd/imagegen.service.
WATCHDOG_SECONDS = 3.0
SCRAPED_SECONDS = 40.0  # Prometheus asks every 15 s


def test_the_commands_of_the_guide_install_a_service_that_makes_images(
    installation: Installation,
) -> None:
    tokens = installation.mint(20)

    assert installation.images(tokens) == 20
    assert installation.unit("ActiveState") == "active"
    assert installation.unit("UnitFileState") == "enabled"
    assert installation.unit("StatusText") == "2 of 2 workers"
    copies = installation.debian.shell("ls /var/lib/imagegen").split()
    assert {int(name.partition("-")[0]) for name in copies} >= set(tokens)


def test_a_killed_supervisor_is_back_in_seconds_and_pays_for_nothing_twice(
    installation: Installation,
) -> None:
    tokens = installation.mint_into_flight(20, seconds=4.0)
    former = installation.main_pid()
    creates = len(installation.sandbox.ledger.creates())

    killed_at = time.monotonic()
    installation.signal("KILL")
    started_at = installation.wait_for_restart(former, PATIENCE_SECONDS)

    assert started_at - killed_at < STARTED_AGAIN_SECONDS
    assert installation.images(tokens) == 20
    assert len(installation.sandbox.ledger.creates()) == creates


def test_a_frozen_supervisor_is_replaced_by_the_watchdog_of_systemd(
    installation: Installation,
) -> None:
    drop_in = "/run/systemd/system/imagegen.service.d/watchdog.conf"
    installation.debian.shell(
        f"mkdir -p $(dirname {drop_in})"
        f" && printf '[Service]\\nWatchdogSec={WATCHDOG_SECONDS}s\\n' >{drop_in}"
        " && systemctl daemon-reload && systemctl restart imagegen"
    )
    tokens = installation.mint_into_flight(20, seconds=4.0)
    former = installation.main_pid()

    frozen_at = time.monotonic()
    installation.signal("STOP")
    started_at = installation.wait_for_restart(former, PATIENCE_SECONDS)

    assert started_at - frozen_at < WATCHDOG_SECONDS + STARTED_AGAIN_SECONDS
    assert installation.images(tokens) == 20


def test_the_journal_tells_errors_from_the_rest(installation: Installation) -> None:
    installation.debian.shell(
        "pkill --signal KILL --parent $(systemctl show --value -p MainPID imagegen)"
    )
    errors = "journalctl --quiet --output=cat --priority=err _SYSTEMD_UNIT=imagegen.service"

    found = wait_for(
        "an error", lambda: installation.debian.shell(f"{errors} | grep process.died || true")
    )
    lines = [
        json.loads(line)
        for line in installation.debian.shell(errors).splitlines()
        if line.startswith("{")
    ]

    assert "process.died" in found
    assert {line["level"] for line in lines} <= {"error", "critical"}


def test_prometheus_scrapes_it_and_has_its_alerts(installation: Installation) -> None:
    prometheus = Prometheus("http://127.0.0.1:9090", time.time())

    def is_up() -> bool:
        found = prometheus.ask("query", query='up{job="imagegen"} == 1')["result"]
        return len(found) == 1

    wait_for("Prometheus to scrape imagegen", is_up, SCRAPED_SECONDS)
    assert "ImagegenDown" in {rule["name"] for rule in prometheus.rules()}
    assert not prometheus.firing("ImagegenDown")
