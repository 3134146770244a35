"""Compares `imagegen audit` at the end of a drill with the sandbox's ledger."""

import json
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from imagegen.audit import youngest_seconds
from tests.benchmarks.figures import Figure
from tests.drills.stage import Stage
from tests.support.judge import (
    crashed,
    inconsistent,
    unaccounted_requests,
    unfinished,
)
from tests.support.processes import Site, wait_for
from tests.support.sandbox import Sandbox

# An audit of a user takes a tenth of the requests that workers may send. Nobody else is at work.
QUICKLY = ("--poll-budget", "600000")
# Without a marker a request is known by its prompt and its time.
MOST_TWICE_WITHOUT_MARKER = 1 / 1000
KNOWN = "SELECT prediction_id FROM generations UNION SELECT prediction_id FROM imagegen_duplicates"


@dataclass(frozen=True)
class Audited:
    """What `imagegen audit --json` told."""

    code: int
    told: dict[str, Any]

    @property
    def named(self) -> dict[str, dict[str, Any]]:
        """What it found unexplained, by the prediction."""
        return {each["prediction_id"]: each for each in self.told["findings"]}


def audit(stage: Stage, *arguments: str, lag_seconds: float = 0.0) -> Audited:
    """Audit all predictions of the last hour, once the list shows the youngest for sure."""
    settle_seconds = float(stage.site.settings["IMAGEGEN_TEST_SETTLE_SECONDS"])
    newest = max(each.created_seconds for each in stage.sandbox.predictions)
    old_enough = newest + max(youngest_seconds(settle_seconds), lag_seconds) + 1.0
    wait_seconds = old_enough - time.monotonic()
    wait_for(
        "the newest prediction to be old enough for an audit",
        lambda: time.monotonic() > old_enough, wait_seconds + 10.0,
    )  # fmt: skip
    done = stage.site.run("audit", "--json", "--since", "1h", *QUICKLY, *arguments)
    assert done.stdout, done.stderr
    return Audited(done.returncode, json.loads(done.stdout))


@dataclass(frozen=True)
class Bill:
    """What was paid, by the sandbox, and what the audit made of it."""

    tokens: int
    twice: dict[str, int]  # how many images were paid for, by prompt, where more than one
    unknown: frozenset[str]  # predictions that succeeded, and that the database does not have
    audited: Audited

    @property
    def unnamed(self) -> set[str]:
        """What the audit should have named."""
        return set(self.unknown - self.audited.named.keys())

    @property
    def falsely_named(self) -> set[str]:
        return set(self.audited.named.keys() - self.unknown)

    @property
    def twice_and_unnamed(self) -> list[str]:
        """Prompts that were paid for more often than the audit says."""
        named = Counter(each["token_id"] for each in self.audited.named.values())
        return [
            prompt for prompt, times in self.twice.items() if named[token_of(prompt)] < times - 1
        ]

    def figures(self, *, has_marker: bool) -> list[Figure]:
        allowed = 0 if has_marker else int(self.tokens * MOST_TWICE_WITHOUT_MARKER)
        told = self.audited.told
        return [
            Figure("tokens that were paid for twice", len(self.twice), "", at_most=allowed),
            Figure("of these, not named by the audit", len(self.twice_and_unnamed), "", at_most=0),
            Figure("predictions in the audit", told["predictions"], ""),
            Figure("explained", told["explained"], ""),
            Figure("unexplained", told["unexplained"], "", at_most=0 if has_marker else None),
            Figure("paid, unknown and not named", len(self.unnamed), "", at_most=0),
            Figure("named without a reason", len(self.falsely_named), "", at_most=0),
            Figure("too recent to be audited", told["too_recent"], "", at_most=0),
        ]


def make_out(stage: Stage, lag_seconds: float) -> Bill:
    """Audit, and compare. Each token has a prompt of its own; the list lags by so much."""
    audited = audit(stage, lag_seconds=lag_seconds)
    predictions = stage.sandbox.predictions
    known = {row[0] for row in stage.site.query(KNOWN)}
    twice = {prompt: times for prompt, times in predictions.paid_by_prompt().items() if times > 1}
    unknown = frozenset(each.id for each in predictions.paid() if each.id not in known)
    return Bill(stage.minted, twice, unknown, audited)


def token_of(prompt: str) -> int:
    """Return the token of a prompt as `Stage.mint` makes it."""
    return int("".join(filter(str.isdigit, prompt)))


def violations(site: Site, sandbox: Sandbox) -> Iterator[str]:
    """What breaks a promise, besides what the bill shows."""
    yield from unfinished(site)
    yield from unaccounted_requests(site, sandbox)
    yield from inconsistent(site)
    yield from crashed(site)
