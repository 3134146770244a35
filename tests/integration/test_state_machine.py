"""Any sequence of answers, deaths and times keeps the laws, by the records of a fake Replicate.

The queue, the gate and the recipe are the real ones, on a real PostgreSQL; time passes by an UPDATE
of the rows. Every run of the suite tries the same examples; to try others, and more of them:

    IMAGEGEN_TEST_EXAMPLES=2000 pytest tests/integration/test_state_machine.py --hypothesis-seed=1
"""

import logging
import os
import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from imagegen.database import migrations
from imagegen.database.connection import Connection, Pool, connect, open_pool
from imagegen.worker import crash_points, gate, polling, unreadable_outputs
from tests.support import earlier_state, obstacles
from tests.support.fake_replicate import UNKNOWN, Fate, Look, Post, Script
from tests.support.generation_runs import NoWaits
from tests.support.law_checks import LawChecks
from tests.support.stepwise_worker import SETTLE_SECONDS, Worker, make_worker, reach

EXAMPLES = os.environ.get("IMAGEGEN_TEST_EXAMPLES")
PROFILE = settings(
    max_examples=int(EXAMPLES or 60),
    stateful_step_count=30,
    derandomize=EXAMPLES is None,
    database=None,
    deadline=None,
    print_blob=True,
    suppress_health_check=[HealthCheck.too_slow],
)

WORKERS = 3
# Within a lease, beyond it, beyond the settle time (by two), an overdue prediction, an hour, a day.
TIMES = (5.0, 20.0, 52.0, 400.0, 4000.0, 100_000.0)
# In the end, often enough for all leases and attempts before images are deleted, then for delays.
LAST_TIMES = (0.0, *[20.0] * 10, *[110.0] * 10, *[4000.0] * 25)

MINT = """WITH author AS (INSERT INTO authors (wallet_address, prompt_text)
              VALUES (gen_random_uuid()::text, %s) RETURNING id)
          INSERT INTO tokens_s0 (token_id, author_id) SELECT %s, id FROM author"""
RESET = """UPDATE tokens_s0 SET status = 'detected', generation_attempts = 0,
           generation_error = NULL WHERE token_id = %s"""
# By table, of which the database may have kept an earlier state.
TIMES_OF = {
    "generations": (
        "opened_at",
        "requested_at",
        "lease_until",
        "closed_at",
        "refused_since",
        "closing_refused_at",
        "failing_since",
    ),
    "tokens_s0": ("created_at", "generate_after"),
    "imagegen_servers": ("noticed_at", "ledger_until"),
}

# The other fates are mostly failures that are tried again.
SPECIAL = (Fate.IMAGE, Fate.CENSORED, Fate.ACCOUNT, Fate.STUCK, Fate.FORGOTTEN)
workers = st.integers(0, WORKERS - 1)
points = st.sampled_from((*crash_points.POINTS, "listed"))
fates = st.sampled_from((*Fate, *SPECIAL, *SPECIAL))
scripts = st.builds(
    Script,
    posts=st.lists(st.sampled_from((*Post, *UNKNOWN, *UNKNOWN)), max_size=2),
    fates=st.lists(fates, max_size=2),
    looks=st.lists(st.sampled_from(Look), max_size=3),
    lists_late=st.booleans(),
)


