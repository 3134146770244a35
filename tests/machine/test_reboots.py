"""The whole machine ends while tokens are at work, PostgreSQL too, and boots again."""

from tests.machine.installation import Installation
from tests.support.processes import wait_for


def test_a_reboot_costs_no_image(installation: Installation) -> None:
    tokens = installation.mint_into_flight(20, seconds=4.0)

    installation.debian.reboot()

    assert installation.images(tokens) == 20


def test_a_power_cut_costs_no_image_and_nothing_is_paid_for_twice(
    installation: Installation,
) -> None:
    tokens = installation.mint(20)
    creates = len(installation.sandbox.ledger.creates())
    installation.sandbox.latency_seconds = 1.0
    wait_for("requests", lambda: len(installation.sandbox.ledger.creates()) > creates)

    installation.debian.cut_power()
    installation.debian.boot()

    assert installation.images(tokens) == 20
