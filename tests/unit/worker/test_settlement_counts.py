"""What the end of a token counts: once, whatever its attempts were."""

from dataclasses import replace

import pytest
from prometheus_client import REGISTRY

from imagegen.failures import Kind, Reason
from imagegen.queue import Applied, Claim, Complete, Decision, FailAttempt, Requeue, UseFallback
from imagegen.worker.settlement import report
from tests.support.generation_claims import NEW

COMPLETE = Complete("https://replicate.delivery/x.png", 1.0, 1)
FAILS = FailAttempt(Kind.TRANSIENT, "E6716", token_fails=True)


def value(name: str, **labels: str) -> float:
    return REGISTRY.get_sample_value(name, labels) or 0.0


def failed(kind: str) -> float:
    return value("imagegen_tokens_failed_total", kind=kind)


@pytest.mark.parametrize(
    ("decision", "applied", "kind"),
    [
        (FAILS, Applied(failed=True), Kind.TRANSIENT),
        (FailAttempt(Kind.CONTENT_POLICY, "NSFW", token_fails=True), Applied(failed=True),
         Kind.CONTENT_POLICY),
        (Requeue(Reason.NO_CREDIT, "402", 1.0), Applied(failed=True), Kind.GIVEN_UP),
    ],
)  # fmt: skip
def test_a_token_that_fails_is_counted_by_its_last_failure(
    decision: Decision, applied: Applied, kind: Kind
) -> None:
    before = failed(kind)
    report(NEW, decision, applied)

    assert failed(kind) == before + 1


@pytest.mark.parametrize(
    ("decision", "applied"),
    [
        (COMPLETE, Applied()),
        (replace(FAILS, token_fails=False), Applied(waits_again=True)),
        (FAILS, Applied()),  # the token was taken back meanwhile
        (Requeue(Reason.NO_CREDIT, "402", 1.0), Applied(waits_again=True)),
        (UseFallback(Kind.CONTENT_POLICY, "NSFW", "soft colours"), Applied(fallback=NEW)),
    ],
)
def test_a_token_that_goes_on_has_not_failed(decision: Decision, applied: Applied) -> None:
    before = [failed(kind) for kind in Kind]
    report(NEW, decision, applied)

    assert [failed(kind) for kind in Kind] == before


@pytest.mark.parametrize(
    ("claim", "seconds"),
    [
        (replace(NEW, waited_seconds=7.0), 10.0),
        # Adopted 20 s after its claim, which was 7 s after the mint.
        (replace(NEW, adopted=True, waited_seconds=27.0, opened_seconds_ago=20.0), 10.0),
        # The mint was at no finite time: the queue says 0.
        (replace(NEW, adopted=True, waited_seconds=0.0, opened_seconds_ago=2.0), 3.0),
        (replace(NEW, waited_seconds=-3600.0), 3.0),
    ],
)
def test_a_tokens_time_is_from_its_mint_to_its_image(claim: Claim, seconds: float) -> None:
    name = "imagegen_token_seconds"
    total, count = value(f"{name}_sum"), value(f"{name}_count")
    report(claim, COMPLETE, Applied(duration_seconds=3.0))

    assert value(f"{name}_sum") - total == pytest.approx(seconds)
    assert value(f"{name}_count") == count + 1