class AnySequence(RuleBasedStateMachine):
    """What mints, workers, their deaths, Replicate, time and the operator may do."""

    def __init__(self, pool: Pool, connection: Connection, patch: pytest.MonkeyPatch) -> None:
        super().__init__()
        self.pool = pool
        self.laws = LawChecks(connection, patch)
        self.workers: list[Worker] = []
        self.workers_ever = 0
        self.tokens = 0
        self.is_saved = False
        for table in ("generations", "tokens_s0", "authors", "imagegen_servers", "obstructed"):
            self.laws.query(f"DELETE FROM {table}")

    def new_worker(self) -> Worker:
        self.workers_ever += 1
        return make_worker(
            self.pool,
            f"worker-{self.workers_ever}",
            self.laws.replicate,
            replace_lost=self.laws.replace_lost,
        )

    def move(self, worker: Worker, until: str = "") -> bool:
        """Let it go on, or claim and begin, which takes no lease that holds. Returns whether there
        was anything to do."""
        work = worker.work
        if work is None:
            leased = self.laws.leased()
            work = worker.claim()
            if work is None:
                return False
            assert work.claim.generation_id not in leased, f"{worker.name} took a lease that held"
        with self.laws.fenced(worker, work):
            if work.go_on(until):
                worker.work = None
        return True

    @initialize(replace_lost=st.booleans(), tokens=st.integers(1, 6), usual=fates)
    def start(self, replace_lost: bool, tokens: int, usual: Fate) -> None:
        self.laws.replace_lost = replace_lost
        self.laws.replicate.usual = usual
        self.workers = [self.new_worker() for _ in range(WORKERS)]
        self.workers[0].claim()  # this server is noticed, long before the first mint
        self.laws.query("UPDATE imagegen_servers SET noticed_at = '-infinity'")
        for _ in range(tokens):
            self.mint("a picture")

    def mint(self, prompt: str | None) -> None:
        self.tokens += 1  # also if the database forgets it
        self.laws.query(MINT, prompt, self.tokens)

    @rule(
        which=workers, script=scripts, claims=st.integers(1, 4), seconds=st.sampled_from(TIMES[:2])
    )
    def work(self, which: int, script: Script, claims: int, seconds: float) -> None:
        """Go on to the end, or claim and work to the end; and again after `seconds`."""
        self.laws.replicate.script = script
        self.move(self.workers[which])
        for _ in range(claims - 1):
            self.let_time_pass(seconds)
            self.move(self.workers[which])

    @rule(which=workers, until=points, script=scripts, seconds=st.sampled_from((0.0, *TIMES)))
    def work_until(self, which: int, until: str, script: Script, seconds: float) -> None:
        """Stop at the point `until`, for at least `seconds`, and until another rule goes on."""
        self.laws.replicate.script = script
        self.move(self.workers[which], until)
        self.let_time_pass(seconds)

    @rule(seconds=st.sampled_from(TIMES))
    def let_time_pass(self, seconds: float) -> None:
        for which, worker in enumerate(self.workers):
            if worker.work and worker.work.stands_at == "requested":
                worker.work.stood_seconds += seconds
                if worker.work.stood_seconds >= SETTLE_SECONDS:
                    # Nobody can keep the laws with a request that leaves later than that.
                    self.kill(which, is_released=False)
        self.laws.passed_seconds += seconds
        self.laws.replicate.time_passes(seconds)
        for table, columns in TIMES_OF.items():
            earlier = ", ".join(f"{column} = {column} - passed" for column in columns)
            for name in (table, earlier_state.SAVED + table)[: 1 + self.is_saved]:
                self.laws.query(
                    f"UPDATE {name} SET {earlier} FROM make_interval(secs => %s) passed", seconds
                )

    @rule(which=workers, is_released=st.booleans())
    def kill(self, which: int, is_released: bool) -> None:
        """There is another worker at once: a successor, who releases it, or on another host."""
        dead = self.workers[which]
        dead.die()
        self.workers[which] = self.new_worker()
        if is_released:
            self.workers[which].queue.release_leases_of(dead.name)

    @rule(which=workers, by=workers)
    def outlive_the_supervisor(self, which: int, by: int) -> None:
        """For a moment: a worker of the next supervisor has released its leases already."""
        self.workers[by].queue.release_leases_of_dead([self.workers[which].name])

    @rule(which=workers, stops=st.booleans())
    def look_after(self, which: int, stops: bool) -> None:
        """What a main loop does while its slot is at work."""
        worker = self.workers[which]
        if worker.work:
            with self.laws.fenced(worker, worker.work):
                worker.queue.renew([worker.work.claim.token_id])
        worker.queue.repair_statuses({})
        if stops:
            worker.shutdown.set()
            if worker.work:
                self.move(worker)
            self.kill(which, is_released=True)

    @rule(which=st.integers(0, 3), event=st.sampled_from(("reset", "deleted", "minted")))
    def meddle(self, which: int, event: str) -> None:
        """What comes from outside, mostly to the tokens at work."""
        tokens = self.laws.tokens()
        if event == "minted" or not tokens:
            self.mint("a picture" if which else None)
            return
        token_id = tokens[which % len(tokens)]
        if event == "reset":
            self.laws.reset(token_id)
            self.laws.query(RESET, token_id)
        else:
            self.laws.deleted(token_id, {worker.work for worker in self.workers})
            self.laws.query("DELETE FROM tokens_s0 WHERE token_id = %s", token_id)

    @rule(which=st.integers(0, 3), body=st.sampled_from(obstacles.BODIES), is_put=st.booleans())
    def obstruct(self, which: int, body: str, is_put: bool) -> None:
        """From now on the table refuses what becomes of a token; or it refuses nothing any more."""
        self.laws.query("DELETE FROM obstructed")
        tokens = self.laws.tokens()
        if is_put and tokens:
            values = tokens[which % len(tokens)], body
            self.laws.query("INSERT INTO obstructed VALUES (%s, %s)", *values)

    @rule()
    def save(self) -> None:
        """Nothing that comes from here on reaches the standby."""
        self.laws.save()
        self.is_saved = True

    @precondition(lambda self: self.is_saved)
    @rule()
    def go_back(self) -> None:
        """The standby takes over."""
        self.laws.go_back({worker.work for worker in self.workers})

    @invariant()
    def keep_the_laws(self) -> None:
        self.laws.one_generation_is_open()
        self.laws.the_tables_agree()
        self.laws.an_attempt_is_a_prediction_that_ran()
        self.laws.every_image_is_that_of_its_token()

    def teardown(self) -> None:
        try:
            if sys.exception() is None:
                self.see_it_end()
        finally:
            for worker in self.workers:
                worker.die()

    def see_it_end(self) -> None:
        """When nothing goes wrong any more, every token ends, and none fails for nothing."""
        self.laws.replicate.faults_end()
        self.laws.query("DELETE FROM obstructed")
        for seconds in LAST_TIMES:
            self.let_time_pass(seconds)
            for worker in self.workers:
                worker.queue.repair_statuses({})
                for _ in range(self.tokens):
                    if not self.move(worker):
                        break
            if not self.laws.unfinished():
                break
        for worker in self.workers:
            assert worker.gate.allows(1), f"closed for ever: {worker}"
        self.keep_the_laws()
        self.laws.every_token_has_ended_with_reason()


