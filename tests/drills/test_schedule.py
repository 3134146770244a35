"""Everything goes wrong in a random order; replay one with IMAGEGEN_DRILL_SEED=seed."""

import os
import random
from pathlib import Path

from tests.drills import schedule
from tests.drills.stage import stage
from tests.support.judge import judge, judge_what_is_left

SEED = "IMAGEGEN_DRILL_SEED"
EVENTS = 30
TOKENS = 80


def test_whatever_happens_in_whatever_order_every_token_gets_one_image(tmp_path: Path) -> None:
    seed = int(os.environ.get(SEED) or random.randrange(1_000_000))
    print(f"replay with {SEED}={seed}")  # shown where the test fails
    steps = schedule.plan(seed, events=EVENTS, tokens=TOKENS)

    with stage(tmp_path) as place:
        schedule.play(place, steps, tell=print)
        judge(place.site, place.sandbox)
        judge_what_is_left(place.site)
        assert place.site.statuses() == {"uploading": TOKENS}


def test_a_seed_always_makes_the_same_schedule() -> None:
    assert schedule.plan(7, events=50, tokens=100) == schedule.plan(7, events=50, tokens=100)
    assert sum(step.mints for step in schedule.plan(7, events=50, tokens=100)) == 100
