"""What a prediction of Replicate's list is to the ledger: pure functions."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import StrEnum

from imagegen.replicate import Prediction, facts

PLAYGROUND = "web"  # a prediction's source: Replicate's website
NOT_BILLED = {"failed", "aborted"}


class Verdict(StrEnum):
    """What a prediction is, or a row of the ledger."""

    EXPLAINED = "explained"
    CANCELLED_DUPLICATE = "cancelled_duplicate"  # known, and on record
    OPEN = "open"  # of a generation that a worker still looks after
    STRANGER = "stranger"  # of the playground or of another program
    # These are unexplained.
    DUPLICATE = "duplicate"  # another one of a generation, which the ledger does not know
    LOST = "lost"  # of a request that is recorded as having made no prediction
    PERHAPS_OURS = "perhaps_ours"  # its input is deleted: a request of that time may have made it
    OTHER_ACCOUNT = "other_account"  # the ledger has it of another account
    UNKNOWN = "unknown"  # only the ledger has it


UNEXPLAINED = (
    Verdict.DUPLICATE,
    Verdict.LOST,
    Verdict.PERHAPS_OURS,
    Verdict.OTHER_ACCOUNT,
    Verdict.UNKNOWN,
)


@dataclass(frozen=True)
class LedgerRow:
    """A generation, or a duplicate that was cancelled."""

    generation_id: int
    token_id: int
    model: str
    seed: int | None
    prompt: str | None
    prediction_id: str | None
    account: str | None
    state: str
    requested_at: datetime | None
    images: int | None
    is_duplicate: bool = False


@dataclass(frozen=True)
class Ours:
    """By what predictions of imagegen are known."""

    account: str
    models: frozenset[str | None]  # names; None: a version without a name, so any may be it
    has_marker: bool = True

    def may_be_of(self, prediction: Prediction) -> bool:
        """Return whether a prediction's model is one of imagegen's."""
        return None in self.models or prediction.model in self.models


@dataclass(frozen=True)
class Related:
    """Rows of the ledger that may have to do with some predictions."""

    by_id: Mapping[str, LedgerRow] = field(default_factory=dict)
    by_seed: Mapping[int, Sequence[LedgerRow]] = field(default_factory=dict)
    # By the prediction's id: of about its time, and with its prompt unless that is deleted.
    nearby: Mapping[str, LedgerRow] = field(default_factory=dict)


def is_input_deleted(prediction: Prediction) -> bool:
    """Return whether Replicate has deleted what was sent, as it does after an hour."""
    return prediction.data_removed or (prediction.prompt is None and prediction.seed is None)


def learn(ours: Ours, explained: Iterable[tuple[Prediction, LedgerRow]]) -> Ours:
    """Return by what predictions are known, after these that are imagegen's.

    Replicate lists some models under another name than was asked for, and some show no marker.
    """
    known = list(explained)
    models: set[str | None] = {each.model for each, _ in known if each.model}
    models |= {facts.model_name(row.model) for _, row in known}
    if models - {None}:  # deployments and bare versions are listed under the names of their models
        models.discard(None)
        ours = replace(ours, models=ours.models - {None})
    shown = [each for each, _ in known if not is_input_deleted(each)]
    has_marker = ours.has_marker
    if shown and has_marker:
        has_marker = any(each.seed is not None for each in shown)
    return replace(ours, models=ours.models | models, has_marker=has_marker)


def needs_nearby(prediction: Prediction, ours: Ours) -> bool:
    """Return whether a prediction that the ledger lacks must be known by its time."""
    if prediction.source == PLAYGROUND or not ours.may_be_of(prediction):
        return False
    return is_input_deleted(prediction) or not ours.has_marker


def judge(prediction: Prediction, ours: Ours, related: Related) -> tuple[Verdict, LedgerRow | None]:
    """Return what a prediction is, and the row that it belongs to.

    The seed alone does not decide: among a million of them, one of another program is the same by
    chance once in two thousand predictions. So the model or the prompt has to agree too.
    """
    if row := related.by_id.get(prediction.id):
        if row.account not in (None, ours.account):
            return Verdict.OTHER_ACCOUNT, row
        return (Verdict.CANCELLED_DUPLICATE if row.is_duplicate else Verdict.EXPLAINED), row
    if prediction.source == PLAYGROUND:
        return Verdict.STRANGER, None
    if prediction.seed is not None and ours.has_marker:
        for row in related.by_seed.get(prediction.seed, ()):
            if _agree(prediction, ours, row):
                return _missing(row), row
    row = related.nearby.get(prediction.id) if needs_nearby(prediction, ours) else None
    if row is None:
        return Verdict.STRANGER, None
    missing = _missing(row)
    if missing is not Verdict.OPEN and is_input_deleted(prediction):
        return Verdict.PERHAPS_OURS, row
    return missing, row


def billed_images(prediction: Prediction) -> tuple[int, int]:
    """Return how many images of a prediction Replicate bills, and how many more perhaps."""
    images = prediction.images_made or prediction.images_asked or 1
    if prediction.status == "succeeded":
        return images, 0
    return 0, 0 if prediction.status in NOT_BILLED else images


def _agree(prediction: Prediction, ours: Ours, row: LedgerRow) -> bool:
    return (
        ours.may_be_of(prediction)
        or prediction.model in (None, facts.model_name(row.model))
        or (prediction.prompt is not None and prediction.prompt == row.prompt)
    )


def _missing(row: LedgerRow) -> Verdict:
    """Return what a prediction of this generation is whose id the ledger lacks."""
    if row.prediction_id is not None:
        return Verdict.DUPLICATE
    return Verdict.OPEN if row.state == "open" else Verdict.LOST
