"""The result of an audit, and its findings."""

from collections import Counter
from dataclasses import dataclass, field
from datetime import datetime

from imagegen.audit.verdicts import UNEXPLAINED, LedgerRow, Verdict, billed_images
from imagegen.replicate import Prediction

FINDINGS_NAMED = 1000


@dataclass(frozen=True)
class Finding:
    """A prediction, or a row of the ledger, that is not explained."""

    verdict: Verdict
    prediction_id: str
    made_at: datetime | None
    model: str | None
    status: str  # Replicate's; the ledger's if Replicate does not list the prediction
    token_id: int | None
    generation_id: int | None
    images_billed: int
    images_perhaps_billed: int


@dataclass
class Audit:
    """The result of the comparison. It counts predictions that were made within the period."""

    since: datetime
    until: datetime  # younger predictions may not be listed yet
    account: str | None
    missing: str | None = None  # why the list was not read to its end
    counts: Counter[Verdict] = field(default_factory=Counter)
    strangers: Counter[tuple[str, str]] = field(default_factory=Counter)  # by source and model
    too_recent: int = 0
    of_other_accounts: int = 0  # rows of the ledger; this account's list cannot show them
    cancelled_images: int = 0
    cancelled_images_perhaps: int = 0
    images_billed: int = 0  # of unexplained predictions
    images_perhaps_billed: int = 0
    findings: list[Finding] = field(default_factory=list)  # the first ones

    @property
    def predictions(self) -> int:
        """The number of predictions that Replicate lists in the period."""
        return self.counts.total() - self.counts[Verdict.UNKNOWN]

    @property
    def unexplained(self) -> int:
        return sum(self.counts[verdict] for verdict in UNEXPLAINED)

    def add(self, finding: Finding) -> None:
        self.counts[finding.verdict] += 1
        self.images_billed += finding.images_billed
        self.images_perhaps_billed += finding.images_perhaps_billed
        if len(self.findings) < FINDINGS_NAMED:
            self.findings.append(finding)


def of_prediction(verdict: Verdict, prediction: Prediction, row: LedgerRow | None) -> Finding:
    """Return the finding for a listed prediction, with the row that it belongs to."""
    return Finding(
        verdict,
        prediction.id,
        prediction.created_at,
        prediction.model,
        prediction.status,
        row.token_id if row else None,
        row.generation_id if row else None,
        *billed_images(prediction),
    )


def of_row(row: LedgerRow) -> Finding:
    """Return the finding for a row of the ledger whose prediction Replicate does not list."""
    return Finding(
        Verdict.UNKNOWN,
        row.prediction_id or "",
        row.requested_at,
        row.model,
        row.state,
        row.token_id,
        row.generation_id,
        0,
        max(row.images or 1, 1),
    )
