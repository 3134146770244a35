"""Replicate is away for a while: tokens wait, nothing is paid twice, and it all goes on after."""

import contextlib
import math
import time
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import httpx

from imagegen.failures import Reason
from tests.benchmarks import processes
from tests.benchmarks.figures import Figure
from tests.support.processes import Program, Site, wait_for
from tests.support.sandbox import Fault, Sandbox
from tests.support.tls_front import TlsFront

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
    readyz: str  # what it answered at the end of the outage
    gates: list[tuple[str, str]]  # worker and event of each opening and closing
    statuses: dict[str, int]  # of the tokens in the end
    per_second_before: float  # images
    # From the end of the outage until as many images come as before, made from then on; and until
    # the last token has ended.
    full_speed_seconds: float | None
    done_seconds: float

    @property
    def closings(self) -> int:
        return sum(event == "gate.closed" for _, event in self.gates)


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
    """Begin an outage of `seconds` after `work_before` images, and wait for the end of all work."""
    wait_for("work", lambda: site.statuses().get("uploading", 0) >= work_before, patience)
    with outage.lasting():
        before = look(program)
        time.sleep(seconds)
        readyz = readiness(program)
        after = look(program)
    ended_at = time.time()
    statuses = site.wait_until_done(patience)
    done_seconds = time.time() - ended_at
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
        readyz=readyz,
        gates=[
            (line["worker"], line["event"])
            for line in program.events()
            if line["event"] in ("gate.closed", "gate.opened")
        ],
        statuses=statuses,
        per_second_before=per_second_before,
        full_speed_seconds=seconds_until(per_second_before, images(site, ended_at), ended_at),
        done_seconds=done_seconds,
    )


def judge_outage(outage: Outage, endured: Endured) -> None:
    """Every token has its image, at one prediction each; imagegen told that it was not ready, and
    each gate when it closed and opened, not how often it tried."""
    assert endured.statuses == {"uploading": len(outage.sandbox.predictions)}
    assert "503" in endured.readyz and REASONS[outage.fault] in endured.readyz, endured.readyz
    for worker in {worker for worker, _ in endured.gates}:
        events = [event for whose, event in endured.gates if whose == worker]
        assert events[0] == "gate.closed", events
        assert all(one != next_one for one, next_one in pairwise(events)), events
    assert "gate.opened" in [event for _, event in endured.gates], "no gate has opened"


def figures(endured: Endured, procs: int) -> list[Figure]:
    """Beside what is promised for an outage of ten minutes, and so for a shorter one."""
    full_speed = endured.full_speed_seconds
    return [
        Figure("POSTs during the outage", endured.posts, "", at_most=99),
        Figure("requests during the outage", endured.requests, ""),
        Figure("CPU during the outage, of one core", endured.cpu_percent, "%", at_most=2),
        Figure("lines logged during the outage", endured.log_lines, ""),
        Figure("closings of gates", endured.closings, "", at_most=procs),
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
    """What /readyz answers: its status, and why."""
    answer = httpx.get(program.metrics_url().replace("/metrics", "/readyz"), trust_env=False)
    return f"{answer.status_code} {'; '.join(answer.text.splitlines())}"


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
