"""Replicate is away for a while: tokens wait, nothing is paid twice, and it all goes on after."""

import contextlib
import math
import time
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import httpx

from imagegen.outcomes import Reason
from imagegen.sandbox import Fault, Sandbox
from tests.benchmarks import processes
from tests.benchmarks.figures import Figure
from tests.drills.front import TlsFront
from tests.running import Program, Site, wait_for

# Longer than any client waits, so that nothing ever comes back.
SILENCE_SECONDS = 60.0
REPLIES = {
    "503": Fault.answers(503, operation=None),
    "401": Fault.answers(401, operation=None),
    # Without credit, and without the model, predictions in flight go on.
    "402": Fault.answers(402),
    "404": Fault.answers(404),
    "black-hole": Fault.black_hole(SILENCE_SECONDS, operation=None),
}
FAULTS = (*REPLIES, "refused", "tls")
# What /readyz says of each.
REASONS = {
    "503": Reason.UNAVAILABLE,
    "401": Reason.UNAUTHORIZED,
    "402": Reason.NO_CREDIT,
    "404": Reason.MISCONFIGURED,
    "black-hole": Reason.UNAVAILABLE,
    "refused": Reason.UNREACHABLE,
    "tls": Reason.UNREACHABLE,
}

# How long the speed before an outage is measured, and that after it: a few rounds of all slots.
BEFORE_SECONDS = 10.0
AFTER_SECONDS = 5.0
FULL_SPEED = 0.8  # of that before

REQUESTS = "imagegen_replicate_request_duration_seconds_count"
IMAGES = """
SELECT extract(epoch FROM closed_at)::float FROM generations
WHERE state = 'succeeded' AND requested_at >= to_timestamp(%s) ORDER BY 1"""


@dataclass(frozen=True)
class Outage:
    """One sort of outage, of a sandbox of its own."""

    fault: str
    sandbox: Sandbox
    front: TlsFront

    @property
    def settings(self) -> dict[str, str]:
        """What imagegen needs to find the sandbox, beside its URL."""
        return self.front.settings if self.fault == "tls" else {}

    @contextlib.contextmanager
    def lasting(self) -> Iterator[None]:
        match self.fault:
            case "refused":
                self.sandbox.stop()
                yield
                self.sandbox.start()
            case "tls":
                self.front.distrust()
                yield
                self.front.trust()
            case _:
                self.sandbox.faults.add(REPLIES[self.fault])
                yield
                self.sandbox.faults.remove(REPLIES[self.fault])


@contextlib.contextmanager
def prepared(fault: str, folder: Path, latency_seconds: float) -> Iterator[Outage]:
    """A sandbox that is well, and what it takes to make it ill."""
    with Sandbox(latency_seconds) as sandbox, TlsFront(sandbox.port, folder) as front:
        yield Outage(fault, sandbox, front)


@dataclass(frozen=True)
class Endured:
    """What an outage cost."""

    requests: int  # tried during the outage, of all sorts
    posts: int  # those of them that ask for a prediction
    cpu_percent: float  # of one core, all processes of imagegen, during the outage
    log_lines: int  # during the outage
    closings: list[str]  # the worker of each `gate.closed`
    not_ready: str  # what /readyz said at the end of it
    per_second_before: float  # images
    # From the end of the outage until as many images come as before, made from then on; and until
    # the last token has ended.
    full_speed_seconds: float | None
    done_seconds: float


@dataclass(frozen=True)
class Look:
    """What imagegen has done so far."""

    at: float  # Unix time, as in the database of the same machine
    requests: dict[str, float]  # by sample of the metric
    cpu_seconds: float
    log_lines: int


