"""Decides how a prediction of Replicate's list is explained by the ledger: pure functions."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import StrEnum

from imagegen.replicate import Prediction, facts

PLAYGROUND = "web"  # a prediction's source: Replicate's website
NOT_BILLED = {"failed", "aborted"}


class Verdict(StrEnum):
    """The audit's answer to a prediction, or to a row of the ledger."""

    EXPLAINED = "explained"
    CANCELLED_DUPLICATE = "cancelled_duplicate"  # recorded in imagegen_duplicates
    OPEN = "open"  # its generation is still at work
    STRANGER = "stranger"  # made by the playground or by another program
    # These are unexplained.
    DUPLICATE = "duplicate"  # a second prediction of a generation; the ledger does not have it
    LOST = "lost"  # its request is recorded as having made no prediction
    PERHAPS_OURS = "perhaps_ours"  # its input is deleted: a request of that time may have made it
    OTHER_ACCOUNT = "other_account"  # recorded as a prediction of another account
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
    """The marks by which imagegen's own predictions are known."""

    account: str
    models: frozenset[str | None]  # names; None: a version without a name, which may be any model
    has_marker: bool = True  # the input that Replicate lists has the seed

    def may_be_of(self, prediction: Prediction) -> bool:
        """Return whether a prediction's model is one of imagegen's."""
        return None in self.models or prediction.model in self.models


@dataclass(frozen=True)
class Related:
    """Rows of the ledger that the predictions of a page may belong to."""

    by_id: Mapping[str, LedgerRow] = field(default_factory=dict)
    by_seed: Mapping[int, Sequence[LedgerRow]] = field(default_factory=dict)
    # By the prediction's id: a request of about its time, with its prompt unless that is deleted.
    nearby: Mapping[str, LedgerRow] = field(default_factory=dict)


def is_input_deleted(prediction: Prediction) -> bool:
    """Return whether Replicate has deleted the prediction's input, as it does after an hour."""
    return prediction.data_removed or (prediction.prompt is None and prediction.seed is None)


def learn(ours: Ours, explained: Iterable[tuple[Prediction, LedgerRow]]) -> Ours:
    """Return `ours` with what these predictions, which are imagegen's, add to it.

    Replicate lists some models under another name than the one in the request. For some models it
    does not list the marker.
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
    """Return whether a prediction can be matched only by its time, if the ledger lacks its id."""
    if prediction.source == PLAYGROUND or not ours.may_be_of(prediction):
        return False
    return is_input_deleted(prediction) or not ours.has_marker


def judge(prediction: Prediction, ours: Ours, related: Related) -> tuple[Verdict, LedgerRow | None]:
    """Return the verdict on a prediction, and the row that it belongs to, if there is one.

    The seed alone is not enough. With a million seeds in the ledger, one in two thousand
    predictions of another program has one of them by chance. So the model or the prompt has to
    agree too.
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
    """Return how many images of a prediction Replicate bills, and how many more it may bill."""
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
    """Return the verdict on a prediction of this generation, if the ledger lacks its id."""
    if row.prediction_id is not None:
        return Verdict.DUPLICATE
    return Verdict.OPEN if row.state == "open" else Verdict.LOST
