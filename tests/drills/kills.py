"""kill -9, again and again, several times a second, under load."""

import random
import time
from collections.abc import Callable
from dataclasses import dataclass

from tests.drills.stage import Stage
from tests.support.sandbox import Fault

# What every kill finds at work or waiting.
LOAD = 20
# Between two kills: a worker has been born, or has just claimed, or is in the middle of it all.
SHORTEST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS = 0.02, 0.35
# A worker's second restart is put off by a second, its third by two: then it is quicker, and no
# less cruel, to kill the supervisor too.
KILLS_PER_WORKER = 3
# As long as the request is unanswered: many a kill falls into it, and the list must tell.
ANSWER_SECONDS = 0.2
PREDICTION_SECONDS = 0.5
TELL_EVERY = 50


@dataclass
class Killed:
    workers: int = 0
    supervisors: int = 0

    @property
    def total(self) -> int:
        return self.workers + self.supervisors


def kill_again_and_again(
    stage: Stage, *, kills: int, seed: int, tell: Callable[[str], None]
) -> Killed:
    """Kill so often, mostly workers, and wait until all is quiet."""
    stage.sandbox.faults.add(Fault.late(ANSWER_SECONDS))
    stage.sandbox.latency_seconds = PREDICTION_SECONDS
    dice = random.Random(seed)
    killed = Killed()
    of_this_supervisor = 0
    while killed.total < kills:
        stage.mint(max(LOAD - stage.unfinished(), 0))
        time.sleep(dice.uniform(SHORTEST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS))
        workers = stage.workers()
        if workers and of_this_supervisor < KILLS_PER_WORKER * stage.procs:
            stage.kill(dice.choice(workers))
            killed.workers += 1
            of_this_supervisor += 1
        else:
            stage.kill_supervisor()
            killed.supervisors += 1
            of_this_supervisor = 0
        if killed.total % TELL_EVERY == 0:
            tell(f"{killed.total} kills, {stage.minted} tokens")
    stage.finish()
    return killed
