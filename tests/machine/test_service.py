"""imagegen as a service of systemd: it is installed, watched, and started again."""

import contextlib
import json
import time
from collections.abc import Iterator

from imagegen.supervisor.supervisor import SPARE
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
    with drop_in(installation, f"WatchdogSec={WATCHDOG_SECONDS}s"):
        installation.debian.run("systemctl", "restart", "imagegen")
        tokens = installation.mint_into_flight(20, seconds=4.0)
        former = installation.main_pid()

        frozen_at = time.monotonic()
        installation.signal("STOP")
        started_at = installation.wait_for_restart(former, PATIENCE_SECONDS)

    assert started_at - frozen_at < WATCHDOG_SECONDS + STARTED_AGAIN_SECONDS
    assert installation.images(tokens) == 20


def test_a_wrong_setting_is_named_in_the_journal_and_not_tried_again(
    installation: Installation,
) -> None:
    wrong = "/run/imagegen-wrong.env"
    installation.debian.shell(f"echo WORKER_BATCH_SIZE=many >{wrong}")
    with drop_in(installation, f"EnvironmentFile={wrong}"):
        restarted = installation.debian.attempt("systemctl", "restart", "imagegen")
        state = installation.unit("SubState")

    tokens = installation.mint(5)
    installation.debian.run("systemctl", "restart", "imagegen")

    assert restarted.returncode != 0
    assert state == "failed"
    assert "WORKER_BATCH_SIZE" in installation.journal("--output=cat", "--priority=err")
    assert installation.images(tokens) == 5


@contextlib.contextmanager
def drop_in(installation: Installation, line: str) -> Iterator[None]:
    """Add a line to the unit until the block ends. It counts from the next start."""
    file = "/run/systemd/system/imagegen.service.d/test.conf"
    installation.debian.shell(f"mkdir -p $(dirname {file}); printf '[Service]\n{line}\n' >{file}")
    installation.debian.run("systemctl", "daemon-reload")
    try:
        yield
    finally:
        installation.debian.shell(f"rm {file} && systemctl daemon-reload")


def test_a_reload_returns_when_every_worker_is_a_new_one_and_makes_no_token_wait(
    installation: Installation,
) -> None:
    former = workers(installation)
    tokens = installation.mint_into_flight(20, seconds=3.0)

    installation.debian.shell("systemctl reload imagegen")

    following = workers(installation)
    assert len(following) == 2
    assert not former & following
    assert installation.unit("ActiveState") == "active"
    assert installation.images(tokens) == 20


def workers(installation: Installation) -> set[int]:
    """Return the newest process of each worker, by the log, without the spare one."""
    started = installation.journal("--output=cat", "--grep=worker.started")
    newest = {line["worker"]: line["pid"] for line in map(json.loads, started.splitlines())}
    return {pid for worker, pid in newest.items() if worker != SPARE}


def test_the_journal_tells_errors_from_the_rest(installation: Installation) -> None:
    installation.debian.shell(f"pkill --signal KILL --parent {installation.main_pid()}")

    def errors() -> list[str]:
        return installation.journal("--output=cat", "--priority=err").splitlines()

    wait_for("an error", lambda: any("process.died" in line for line in errors()))
    levels = {json.loads(line)["level"] for line in errors() if line.startswith("{")}
    assert levels <= {"error", "critical"}


def test_prometheus_scrapes_it_and_has_its_alerts(installation: Installation) -> None:
    prometheus = Prometheus("http://127.0.0.1:9090", time.time())

    def is_up() -> bool:
        found = prometheus.ask("query", query='up{job="imagegen"} == 1')["result"]
        return len(found) == 1

    wait_for("Prometheus to scrape imagegen", is_up, SCRAPED_SECONDS)
    assert "ImagegenDown" in {rule["name"] for rule in prometheus.rules()}
    assert not prometheus.firing("ImagegenDown")
