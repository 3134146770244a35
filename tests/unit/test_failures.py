"""The tables of failures and refusals: complete, and as imagegen has always treated them."""

from imagegen.failures import FAILURES, REFUSALS, Billed, Kind, Reason, Retry, kinds_billed


def test_every_kind_and_every_reason_has_its_row() -> None:
    assert FAILURES.keys() == set(Kind)
    assert REFUSALS.keys() == set(Reason)


def test_another_attempt_may_bring_what_passes() -> None:
    retried = {kind for kind, failure in FAILURES.items() if failure.retry is Retry.ATTEMPT}

    assert retried == {
        Kind.TRANSIENT, Kind.OVERLOADED, Kind.UNKNOWN, Kind.CANCELED, Kind.STUBBORN, Kind.ABORTED,
        Kind.MISCONFIGURED,
    }  # fmt: skip


def test_what_is_paid_for_each_time_has_one_more_attempt() -> None:
    once_more = {kind for kind, failure in FAILURES.items() if failure.retry is Retry.ONCE_MORE}

    assert once_more == {Kind.NO_OUTPUT}


def test_the_fallback_prompt_is_for_refused_content_alone() -> None:
    helped = {kind for kind, failure in FAILURES.items() if failure.retry is Retry.FALLBACK}

    assert helped == {Kind.CONTENT_POLICY, Kind.HELD_BACK}


def test_an_image_that_was_lost_is_bought_again_only_where_the_operator_says_so() -> None:
    replaced = {kind for kind, failure in FAILURES.items() if failure.retry is Retry.IF_REPLACED}

    assert replaced == {Kind.GONE, Kind.DATA_REMOVED}


def test_what_replicate_bills_without_an_image_is_known() -> None:
    assert set(kinds_billed(Billed.YES)) == {
        Kind.NO_OUTPUT, Kind.HELD_BACK, Kind.DATA_REMOVED, Kind.UNREADABLE,
    }  # fmt: skip
    assert set(kinds_billed(Billed.PERHAPS)) == {Kind.CANCELED, Kind.GONE, Kind.UNRESOLVED}


def test_a_second_payment_can_only_follow_what_was_billed_and_is_tried_again() -> None:
    paid_twice = {kind for kind, failure in FAILURES.items() if failure.may_be_paid_twice}

    assert paid_twice == {
        Kind.NO_OUTPUT, Kind.HELD_BACK, Kind.CANCELED, Kind.GONE, Kind.DATA_REMOVED,
    }  # fmt: skip


def test_nobody_need_look_after_a_throttle_or_a_pause() -> None:
    passing = [reason for reason, refusal in REFUSALS.items() if refusal.passes_by_itself]

    assert passing == [Reason.THROTTLED, Reason.PAUSED]
