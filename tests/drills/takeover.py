"""Measures how long it takes until the predictions of dead workers are polled again."""

import time
from datetime import datetime
from statistics import median
from typing import Any

from tests.drills.stage import Stage
from tests.support.processes import wait_for

SLOTS = 10
LEASE_SECONDS = 15.0
# Longer than anything that is measured here.
LATENCY_SECONDS = 5.0
# A supervisor has to start first, also on a busy machine.
SUPERVISOR_LATENCY_SECONDS = 8.0
TAKEOVER_LEASE_SECONDS = 5.0
TAKEOVER_POLL_SECONDS = 1.0
# And what a busy machine takes between the claim and its line in the log.
LONGEST_TAKEOVER_SECONDS = TAKEOVER_LEASE_SECONDS + TAKEOVER_POLL_SECONDS + 0.5


def seconds_to_replace(stage: Stage, rounds: int) -> list[float]:
    """From the kill -9 of a worker to each adoption by its replacement."""
    stage.site.settings["IMAGEGEN_LEASE_SECONDS"] = str(LEASE_SECONDS)
    stage.sandbox.latency_seconds = LATENCY_SECONDS
    seconds: list[float] = []
    for _ in range(rounds):
        stage.start()  # a first death is not put off
        for worker in ("worker-0", "worker-1"):
            fill_all_slots(stage)
            before = stage.program.events("prediction.adopted")
            killed_at = time.time()
            stage.program.kill(stage.program.worker_pids()[worker])
            after = stage.program.wait_for_event("prediction.adopted", len(before) + SLOTS)
            seconds += [logged_at(line) - killed_at for line in after[len(before) :]]
            stage.site.wait_until_done()
    return seconds


def seconds_to_start_again(stage: Stage, rounds: int) -> list[float]:
    """From the kill -9 of a supervisor to each adoption by the next one, which is started then."""
    stage.site.settings["IMAGEGEN_LEASE_SECONDS"] = str(LEASE_SECONDS)
    stage.sandbox.latency_seconds = SUPERVISOR_LATENCY_SECONDS
    stage.start()
    seconds: list[float] = []
    for _ in range(rounds):
        fill_all_slots(stage)
        killed_at = time.time()
        stage.kill_supervisor()
        adopted = stage.program.wait_for_event("prediction.adopted", SLOTS * stage.procs)
        seconds += [logged_at(line) - killed_at for line in adopted]
        stage.site.wait_until_done()
    return seconds


def seconds_to_take_over(stage: Stage) -> list[float]:
    """From the kill -9 of a supervisor to each adoption by another one that runs already."""
    stage.site.settings["IMAGEGEN_LEASE_SECONDS"] = str(TAKEOVER_LEASE_SECONDS)
    stage.site.settings["POLL_INTERVAL_SECONDS"] = str(TAKEOVER_POLL_SECONDS)
    stage.sandbox.latency_seconds = 4 * TAKEOVER_LEASE_SECONDS
    stage.start()
    fill_all_slots(stage)
    with stage.site.supervisor(procs=stage.procs) as other:
        killed_at = time.time()
        stage.program.kill(stage.program.pid)
        adopted = other.wait_for_event("prediction.adopted", SLOTS * stage.procs)
        stage.site.wait_until_done()
        assert other.stop() == 0
    stage.start()  # the next supervisor removes what a killed one has left
    stage.finish()
    return [logged_at(line) - killed_at for line in adopted]


def fill_all_slots(stage: Stage) -> None:
    tokens = SLOTS * stage.procs
    stage.mint(tokens)
    wait_for("every slot to watch a prediction", lambda: watched(stage) == tokens)


def watched(stage: Stage) -> int:
    query = "SELECT count(prediction_id) FROM generations WHERE state = 'open'"
    return int(stage.site.query(query)[0][0])


def logged_at(line: dict[str, Any]) -> float:
    return datetime.fromisoformat(line["timestamp"]).timestamp()


def in_words(seconds: list[float]) -> str:
    return f"median {median(seconds):.2f} s, longest {max(seconds):.2f} s, of {len(seconds)}"