def endure(
    outage: Outage,
    site: Site,
    program: Program,
    *,
    work_before: int,
    seconds: float,
    patience: float,
) -> Endured:
    """Have an outage of so many seconds as soon as so many images are made, and see it through."""
    tokens = sum(site.statuses().values())
    wait_for("work", lambda: site.statuses().get("uploading", 0) >= work_before, patience)
    with outage.lasting():
        before = look(program)
        time.sleep(seconds)
        not_ready = readiness(program)
        assert REASONS[outage.fault] in not_ready, not_ready
        after = look(program)
    ended_at = time.time()
    assert site.wait_until_done(patience) == {"uploading": tokens}
    done_seconds = time.time() - ended_at
    assert len(outage.sandbox.predictions) == tokens
    closings = closings_of_gates(program)
    assert program.stop() == 0
    made_before = [at for at in images(site, 0.0) if before.at - BEFORE_SECONDS < at <= before.at]
    per_second_before = len(made_before) / BEFORE_SECONDS
    requests = {
        name: count - before.requests.get(name, 0) for name, count in after.requests.items()
    }
    return Endured(
        requests=int(sum(requests.values())),
        posts=int(sum(count for name, count in requests.items() if 'operation="create"' in name)),
        cpu_percent=100 * (after.cpu_seconds - before.cpu_seconds) / (after.at - before.at),
        log_lines=after.log_lines - before.log_lines,
        closings=closings,
        not_ready=not_ready,
        per_second_before=per_second_before,
        full_speed_seconds=seconds_until(per_second_before, images(site, ended_at), ended_at),
        done_seconds=done_seconds,
    )


def figures(endured: Endured, procs: int) -> list[Figure]:
    """Beside what is promised for an outage of ten minutes, and so for a shorter one."""
    full_speed = endured.full_speed_seconds
    return [
        Figure("POSTs during the outage", endured.posts, "", at_most=99),
        Figure("requests during the outage", endured.requests, ""),
        Figure("CPU during the outage, of one core", endured.cpu_percent, "%", at_most=2),
        Figure("lines logged during the outage", endured.log_lines, ""),
        Figure("closings of gates", len(endured.closings), "", at_most=procs),
        Figure("images before", endured.per_second_before, "/s"),
        Figure("until full speed", math.inf if full_speed is None else full_speed, "s", at_most=60),
        Figure("until all is done", endured.done_seconds, "s"),
    ]


def look(program: Program) -> Look:
    samples = program.metrics().items()
    return Look(
        at=time.time(),
        requests={name: value for name, value in samples if name.startswith(REQUESTS)},
        cpu_seconds=processes.cpu_seconds(program.pid),
        log_lines=len(program.events()),
    )


def readiness(program: Program) -> str:
    """Why imagegen is not ready, as /readyz must say."""
    url = program.metrics_url().replace("/metrics", "/readyz")
    answer = httpx.get(url, trust_env=False)
    assert answer.status_code == 503, f"/readyz answers {answer.status_code} in an outage"
    return answer.text.strip()


def closings_of_gates(program: Program) -> list[str]:
    """The worker of each `gate.closed`. Each but a worker's last was followed by `gate.opened`,
    and somebody's gate has opened."""
    told = [line for line in program.events() if line["event"] in ("gate.closed", "gate.opened")]
    for worker in {line["worker"] for line in told}:
        events = [line["event"] for line in told if line["worker"] == worker]
        assert events[0] == "gate.closed", events
        assert all(one != other for one, other in pairwise(events)), events
    assert any(line["event"] == "gate.opened" for line in told), "no gate has opened"
    return [line["worker"] for line in told if line["event"] == "gate.closed"]


def images(site: Site, since: float) -> list[float]:
    """When the images came whose requests left since then, in Unix time."""
    return [float(row[0]) for row in site.query(IMAGES, since)]


def seconds_until(per_second: float, came_at: list[float], ended_at: float) -> float | None:
    """From `ended_at` until images come at full speed, if they ever do."""
    enough = FULL_SPEED * per_second * AFTER_SECONDS
    for number, at in enumerate(came_at, 1):
        if sum(other > at - AFTER_SECONDS for other in came_at[:number]) >= enough:
            return at - ended_at
    return None
