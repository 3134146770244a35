"""A random schedule of everything that can go wrong: planned from a seed, then played."""

import random
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

from tests.drills.stage import QUIET_SECONDS, Stage
from tests.support import odd_rows
from tests.support.processes import wait_for
from tests.support.sandbox import Fault
from tests.support.sandbox.faults import Operation

# How often each kind of event is drawn, by weight.
KINDS = {
    "kill worker": 5,
    "kill supervisor": 2,
    "SIGTERM and start": 2,
    "SIGHUP": 2,
    "freeze worker": 2,
    "crash database": 2,
    "terminate backends": 2,
    "429": 2,
    "500": 2,
    "500 after creating": 2,
    "stall": 2,
    "reset": 2,
    "lost answer": 3,
    "late answer": 2,
}
LONGEST_PAUSE_SECONDS = 0.8
# Longer than the lease, shorter than a client's patience.
STALL_SECONDS = 1.5
# A part of the tokens is there from the start, the others come along the way.
FIRST_SHARE = 0.25
IMAGES = """SELECT count(*) FROM tokens_s0
    WHERE lower(status) = 'uploading' AND NOT id::text = ANY(%s)"""
OPERATIONS: tuple[Operation, ...] = ("create", "create", "get", "list")


@dataclass(frozen=True)
class Step:
    """One event: mint, pause, then do it."""

    kind: str
    mints: int
    pause_seconds: float
    choice: float  # from 0 to 1: which worker, or how long
    times: int  # how many requests a fault hits
    operation: Operation  # whom it hits


def plan(seed: int, *, events: int, tokens: int) -> list[Step]:
    """The same steps for the same seed."""
    dice = random.Random(seed)
    first = int(tokens * FIRST_SHARE)
    mints = Counter(dice.randrange(events) for _ in range(tokens - first))
    mints[0] += first
    kinds = dice.choices(list(KINDS), weights=list(KINDS.values()), k=events)
    return [
        Step(
            kind=kind,
            mints=mints[number],
            pause_seconds=dice.uniform(0.0, LONGEST_PAUSE_SECONDS),
            choice=dice.random(),
            times=dice.randint(1, 3),
            operation=dice.choice(OPERATIONS),
        )
        for number, kind in enumerate(kinds)
    ]


def play_with_odd_rows(stage: Stage, steps: list[Step], tell: Callable[[str], None]) -> None:
    """Carry out a plan with odd rows in the table from the start, until all others have images."""
    odd_rows.loosen(stage.site)
    odd = odd_rows.insert(stage.site, *odd_rows.ODD_ROWS)
    play_steps(stage, steps, tell)

    def done() -> bool:
        stage.start_again_if_it_gave_up()
        images = stage.site.query(IMAGES, list(odd.values()))
        return bool(images[0][0] == stage.minted)

    wait_for("every other token's image", done, QUIET_SECONDS)
    assert "slot.crashed" not in stage.site.log_text()
    odd_rows.remove(stage.site, odd)
    stage.finish()


def play(stage: Stage, steps: list[Step], tell: Callable[[str], None]) -> None:
    """Carry out a plan to its end, and wait until all is quiet."""
    play_steps(stage, steps, tell)
    stage.finish()


def play_steps(stage: Stage, steps: list[Step], tell: Callable[[str], None]) -> None:
    for number, step in enumerate(steps, 1):
        stage.mint(step.mints)
        time.sleep(step.pause_seconds)
        stage.start_again_if_it_gave_up()
        tell(f"{number}/{len(steps)} {step.kind}")
        carry_out(stage, step)


def carry_out(stage: Stage, step: Step) -> None:
    workers = stage.workers()
    worker = workers[int(step.choice * len(workers))] if workers else None
    match step.kind:
        case "kill worker" if worker:
            stage.kill(worker)
        case "kill supervisor":
            stage.kill_supervisor()
        case "SIGTERM and start":
            stage.restart()
        case "SIGHUP":
            stage.program.hang_up()
        case "freeze worker" if worker:
            stage.freeze(worker, past_lease_seconds=step.choice)
        case "crash database":
            stage.crash_database(down_seconds=2 * step.choice)
        case "terminate backends":
            stage.terminate_backends()
        case kind if kind in FAULTS:
            stage.sandbox.faults.add(FAULTS[kind](step))


FAULTS: dict[str, Callable[[Step], Fault]] = {
    "429": lambda step: Fault.throttles(1, operation=step.operation, times=step.times),
    "500": lambda step: Fault.answers(500, operation=step.operation, times=step.times),
    "500 after creating": lambda step: Fault.answers(500, creates=True, times=step.times),
    "stall": lambda step: Fault.black_hole(
        STALL_SECONDS, creates=step.choice < 0.5, operation=step.operation, times=step.times
    ),
    "reset": lambda step: Fault.resets(operation=step.operation, times=step.times),
    "lost answer": lambda step: (
        Fault.resets(creates=True, times=step.times)
        if step.choice < 0.5
        else Fault.cuts_short(times=step.times)
    ),
    "late answer": lambda step: Fault.late(
        STALL_SECONDS, operation=step.operation, times=step.times
    ),
}
