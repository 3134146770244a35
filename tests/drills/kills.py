"""Kills processes several times a second, under load, while answers are lost."""

import contextlib
import random
import time
from collections.abc import Callable
from dataclasses import dataclass

import click

from imagegen.failures import LEAST_SETTLE_SECONDS
from tests.benchmarks.figures import table
from tests.drills import bill
from tests.drills.stage import SETTINGS, Stage
from tests.drills.verdict import a_seed, judge_figures, judged, tell
from tests.support.sandbox import Fault

# What every kill finds at work or waiting.
LOAD = 20
# Between two kills: a worker has been born, or has just claimed, or is in the middle of it all.
SHORTEST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS = 0.02, 0.35
# A worker's second restart waits for a second, its third for two. So after three kills of a worker
# the supervisor is killed too, whose successor starts workers at once.
KILLS_PER_WORKER = 3
# How long a create has no answer: many kills fall into it, and the list must show its prediction.
ANSWER_SECONDS = 0.2
PREDICTION_SECONDS = 0.5
TELL_EVERY = 50
# One for each way by which a prediction is known again.
MODELS = {
    "seed": "black-forest-labs/flux-schnell",
    "user_id": "openai/gpt-image-1",
    "none": "google/imagen-4",
}
# After the last kill, until the last of the answers is lost.
PATIENCE_SECONDS = 300.0

# They hold no slot: Replicate's list must tell what became of their requests.
IN_DOUBT = """
SELECT count(*) FROM generations
WHERE state = 'open' AND prediction_id IS NULL AND requested_at < now() - interval '1 s'"""


@dataclass(frozen=True)
class Replicate:
    """Faults of Replicate during the kills."""

    lost_answers: int = 0  # the number of requests that make a prediction and get no answer
    list_lag_seconds: float = 0.0  # as users would see it

    @property
    def lag_seconds(self) -> float:
        """How long the list lags in the drill, whose settle time is shorter than users'."""
        settle_seconds = float(SETTINGS["IMAGEGEN_TEST_SETTLE_SECONDS"])
        return self.list_lag_seconds * settle_seconds / LEAST_SETTLE_SECONDS


@dataclass
class Killed:
    workers: int = 0
    supervisors: int = 0
    lost_answers: int = 0

    @property
    def total(self) -> int:
        return self.workers + self.supervisors


def kill_again_and_again(
    stage: Stage,
    *,
    kills: int,
    seed: int,
    tell: Callable[[str], None],
    replicate: Replicate = Replicate(),
) -> Killed:
    """Kill processes, mostly workers, and lose answers; then wait until all is quiet."""
    stage.sandbox.latency_seconds = PREDICTION_SECONDS
    if replicate.lag_seconds:
        stage.sandbox.faults.add(Fault.lags(replicate.lag_seconds))
    late, loses = Fault.late(ANSWER_SECONDS), Fault.resets(creates=True, times=1)
    stage.sandbox.faults.add(late)
    dice = random.Random(seed)
    killed = Killed()
    of_this_supervisor = 0

    def lose_answers(count: int) -> None:
        """Lose the next `count` answers. Of two faults the first one applies."""
        if count:
            stage.sandbox.faults.remove(late)
            stage.sandbox.faults.add(*[loses] * count, late)
            killed.lost_answers += count

    def keep_busy() -> None:
        at_work = stage.unfinished() - int(stage.site.query(IN_DOUBT)[0][0])
        stage.mint(max(LOAD - at_work, 0))

    while killed.total < kills:
        keep_busy()
        lose_answers(replicate.lost_answers * (killed.total + 1) // kills - killed.lost_answers)
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
            tell(f"{killed.total} kills, {killed.lost_answers} answers lost, {stage.minted} tokens")
    deadline = time.monotonic() + PATIENCE_SECONDS
    while stage.sandbox.faults.is_in_force(loses):
        assert time.monotonic() < deadline, "not as many requests as answers to be lost"
        keep_busy()
        time.sleep(LONGEST_PAUSE_SECONDS)
    stage.finish()
    return killed


@click.command("kills")
@click.option("--kills", default=1000, show_default=True, help="How many, of workers mostly.")
@click.option("--procs", default=4, show_default=True, help="Workers of the supervisor.")
@click.option("--marker", default="seed", show_default=True, help="Of the predictions.",
              type=click.Choice(list(MODELS)))  # fmt: skip
@click.option("--lost-answers", default=0, show_default=True,
              help="How many predictions Replicate makes without an answer.")  # fmt: skip
@click.option("--list-lag", default=0.0, show_default=True,
              help="How many seconds Replicate's list lags, with the settle time of users. In the"
              " drill, the settle time is shorter, and the lag in proportion.")  # fmt: skip
@click.option("--seed", type=int, help="Of the kills; a new one when not given.")
def command(
    *, kills: int, procs: int, marker: str, lost_answers: int, list_lag: float, seed: int | None
) -> None:
    """kill -9 of workers and supervisors, several a second, under load. At its end, `imagegen
    audit` must name whatever was paid for twice."""
    seed, has_marker = a_seed(seed), marker != "none"
    replicate = Replicate(lost_answers, list_lag)
    with judged(
        f"kills-{marker}", contextlib.nullcontext, None, bill.violations,
        procs=procs,
        WORKER_BATCH_SIZE="5",
        IMAGEGEN_MARKER_INPUT=marker,
        REPLICATE_MODEL_VERSION=MODELS[marker],
    ) as place:  # fmt: skip
        killed = kill_again_and_again(place, kills=kills, seed=seed, tell=tell, replicate=replicate)
        click.echo(f"  killed: {killed.workers} workers, {killed.supervisors} supervisors")
        if lost_answers:
            click.echo(f"  answers lost: {killed.lost_answers}")
        if list_lag:
            click.echo(f"  the list lagged by {replicate.lag_seconds:g} s")
        figures = bill.make_out(place, replicate.lag_seconds).figures(has_marker=has_marker)
        click.echo(table(figures))
        judge_figures(figures)
