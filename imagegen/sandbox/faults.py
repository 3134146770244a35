"""Faults: whom they hit, and what goes wrong.

A fault spoils either the answer to a request (`Reply`) or a prediction (`Fate`), never both: to
have both, add two. Where several match, the one that was added first hits.
"""

import json
import math
import threading
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from types import EllipsisType
from typing import Literal, Self, TypedDict, Unpack, get_args

from imagegen.sandbox import responses
from imagegen.sandbox.effects import Fate, Manner, Reply

Operation = Literal["create", "get", "list", "cancel", "file", "account", "model", "version"]

NSFW = "All generated images contained NSFW content. Try running it again with a different prompt."
NEVER = math.inf


class Aim(TypedDict, total=False):
    """Whom a fault hits."""

    prompt: str | None
    operation: Operation | None
    times: int | None


@dataclass(frozen=True, kw_only=True)
class Fault:
    """Something that goes wrong, and for whom."""

    prompt: str | None = None  # those whose prompt contains this; None: all
    operation: Operation | None = "create"  # None: all. A fate is always decided at create
    times: int | None = None  # None: until removed
    reply: Reply | None = None
    fate: Fate | None = None

    def __post_init__(self) -> None:
        if (self.reply is None) == (self.fate is None):
            raise ValueError("A fault has either a reply or a fate")
        if self.operation not in (None, *get_args(Operation)):
            raise ValueError(f"No operation: {self.operation}")
        if self.times is not None and self.times < 1:
            raise ValueError("A fault hits at least once")

    # Of the answer.

    @classmethod
    def answers(
        cls,
        status: int,
        body: object = None,
        *,
        headers: Mapping[str, str] | None = None,
        creates: bool = False,
        **aim: Unpack[Aim],
    ) -> Self:
        """This status in place of the true answer; without a body, with Replicate's usual one."""
        reply = Reply(status=status, body=body, headers=headers or {}, creates=creates)
        return cls(reply=reply, **aim)

    @classmethod
    def answers_html(cls, status: int = 200, *, creates: bool = True, **aim: Unpack[Aim]) -> Self:
        """A page, as from a proxy in between."""
        body = responses.HTML_PAGE.format("Welcome")
        return cls(reply=Reply(status=status, body=body, creates=creates), **aim)

    @classmethod
    def throttles(cls, retry_after: int = 5, **aim: Unpack[Aim]) -> Self:
        body = json.loads(responses.throttled(retry_after).body)
        return cls(reply=Reply(status=429, body=body), **aim)

    @classmethod
    def resets(cls, *, creates: bool = False, **aim: Unpack[Aim]) -> Self:
        """A TCP reset, before or after the request was carried out."""
        return cls(reply=Reply(manner="reset", creates=creates), **aim)

    @classmethod
    def late(cls, seconds: float, **aim: Unpack[Aim]) -> Self:
        """Carried out at once, answered late."""
        return cls(reply=Reply(late_seconds=seconds, creates=True), **aim)

    @classmethod
    def cuts_short(cls, **aim: Unpack[Aim]) -> Self:
        """Carried out, but the answer ends in the middle of its body."""
        return cls(reply=Reply(manner="cut", creates=True), **aim)

    @classmethod
    def drips(
        cls, seconds: float, part: Literal["head", "body"] = "body", **aim: Unpack[Aim]
    ) -> Self:
        """Carried out, and answered with a part that comes byte by byte over so many seconds."""
        manner: Manner = "drip head" if part == "head" else "drip body"
        return cls(reply=Reply(manner=manner, over_seconds=seconds, creates=True), **aim)

    @classmethod
    def changes(cls, fields: Mapping[str, object], **aim: Unpack[Aim]) -> Self:
        """Carried out, and answered with other values in these fields of the true answer."""
        return cls(reply=Reply(changes=fields, creates=True), **aim)

    @classmethod
    def black_hole(
        cls, seconds: float = NEVER, *, creates: bool = False, **aim: Unpack[Aim]
    ) -> Self:
        """No answer for so many seconds, and then the end of the connection."""
        return cls(reply=Reply(manner="silence", late_seconds=seconds, creates=creates), **aim)

    # Of the prediction.

    @classmethod
    def fails(
        cls, prompt: str | None = None, *, error: str | None, times: int | None = None
    ) -> Self:
        return cls(fate=Fate(status="failed", error=error), prompt=prompt, times=times)

    @classmethod
    def censors(cls, prompt: str | None = None, *, times: int | None = None) -> Self:
        return cls.fails(prompt, error=NSFW, times=times)

    @classmethod
    def takes(cls, seconds: float, prompt: str | None = None, *, times: int | None = None) -> Self:
        return cls(fate=Fate(latency_seconds=seconds), prompt=prompt, times=times)

    @classmethod
    def never_finishes(cls, prompt: str | None = None, *, times: int | None = None) -> Self:
        return cls.takes(NEVER, prompt, times=times)

    @classmethod
    def never_starts(cls, prompt: str | None = None, *, times: int | None = None) -> Self:
        fate = Fate(latency_seconds=NEVER, starts_after_seconds=NEVER)
        return cls(fate=fate, prompt=prompt, times=times)

    @classmethod
    def ends(cls, status: str, prompt: str | None = None, *, times: int | None = None) -> Self:
        """With any final status; one that Replicate does not have, as "queued", stays."""
        return cls(fate=Fate(status=status), prompt=prompt, times=times)

    @classmethod
    def outputs(
        cls, output: object, prompt: str | None = None, *, times: int | None = None
    ) -> Self:
        """Succeeds with another output: None, [], "{url}", {"url": "{url}"} …"""
        return cls(fate=Fate(output=output), prompt=prompt, times=times)

    @classmethod
    def hides(cls, seconds: float, prompt: str | None = None, *, times: int | None = None) -> Self:
        """For so many seconds neither get (404) nor list know of the new prediction."""
        return cls(fate=Fate(hidden_seconds=seconds), prompt=prompt, times=times)

    # Over the wire, for a sandbox in another process.

    def to_json(self) -> dict[str, object]:
        value: dict[str, object] = asdict(self)
        if self.fate is not None:
            fate = asdict(self.fate)
            if isinstance(self.fate.output, EllipsisType):
                del fate["output"]
            value["fate"] = fate
        return value

    @classmethod
    def from_json(cls, value: dict[str, object]) -> Self:
        """The fault that this JSON says. Raises TypeError or ValueError where it says none."""
        whom = {name: value[name] for name in ("prompt", "operation", "times") if name in value}
        unknown = value.keys() - whom.keys() - {"reply", "fate"}
        if unknown:
            raise ValueError(f"Not a part of a fault: {', '.join(sorted(unknown))}")
        reply, fate = value.get("reply"), value.get("fate")
        return cls(
            reply=Reply(**reply) if isinstance(reply, dict) else None,
            fate=Fate(**fate) if isinstance(fate, dict) else None,
            **whom,  # type: ignore[arg-type]
        )


