"""What holds of what operators have asked for, as values."""

import pytest

from imagegen.database.acts import Limits, Pause


@pytest.mark.parametrize(
    ("details", "limits"),
    [
        (None, Limits()),
        ({}, Limits()),
        ({"daily_limit": 0, "create_rate": 30}, Limits(0, 30)),
        ({"daily_limit": "none", "budget": 5}, Limits("none")),
        ({"daily_limit": "many", "create_rate": 0}, Limits()),
        ({"daily_limit": -1, "create_rate": {}}, Limits()),
        ({"daily_budget": "2.50"}, Limits(daily_budget="2.50")),
        ({"daily_budget": "-1"}, Limits()),
        ({"daily_budget": 5}, Limits()),
        ([], Limits()),
        ("none", Limits()),
    ],
)
def test_only_limits_that_make_sense_are_followed(details: object, limits: Limits) -> None:
    assert Limits.of(details) == limits


@pytest.mark.parametrize(
    ("limits", "setting", "holds"),
    [(Limits(), 7, 7), (Limits(), None, None), (Limits(3), 7, 3), (Limits("none"), 7, None)],
)
def test_a_limit_of_an_operator_replaces_the_setting(
    limits: Limits, setting: int | None, holds: int | None
) -> None:
    assert limits.daily(setting) == holds


def test_a_pause_says_who_asked_for_it_when_and_why() -> None:
    pause = Pause("a@b as c", "2026-01-01T12:00:00Z", "the drop", "2026-01-01T14:00:00Z")

    assert str(pause) == (
        "by a@b as c since 2026-01-01 12:00:00 UTC, until 2026-01-01 14:00:00 UTC: the drop"
    )
