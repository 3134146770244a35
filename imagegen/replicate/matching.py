"""Which predictions of Replicate's list are ours: pure functions, as in `outcomes`."""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import UTC, datetime

from imagegen.replicate.replies import Listed, Prediction

Period = tuple[datetime, datetime]
ALWAYS: Period = (datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC))


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


def match_request(
    listed: Listed, prompt: str, seed: int | None, known_ids: set[str], made: Period = ALWAYS
) -> Found | Absent | Expired:
    """Return which prediction a request made, by its prompt and its own seed, within a period.

    For a model without a seed, any prediction with this prompt that belongs to no generation will
    do, and the others belong to other requests. `known_ids` are predictions that belong to other
    generations.

    The model is not compared: Replicate lists some models under another name than was asked for,
    and a match missed for that would be paid for twice. The seed is one in two billion.
    """
    unknown = [item for item in listed.predictions if item.id not in known_ids]
    ours = [item for item in unknown if item.prompt == prompt and seed in (None, item.seed)]
    if ours:
        found = _best(ours)
        return found if seed is not None else Found(found.prediction)
    if any(_may_be_it(item, prompt) for item in unknown if _is_within(item, made)):
        return Expired()
    return Absent()


def match_late(listed: Listed, seeds: Collection[int], known_ids: set[str]) -> Found | None:
    """Return what requests with these seeds made, though the list did not hold it in time."""
    ours = [item for item in listed.predictions if item.seed in seeds and item.id not in known_ids]
    return _best(ours) if ours else None


def _best(newest_first: list[Prediction]) -> Found:
    """Return the earliest that succeeded, else the earliest that runs, else the earliest."""
    rank = {"succeeded": 0, "starting": 1, "processing": 1}
    earliest_first = newest_first[::-1]
    best, *others = sorted(earliest_first, key=lambda item: rank.get(item.status, 2))
    return Found(best, tuple(others))


def _may_be_it(item: Prediction, prompt: str) -> bool:
    """Return whether its input was deleted, or is this prompt without a seed."""
    return item.data_removed or (item.prompt == prompt and item.seed is None)


def _is_within(item: Prediction, period: Period) -> bool:
    return item.created_at is None or period[0] <= item.created_at <= period[1]
