"""When a list must show what a request made, though it may lag."""

from datetime import UTC, datetime, timedelta

import pytest

from imagegen.replicate import matching
from imagegen.replicate.replies import Listed, Prediction

SENT_AT = datetime(2026, 1, 1, 12, tzinfo=UTC)
SETTLE_SECONDS = 60.0


def must_show(age_seconds: float, *made_seconds_ago: float | None, sent: bool = True) -> bool:
    """Whether a list with predictions of others, of these ages, must hold what was asked for."""
    made = [None if ago is None else SENT_AT - timedelta(seconds=ago) for ago in made_seconds_ago]
    others = tuple(Prediction(str(at), "succeeded", created_at=at) for at in made)
    listed = Listed(others, sent_at=SENT_AT if sent else None)
    return matching.must_show(listed, age_seconds, SETTLE_SECONDS)


@pytest.mark.parametrize(
    ("age_seconds", "made_seconds_ago"),
    [
        (120.0, 58.0),  # made two seconds after the request had settled
        (62.0, 0.0),
        (299.0, 0.0),
    ],
)
def test_a_list_that_holds_what_was_made_later_must_show_a_request(
    age_seconds: float, made_seconds_ago: float
) -> None:
    assert must_show(age_seconds, 500.0, made_seconds_ago)


@pytest.mark.parametrize(
    ("age_seconds", "made_seconds_ago"),
    [
        (120.0, 60.0),  # made at the end of the settle time, not after it
        (120.0, 59.5),
        (299.0, 240.0),
        (59.0, 0.0),
        (120.0, -3600.0),  # a time to come says that no clock is right
        (120.0, None),
    ],
)
def test_a_list_that_may_lag_need_not_show_a_request(
    age_seconds: float, made_seconds_ago: float | None
) -> None:
    assert not must_show(age_seconds, 500.0, made_seconds_ago)


def test_a_list_of_unknown_age_need_not_show_a_request() -> None:
    assert not must_show(120.0, 0.0, sent=False)


def test_a_list_without_any_prediction_must_show_a_request_after_five_minutes() -> None:
    assert not must_show(299.0)
    assert must_show(300.0)
