"""The values that a worker and its queue exchange: claims, decisions, and their results."""

from dataclasses import dataclass


@dataclass(frozen=True)
class EarlierRequest:
    """A request of the token whose prediction Replicate's list did not hold when it had settled.
    The list may still show one."""

    seed: int
    prompt: str
    requested_at: str  # ISO 8601, UTC
    requested_seconds_ago: float
    account: str | None = None
    model: str | None = None
    written_off: bool = False  # the token failed for it, and a person wants another image


@dataclass(frozen=True)
class Doubt:
    """The database server changed after the token was minted: it may have forgotten requests."""

    seeds: list[int]  # of the forgotten requests
    since: str  # the time of the newest generation that it knew, or of the mint; ISO 8601, UTC
    since_seconds_ago: float
    noticed_at: str
    noticed_seconds_ago: float


@dataclass(frozen=True)
class Claim:
    """A generation whose lease this worker holds, with its token."""

    generation_id: int
    token_id: int
    attempt: int
    fallback: bool
    model: str
    seed: int
    author_prompt: str | None  # no more than prompts.READ_CHARACTERS of it
    wanted: bool  # the token is still there and waits for an image
    adopted: bool
    postponed: bool  # adopted, after a worker had postponed it
    waited_seconds: float  # since the mint
    opened_seconds_ago: float
    prompt: str | None = None  # as sent
    prediction_id: str | None = None
    requested_at: str | None = None  # ISO 8601, UTC
    requested_seconds_ago: float | None = None
    account: str | None = None  # the account at Replicate of the request
    server: str = ""  # the run of the database server that it was claimed from
    unresolved: tuple[EarlierRequest, ...] = ()
    doubt: Doubt | None = None
    # The decision that the database refuses to write, and for how long it has refused.
    closing: "Decision | None" = None
    closing_refused_seconds: float | None = None
    has_author: bool = True


@dataclass(frozen=True)
class History:
    """The failures of a token before its latest one, and the model's images for other tokens since
    (law 3)."""

    failures: int = 0  # in a row since its mint or reset, without the latest
    charged: int = 0  # those of them that count as attempts
    failing_since: str | None = None  # when the first of them was requested; ISO 8601, UTC
    failing_seconds: float = 0.0  # since then
    previous_kind: str | None = None
    # Another token has an image that was requested after the first of them had failed.
    image_of_later: bool = False
    # Another has got one since the first of them was requested. After it hardly any other token has
    # failed, and none that was requested later.
    image_meanwhile: bool = False

    @property
    def blames_token(self) -> bool:
        """Whether the failure is the token's own: the model makes images for other tokens."""
        return self.image_of_later or self.image_meanwhile


@dataclass(frozen=True)
class Complete:
    """The image is there: hand the token on."""

    url: str
    predict_seconds: float | None
    images: int  # in the output: Replicate bills each
    path: str | None = None  # of the copy that is kept
    sha256: str | None = None
    cost: str | None = None  # dollars, as a decimal number; None: no price is known
    handed_on: str | None = None  # the URL that the token gets, if it is another one


@dataclass(frozen=True)
class FailAttempt:
    """Close the generation as failed. The token fails too, or waits for its next attempt."""

    kind: str
    message: str
    token_fails: bool
    retry_seconds: float = 0.0
    counted: int = 0  # is added to the token's attempts; negative takes attempts back
    failures: int = 0  # as in History, with this one
    charged: int = 0
    failing_since: str | None = None
    # What the prediction used, if Replicate bills it or may bill it, and what it costs.
    images: int | None = None
    predict_seconds: float | None = None
    cost: str | None = None


@dataclass(frozen=True)
class UseFallback:
    """Close the generation as failed, and open a second one of the same attempt."""

    kind: str
    message: str
    fallback_prompt: str
    images: int | None = None  # these as in FailAttempt
    predict_seconds: float | None = None
    cost: str | None = None


@dataclass(frozen=True)
class Requeue:
    """Close the generation as refused: the token waits, uncharged (law 3), at least for
    `retry_seconds`. If the refusal `escalates`, it waits longer each time. A token that is refused
    for the give-up time fails."""

    reason: str
    message: str
    retry_seconds: float
    escalates: bool = False


@dataclass(frozen=True)
class Postpone:
    """Keep the generation open, held by no worker: any of them adopts it after `retry_seconds`."""

    retry_seconds: float


Decision = Complete | FailAttempt | UseFallback | Requeue | Postpone


@dataclass(frozen=True)
class Applied:
    """What a decision has changed."""

    waits_again: bool = False  # the token waits for another attempt
    failed: bool = False  # the token has failed
    duration_seconds: float = 0.0  # since the claim
    fallback: Claim | None = None  # the generation that follows at once
    # Set if the database refused the decision: it is kept, and tried again after `retry_seconds`.
    refused_because: str | None = None
    retry_seconds: float = 0.0


@dataclass(frozen=True)
class Repairs:
    """What a repair of the statuses did and found."""

    repaired: int
    # Tokens `generating` without a generation of imagegen's, with the version of their row.
    orphans: dict[int, str]