def test_any_sequence_of_answers_deaths_and_times_keeps_the_laws(
    database_url: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    migrations.upgrade(database_url)
    caplog.set_level(logging.CRITICAL)  # it tells of ten thousand steps
    monkeypatch.setenv("HYPOTHESIS_STORAGE_DIRECTORY", str(tmp_path))
    monkeypatch.setattr(crash_points, "reach", reach)
    monkeypatch.setattr(polling, "PollSchedule", NoWaits)
    # The gate's clock is its own too: it tries again at once.
    for name in ("FIRST_DELAY_SECONDS", "LEAST_HINT_SECONDS", "MOST_HINT_SECONDS"):
        monkeypatch.setattr(gate, name, 0.0)
    monkeypatch.setattr(unreadable_outputs, "FIRST_UNREADABLE_SECONDS", 0.0)
    monkeypatch.setattr(gate, "incident_seconds", lambda waits: 0.0)
    # One connection: a worker that stopped while it holds it would hold up all others (law 6).
    with open_pool(database_url, 1, "worker") as pool, connect(database_url) as connection:
        # Statistics that change whenever they like would change the plans from run to run.
        connection.execute("ALTER TABLE generations SET (autovacuum_enabled = false)")
        connection.execute(obstacles.OF_SOME_TOKENS)

        class Here(AnySequence):
            def __init__(self) -> None:
                super().__init__(pool, connection, monkeypatch)

        run_state_machine_as_test(Here, settings=PROFILE)
