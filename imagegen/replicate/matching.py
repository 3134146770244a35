"""Finds the prediction of a request in Replicate's list: pure functions, as in `outcomes`."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from imagegen.failures import longest_settle_seconds
from imagegen.replicate import facts
from imagegen.replicate.replies import Listed, Prediction

Period = tuple[datetime, datetime]
ALWAYS: Period = (datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC))
ENDED_WITHOUT_IMAGE = {"failed", "canceled", "aborted"}
# The time at which a list was sent is in whole seconds.
ROUNDED = timedelta(seconds=1)


@dataclass(frozen=True)
class Request:
    """A request whose prediction is looked for."""

    prompt: str | None  # None: not known
    # The prediction carries one of these, the seeds of successive generations. Empty: no marker.
    seeds: Sequence[int] = ()
    made: Period = ALWAYS  # when the prediction can have been made
    has_settled: bool = True  # the list cannot lack its prediction any more
    # The model that made the prediction; None: any.
    model: str | None = None
    returns_marker: bool = True  # False: the model was seen to return none


@dataclass(frozen=True)
class Found:
    """The request made this prediction. It made the others too if something sent it again."""

    prediction: Prediction
    others: tuple[Prediction, ...] = ()


@dataclass(frozen=True)
class Absent:
    """Replicate's list holds no prediction of this request."""


@dataclass(frozen=True)
class Expired:
    """The list no longer shows it: Replicate deletes inputs after an hour."""


def must_show(listed: Listed, age_seconds: float, settle_seconds: float) -> bool:
    """Return whether a list, which may lag, must hold the prediction of a request of this age.

    It must if it holds any prediction that was made after the settle time of the request. Both
    times are by Replicate's clocks, which may differ by the part of the settle time that is kept
    for the list. If nothing else was made, it must when the request is older than any lag.
    """
    if age_seconds >= longest_settle_seconds(settle_seconds):
        return True
    if listed.sent_at is None:
        return False
    latest = listed.sent_at + ROUNDED
    settled_at = latest - timedelta(seconds=age_seconds - settle_seconds)
    made_at = [item.created_at for item in listed.predictions if item.created_at is not None]
    return any(settled_at < each <= latest for each in made_at)


def candidates(listed: Collection[Prediction], request: Request) -> set[str]:
    """Return the ids of all predictions that may be the request's. `known_ids` of `match_request`
    need to hold only those of them that belong to other generations."""
    by_prompt = _is_known_by_prompt(listed, request)
    return {
        item.id
        for item in listed
        if item.seed in request.seeds
        or (
            (item.data_removed or (by_prompt and item.prompt == request.prompt))
            and _may_be_ours(item, request)
        )
    }


def match_request(
    listed: Collection[Prediction], request: Request, known_ids: Collection[str]
) -> Found | Absent | Expired:
    """Return the prediction that a request made, from a list with the newest first.

    A seed alone decides: Replicate lists some models under another name than was asked for, and may
    return a prompt changed. Two requests have the same seed once in a billion. `known_ids` are
    predictions that belong to other generations.

    If several of the seeds are found, the prediction of the first that may have an image is
    returned. Its outcome is decided again, and then the next one is looked for.

    Without a marker, or if the list shows that the model returns none, an unknown prediction of
    this model with this prompt and of about that time is returned, but only once the request has
    settled: before, it may belong to a generation whose worker has not recorded it yet.
    """
    unknown = [item for item in listed if item.id not in known_ids]
    carriers = [[item for item in unknown if item.seed == seed] for seed in request.seeds]
    if ours := [same_seed for same_seed in carriers if same_seed]:
        return _best(next(filter(_may_have_image, ours), ours[0]))
    unknown = [item for item in unknown if _may_be_ours(item, request)]
    model = request.model and facts.model_name(request.model)
    of_model = [item for item in unknown if not model or item.model in (None, model)]
    if _is_known_by_prompt(listed, request):
        alike = [item for item in unknown if request.prompt and item.prompt == request.prompt]
        if same_model := [item for item in alike if item in of_model]:
            found = _best(same_model)
            return Found(found.prediction) if isinstance(found, Found) else found
        if alike and not any(item.model == model for item in listed):
            return Expired()  # perhaps the model has another name there
    return Expired() if any(item.data_removed for item in of_model) else Absent()


def _is_known_by_prompt(listed: Collection[Prediction], request: Request) -> bool:
    """Return whether a request has no marker, or the list shows that the model returns none."""
    if not request.has_settled:
        return False
    has_marker = request.seeds and request.returns_marker
    return not has_marker or all(item.seed is None for item in listed)


def _may_have_image(items: list[Prediction]) -> bool:
    return any(item.status not in ENDED_WITHOUT_IMAGE for item in items)


def _best(newest_first: list[Prediction]) -> Found | Expired:
    """Return the earliest that succeeded, else the earliest that runs, else the earliest."""
    if not all(item.id for item in newest_first):
        return Expired()  # without an id it cannot be polled
    earliest_first = newest_first[::-1]
    best, *others = sorted(earliest_first, key=_rank)
    return Found(best, tuple(item for item in others if item.status not in ENDED_WITHOUT_IMAGE))


def _rank(item: Prediction) -> int:
    return 0 if item.status == "succeeded" else 2 if item.status in ENDED_WITHOUT_IMAGE else 1


def _may_be_ours(item: Prediction, request: Request) -> bool:
    """Return whether a prediction may be the request's by its time and its source (`web` is a
    person at the playground)."""
    if item.source == "web":
        return False
    return item.created_at is None or request.made[0] <= item.created_at <= request.made[1]