class Faults:
    """The faults in force. Each request takes its own, and counts."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._in_force: list[tuple[Fault, int | None]] = []

    def add(self, *faults: Fault) -> None:
        with self._lock:
            self._in_force += [(fault, fault.times) for fault in faults]

    def remove(self, fault: Fault) -> None:
        """End a fault; nothing happens where it has run out already."""
        with self._lock:
            self._in_force = [each for each in self._in_force if each[0] != fault]

    def clear(self) -> None:
        with self._lock:
            self._in_force = []

    def take_reply(self, operation: str, prompt: str | None) -> Reply | None:
        with self._lock:
            for place, (fault, _) in enumerate(self._in_force):
                if fault.reply and fault.operation in (None, operation) and hits(fault, prompt):
                    self._count(place)
                    return fault.reply
            return None

    def take_fate(self, prompt: str) -> Fate:
        with self._lock:
            for place, (fault, _) in enumerate(self._in_force):
                if fault.fate and hits(fault, prompt):
                    self._count(place)
                    return fault.fate
            return Fate()

    def _count(self, place: int) -> None:
        fault, left = self._in_force[place]
        if left is None:
            return
        if left <= 1:
            del self._in_force[place]
        else:
            self._in_force[place] = (fault, left - 1)


def hits(fault: Fault, prompt: str | None) -> bool:
    return fault.prompt is None or (prompt is not None and fault.prompt in prompt)
