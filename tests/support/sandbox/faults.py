"""Faults of the tests' sandbox: which requests they hit, and what goes wrong.

A fault spoils either the answer to a request (`ReplyScript`) or a prediction (`PredictionScript`),
never both: to have both, add two. Of several that match, the one that was added first hits.
"""

import json
import math
import threading
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from types import EllipsisType
from typing import Literal, Self, TypedDict, Unpack, get_args

from imagegen.sandbox.faults import NSFW
from tests.support.sandbox.answers import HTML_PAGE, throttled
from tests.support.sandbox.scripts import PredictionScript, ReplyScript, Transport

Operation = Literal["create", "get", "list", "cancel", "file", "account", "model", "version"]

NEVER = math.inf


class Target(TypedDict, total=False):
    """Which requests a fault hits."""

    prompt: str | None
    operation: Operation | None
    times: int | None


@dataclass(frozen=True, kw_only=True)
class Fault:
    """Something that goes wrong, and for which requests."""

    prompt: str | None = None  # those whose prompt contains this; None: all
    operation: Operation | None = "create"  # None: all. A script is always taken at create
    times: int | None = None  # None: until removed
    reply: ReplyScript | None = None
    script: PredictionScript | None = None

    def __post_init__(self) -> None:
        if (self.reply is None) == (self.script is None):
            raise ValueError("A fault has either a reply or a script")
        if self.operation not in (None, *get_args(Operation)):
            raise ValueError(f"No operation: {self.operation}")
        if self.times is not None and self.times < 1:
            raise ValueError("A fault hits at least once")

    # Faults of the answer.

    @classmethod
    def answers(
        cls,
        status: int,
        body: object = None,
        *,
        headers: Mapping[str, str] | None = None,
        creates: bool = False,
        **target: Unpack[Target],
    ) -> Self:
        """This status in place of the true answer; without a body, with Replicate's usual one."""
        reply = ReplyScript(status=status, body=body, headers=headers or {}, creates=creates)
        return cls(reply=reply, **target)

    @classmethod
    def answers_html(
        cls, status: int = 200, *, creates: bool = True, **target: Unpack[Target]
    ) -> Self:
        """A page, as from a proxy in between."""
        body = HTML_PAGE.format("Welcome")
        return cls(reply=ReplyScript(status=status, body=body, creates=creates), **target)

    @classmethod
    def throttles(cls, retry_after: int = 5, **target: Unpack[Target]) -> Self:
        body = json.loads(throttled(retry_after).body)
        return cls(reply=ReplyScript(status=429, body=body), **target)

    @classmethod
    def resets(cls, *, creates: bool = False, **target: Unpack[Target]) -> Self:
        """A TCP reset, before or after the request was carried out."""
        return cls(reply=ReplyScript(transport="reset", creates=creates), **target)

    @classmethod
    def late(cls, seconds: float, **target: Unpack[Target]) -> Self:
        """Carried out at once, answered late."""
        return cls(reply=ReplyScript(late_seconds=seconds, creates=True), **target)

    @classmethod
    def cuts_short(cls, **target: Unpack[Target]) -> Self:
        """Carried out, but the answer ends in the middle of its body."""
        return cls(reply=ReplyScript(transport="cut", creates=True), **target)

    @classmethod
    def drips(
        cls, seconds: float, part: Literal["head", "body"] = "body", **target: Unpack[Target]
    ) -> Self:
        """Carried out, and answered with a part that comes byte by byte in `seconds`."""
        transport: Transport = "drip head" if part == "head" else "drip body"
        return cls(
            reply=ReplyScript(transport=transport, over_seconds=seconds, creates=True), **target
        )

    @classmethod
    def lags(cls, seconds: float, *, times: int | None = None) -> Self:
        """The list shows a prediction `seconds` after its creation; get shows it at once."""
        reply = ReplyScript(lags_seconds=seconds, creates=True)
        return cls(reply=reply, operation="list", times=times)

    @classmethod
    def changes(cls, fields: Mapping[str, object], **target: Unpack[Target]) -> Self:
        """Carried out, and answered with other values in these fields of the true answer."""
        return cls(reply=ReplyScript(changes=fields, creates=True), **target)

    @classmethod
    def repeats(cls, status: int | None = None, **target: Unpack[Target]) -> Self:
        """A gateway sends the request twice, and answers as Replicate did the second time, or with
        this status."""
        return cls(reply=ReplyScript(repeats=1, status=status, creates=True), **target)

    @classmethod
    def black_hole(
        cls, seconds: float = NEVER, *, creates: bool = False, **target: Unpack[Target]
    ) -> Self:
        """No answer for `seconds`, and then the end of the connection."""
        return cls(
            reply=ReplyScript(transport="silence", late_seconds=seconds, creates=creates), **target
        )

    # Faults of the prediction.

    @classmethod
    def fails(
        cls, prompt: str | None = None, *, error: str | None, times: int | None = None
    ) -> Self:
        return cls(
            script=PredictionScript(status="failed", error=error), prompt=prompt, times=times
        )

    @classmethod
    def censors(cls, prompt: str | None = None, *, times: int | None = None) -> Self:
        return cls.fails(prompt, error=NSFW, times=times)

    @classmethod
    def takes(cls, seconds: float, prompt: str | None = None, *, times: int | None = None) -> Self:
        return cls(script=PredictionScript(latency_seconds=seconds), prompt=prompt, times=times)

    @classmethod
    def never_finishes(cls, prompt: str | None = None, *, times: int | None = None) -> Self:
        return cls.takes(NEVER, prompt, times=times)

    @classmethod
    def never_starts(cls, prompt: str | None = None, *, times: int | None = None) -> Self:
        script = PredictionScript(latency_seconds=NEVER, starts_after_seconds=NEVER)
        return cls(script=script, prompt=prompt, times=times)

    @classmethod
    def ends(cls, status: str, prompt: str | None = None, *, times: int | None = None) -> Self:
        """With any final status; one that Replicate does not have, as "queued", stays."""
        return cls(script=PredictionScript(status=status), prompt=prompt, times=times)

    @classmethod
    def outputs(
        cls, output: object, prompt: str | None = None, *, times: int | None = None, logs: str = ""
    ) -> Self:
        """Succeeds with another output: None, [], "{url}", {"url": "{url}"} …, and more in its
        log."""
        script = PredictionScript(output=output, logs=logs)
        return cls(script=script, prompt=prompt, times=times)

    @classmethod
    def hides(cls, seconds: float, prompt: str | None = None, *, times: int | None = None) -> Self:
        """For `seconds` neither get (404) nor list show the new prediction."""
        return cls(script=PredictionScript(hidden_seconds=seconds), prompt=prompt, times=times)

    @classmethod
    def does_not_show(cls, *inputs: str) -> Self:
        """The model drops these inputs, and nobody sees them again."""
        return cls(script=PredictionScript(without=inputs))

    # Over the wire, for a sandbox in another process.

    def to_json(self) -> dict[str, object]:
        value: dict[str, object] = asdict(self)
        if self.script is not None:
            script = asdict(self.script)
            if isinstance(self.script.output, EllipsisType):
                del script["output"]
            value["script"] = script
        return value

    @classmethod
    def from_json(cls, value: dict[str, object]) -> Self:
        """The fault that this JSON says. Raises TypeError or ValueError where it says none."""
        target = {name: value[name] for name in ("prompt", "operation", "times") if name in value}
        unknown = value.keys() - target.keys() - {"reply", "script"}
        if unknown:
            raise ValueError(f"Not a part of a fault: {', '.join(sorted(unknown))}")
        reply, script = value.get("reply"), value.get("script")
        return cls(
            reply=ReplyScript(**reply) if isinstance(reply, dict) else None,
            script=PredictionScript(**script) if isinstance(script, dict) else None,
            **target,  # type: ignore[arg-type]
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

    def is_in_force(self, fault: Fault) -> bool:
        """Return whether a fault has not run out."""
        with self._lock:
            return any(each == fault for each, _ in self._in_force)

    def take_reply(self, operation: str, prompt: str | None) -> ReplyScript | None:
        with self._lock:
            for index, (fault, _) in enumerate(self._in_force):
                if fault.reply and fault.operation in (None, operation) and hits(fault, prompt):
                    self._count(index)
                    return fault.reply
            return None

    def take_script(self, prompt: str) -> PredictionScript:
        with self._lock:
            for index, (fault, _) in enumerate(self._in_force):
                if fault.script and hits(fault, prompt):
                    self._count(index)
                    return fault.script
            return PredictionScript()

    def _count(self, index: int) -> None:
        fault, remaining = self._in_force[index]
        if remaining is None:
            return
        if remaining <= 1:
            del self._in_force[index]
        else:
            self._in_force[index] = (fault, remaining - 1)


def hits(fault: Fault, prompt: str | None) -> bool:
    return fault.prompt is None or (prompt is not None and fault.prompt in prompt)
