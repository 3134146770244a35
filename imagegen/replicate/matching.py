"""Which predictions of Replicate's list are ours: pure functions, as in `outcomes`."""

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
    # It carries one of them: those of successive generations, of which several may have asked.
    seeds: Sequence[int] = ()  # none: the model has no marker
    made: Period = ALWAYS
    has_settled: bool = True  # nothing that it made can be missing in the list
    # What another model made is not its prediction. None: whatever made it.
    model: str | None = None
    returns_marker: bool = True  # False: the model was seen to return none


@dataclass(frozen=True)
class Found:
    """The request made this prediction, and by some mishap the others too."""

    prediction: Prediction
    others: tuple[Prediction, ...] = ()


@dataclass(frozen=True)
class Absent:
    """Replicate's list holds no prediction of this request."""


@dataclass(frozen=True)
class Expired:
    """The list no longer shows it: Replicate deletes inputs after an hour."""


def must_show(listed: Listed, age_seconds: float, settle_seconds: float) -> bool:
    """Return whether a list must hold what a request of this age made, though it may lag.

    It must if it holds a prediction, whoever asked for it, that was made after the settle time of
    the request. Both times are by Replicate's clocks, and may differ by what the settle time has
    left for the list. Where nothing else is made, it must when the request is older than any lag.
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
    """Return which predictions decide what became of a request, unless they are another's: no
    other need be asked for in `known_ids` of `match_request`."""
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
    """Return which prediction a request made, of a list with the newest first.

    A seed alone decides: Replicate lists some models under another name than was asked for, and may
    return a prompt otherwise than it was sent. Two requests have the same one by chance in a
    billion. `known_ids` are predictions that belong to other generations.

    Of several generations, the first is taken that may have an image: what came of it is decided
    again, and the next one is looked for then.

    Without a marker, and where the list shows that the model returns none, an unknown prediction
    of this model with this prompt of about that time is taken. Only once the request has settled:
    before, it may be that of another generation, whose worker has not recorded it yet.
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
        return Expired()  # there is one, and nobody can ask for it
    earliest_first = newest_first[::-1]
    best, *others = sorted(earliest_first, key=_rank)
    return Found(best, tuple(item for item in others if item.status not in ENDED_WITHOUT_IMAGE))


def _rank(item: Prediction) -> int:
    return 0 if item.status == "succeeded" else 2 if item.status in ENDED_WITHOUT_IMAGE else 1


def _may_be_ours(item: Prediction, request: Request) -> bool:
    """Return whether a prediction of this time may be the request's: a person made none of ours."""
    if item.source == "web":
        return False
    return item.created_at is None or request.made[0] <= item.created_at <= request.made[1]
