"""Replicate in memory, for a test that decides what becomes of every request and prediction.

It stands in for `imagegen.replicate.ReplicateClient`. Time passes when the test says so, as in
its rows.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from enum import Enum
from itertools import takewhile
from typing import Any

import pytest

from imagegen.replicate.client import ReplicateClient
from imagegen.replicate.list_page import Since
from imagegen.replicate.replies import (
    Answered,
    Listed,
    NoAnswer,
    NotSent,
    Prediction,
    Rejected,
    Reply,
)
from imagegen.worker import crash_points, polling

# Replicate deletes what a prediction took and gave.
RETENTION_SECONDS = 3600.0
# The longest that the list lags: longer than a settle time.
LIST_LAG_SECONDS = 200.0


@dataclass(frozen=True)
class Says:
    """Whether a POST makes a prediction, and what is answered; None: the prediction."""

    makes: bool
    reply: Rejected | NotSent | NoAnswer | None = None


class Post(Enum):
    """What a POST gets."""

    ACCEPTED = Says(True)
    ACCEPTED_ANSWER_LOST = Says(True, NoAnswer("ReadTimeout"))
    ACCEPTED_503 = Says(True, Rejected(503))
    MADE_NOTHING_503 = Says(False, Rejected(503))
    REQUEST_LOST = Says(False, NoAnswer("RemoteProtocolError"))
    NOT_SENT = Says(False, NotSent("ConnectError"))
    THROTTLED = Says(False, Rejected(429, retry_after_seconds=1.0))
    UNAUTHORIZED = Says(False, Rejected(401, "Unauthenticated"))
    NO_CREDIT = Says(False, Rejected(402, "Insufficient credit"))
    INTERCEPTED = Says(False, Rejected(403, page="Access denied"))
    NO_MODEL = Says(False, Rejected(404, "", "not found"))
    BAD_INPUT = Says(False, Rejected(422, "", "- input.prompt: too long"))
    CENSORED = Says(False, Rejected(422, detail="NSFW content detected"))


# The sender cannot know whether its request made a prediction.
UNKNOWN = (Post.ACCEPTED_ANSWER_LOST, Post.ACCEPTED_503, Post.MADE_NOTHING_503, Post.REQUEST_LOST)


class Fate(Enum):
    """How a prediction ends: its status, its error, its output."""

    IMAGE = ("succeeded", None, "https://replicate.delivery/{}/out-0.png")
    CENSORED = ("failed", "NSFW content detected", None)
    TRANSIENT = ("failed", "Internal error. Please try again!", None)
    OUT_OF_MEMORY = ("failed", "CUDA out of memory", None)
    DIRECTOR = ("failed", "Director: unexpected error handling prediction (E9828)", None)
    PERMANENT = ("failed", "prompt is too long", None)
    SETTING = ("failed", "width must be one of [512, 768]", None)
    UNKNOWN = ("failed", "never seen before", None)
    ACCOUNT = ("failed", "E4875: webhook URL is empty", None)
    CANCELED = ("canceled", None, None)
    ABORTED = ("aborted", None, None)
    NO_OUTPUT = ("succeeded", None, None)
    UNREADABLE = ("succeeded", None, "data:image/png;base64,")
    STUCK = ("processing", None, None)  # for ever, unless it is cancelled
    FORGOTTEN = ("forgotten", None, None)  # unknown to GET and to the list


class Look(Enum):
    """What a GET, a list or a cancel gets: the truth, which ends a prediction, or this."""

    TRUTH = None
    STILL_RUNNING = "processing"
    MISSING_FOR_A_MOMENT = Rejected(404, "", "not found")
    UNAUTHORIZED = Rejected(401, "Unauthenticated")
    BROKEN = Rejected(500)
    NOT_SENT = NotSent("ConnectError")
    UNCLEAR = NoAnswer("ReadTimeout")


@dataclass
class Script:
    """What the next requests get, in this order; then each is accepted, ends as usual, and sees the
    truth."""

    posts: list[Post] = field(default_factory=list)
    fates: list[Fate] = field(default_factory=list)
    looks: list[Look] = field(default_factory=list)
    lists_late: bool = False


@dataclass
class Made:
    """A prediction that Replicate accepted."""

    id: str
    token_id: int
    prompt: str
    seed: int
    fate: Fate
    listed_after_seconds: float
    made_at: datetime
    ended: bool = False
    canceled: bool = False
    written_off: bool = False  # by the operator, who wants another

    @property
    def age_seconds(self) -> float:
        return (datetime.now(UTC) - self.made_at).total_seconds()

    @property
    def listed(self) -> bool:
        return self.age_seconds >= self.listed_after_seconds

    @property
    def removed(self) -> bool:
        return self.ended and self.age_seconds > RETENTION_SECONDS

    @property
    def has_image(self) -> bool:
        """Whether an image is to be had, or will be."""
        return self.fate is Fate.IMAGE and not self.canceled and not self.removed

    def end(self) -> None:
        self.ended = self.ended or self.fate is not Fate.STUCK

    def cancel(self) -> None:
        self.canceled = self.canceled or not self.ended
        self.ended = True

    def forbids_another(self, *, known: bool, replace_lost: bool) -> bool:
        """Whether another prediction for its token is a second payment for one image."""
        if self.written_off or self.canceled:
            return False
        if self.fate is Fate.FORGOTTEN:
            return known and not replace_lost
        if not self.ended:
            return True
        if self.removed and replace_lost:
            return False
        return self.fate in {Fate.IMAGE, Fate.UNREADABLE}

    def shown(self) -> Prediction:
        status, error, output = self.fate.value
        if self.canceled:
            status, error, output = Fate.CANCELED.value
        elif not self.ended:
            status, error, output = Fate.STUCK.value
        if self.removed:
            return Prediction(
                self.id, status, error=error, data_removed=True, created_at=self.made_at
            )
        outputs = output and [output.format(self.id)]
        return Prediction(
            self.id, status, outputs, error, prompt=self.prompt, seed=self.seed,
            created_at=self.made_at,
        )  # fmt: skip


class FakeReplicate(ReplicateClient):
    """The account: what it made, and what it will answer."""

    def __init__(
        self,
        accepts: Callable[[str, int], int],
        knows: Callable[[str], bool],
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        """`accepts` judges a POST before it makes anything, by its prompt and seed, and returns
        the token it is for; `knows` says whether a prediction is committed."""
        self._accepts = accepts
        self._knows = knows
        self._monkeypatch = monkeypatch
        self.script, self.usual = Script(), Fate.IMAGE
        self.posts: list[tuple[int, Post]] = []
        self.made: dict[str, Made] = {}

    def of_token(self, token_id: int) -> list[Made]:
        return [made for made in self.made.values() if made.token_id == token_id]

    def time_passes(self, seconds: float) -> None:
        for made in self.made.values():
            made.end()
            made.made_at -= timedelta(seconds=seconds)

    def faults_end(self) -> None:
        """What is stuck is ended, and nothing goes wrong from here on."""
        self.script, self.usual = Script(), Fate.IMAGE
        for made in self.made.values():
            if made.fate is Fate.STUCK:
                made.cancel()

    def create(self, model: str, inputs: dict[str, Any], *, send_by: float = math.inf) -> Reply:
        script = self.script
        post = script.posts.pop(0) if script.posts else Post.ACCEPTED
        token_id = self._accepts(inputs["prompt"], inputs["seed"])
        self.posts.append((token_id, post))
        if not post.value.makes:
            assert post.value.reply
            return post.value.reply
        made = Made(
            f"prediction{len(self.made):04}", token_id, inputs["prompt"], inputs["seed"],
            fate=script.fates.pop(0) if script.fates else self.usual,
            listed_after_seconds=LIST_LAG_SECONDS if script.lists_late else 0.0,
            made_at=datetime.now(UTC),
        )  # fmt: skip
        self.made[made.id] = made
        return post.value.reply or Answered(made.shown())

    def get(self, prediction_id: str) -> Reply:
        assert self._knows(prediction_id), f"{prediction_id} is looked at before it is committed"
        made, look = self.made[prediction_id], self._look()
        # The recipe's clock is its own; so it is here that its patience has an end, or none.
        forgotten = made.fate is Fate.FORGOTTEN
        self._monkeypatch.setattr(polling, "MISSING_SECONDS", 0.0 if forgotten else 60.0)
        if isinstance(look.value, Rejected | NotSent | NoAnswer):
            return look.value
        if forgotten:
            return Rejected(404, "", "not found")
        if look is Look.TRUTH:
            made.end()
        return Answered(made.shown())

    def cancel(self, prediction_id: str) -> Reply:
        """It is carried out even where the answer is lost."""
        self.made[prediction_id].cancel()
        return self.get(prediction_id)

    def account(self) -> str | None:
        return "sandbox"

    def list(self, *since: Since) -> Listed:
        look = self._look()
        if isinstance(look.value, Rejected | NotSent | NoAnswer):
            return Listed((), look.value)
        # It holds predictions in their order: what it lacks, it lacks with all that came later.
        known = [made for made in self.made.values() if made.fate is not Fate.FORGOTTEN]
        first = min(each.asked_from for each in since)
        found = [
            made for made in takewhile(lambda made: made.listed, known) if made.made_at >= first
        ]
        listed = Listed(
            tuple(made.shown() for made in reversed(found)),
            sent_at=datetime.now(UTC).replace(microsecond=0),
        )
        crash_points.reach("listed")
        return listed

    def _look(self) -> Look:
        return self.script.looks.pop(0) if self.script.looks else Look.TRUTH
