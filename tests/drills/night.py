"""A night of eight hours in twenty minutes: everything goes wrong that a night can bring.

Tokens are minted all the time. A real Prometheus watches with the rules of deploy/. Whoever is
called has the alert, the runbook and nothing else.
"""

import contextlib
import math
import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import psycopg

from tests.benchmarks.figures import Figure
from tests.drills.namespaces import Network
from tests.drills.night_schedule import CALLING, Mishap
from tests.drills.night_watch import Firing, Watch, command_in
from tests.drills.stage import Stage
from tests.drills.standby import ServerWithStandby
from tests.support import judge
from tests.support.processes import Site, wait_for
from tests.support.sandbox import Sandbox

# Between two mints, on average.
MINT_SECONDS = 1.5
# More than a night needs. All authors are there before, as their tokens may be minted again.
AUTHORS = 3000
BURST_AUTHOR = "the author of many tokens"
P95_SECONDS = 60.0
# From a mishap that calls to its alert, and from its repair to the images of all who waited.
CALLED_SECONDS, REPAIRED_SECONDS = 120.0, 120.0

INSERT_AUTHORS = """
INSERT INTO authors (wallet_address, prompt_text)
SELECT 'wallet ' || n, 'picture number ' || n || '.' FROM generate_series(1, %s) n
UNION ALL SELECT %s, 'a picture that many tokens want'"""
MINT = """
INSERT INTO tokens_s0 (token_id, author_id, generate_after)
SELECT %s, id, %s::timestamptz FROM authors WHERE wallet_address = %s
ON CONFLICT (token_id) DO NOTHING"""
LIVES = """
SELECT token_id, extract(epoch FROM max(closed_at))::float FROM generations
WHERE state = 'succeeded' GROUP BY token_id"""
MIXED_UP = """
SELECT t.token_id, a.prompt_text, g.prediction_id FROM tokens_s0 t
JOIN authors a ON a.id = t.author_id
JOIN generations g ON g.token_id = t.token_id AND g.state = 'succeeded'"""
LOST = "SELECT token_id, status, generation_error FROM tokens_s0 WHERE status <> 'uploading'"
WAITS_SINCE = """
SELECT count(*) FROM tokens_s0
WHERE status IN ('detected', 'generating') AND token_id = ANY(%s)"""


class Mints:
    """Mints tokens one by one, as an indexer: what cannot be written now is written later."""

    def __init__(self, site: Site, seed: int) -> None:
        self._site = site
        self._dice = random.Random(seed)
        self._lock = threading.Lock()
        self._authors: dict[int, str] = {}  # by token
        self._end = threading.Event()
        self.minted_at: dict[int, float] = {}  # Unix time, by token
        site.query(INSERT_AUTHORS, AUTHORS, BURST_AUTHOR)

    @contextlib.contextmanager
    def steadily(self) -> Iterator[None]:
        thread = threading.Thread(target=self._mint_steadily, daemon=True)
        thread.start()
        try:
            yield
        finally:
            self._end.set()
            thread.join()

    def mint(self, tokens: int, *, author: str | None = None, held: bool = False) -> list[int]:
        """Mint so many more, each of an author of its own or all of one. Return their ids."""
        with self._lock:
            first = len(self._authors) + 1
            ids = list(range(first, first + tokens))
            self._authors |= {n: author or f"wallet {n}" for n in ids}
        self._write(ids, "infinity" if held else None)
        return ids

    def mint_again(self) -> None:
        """Write what the database has forgotten."""
        self._write(list(self.minted_at), None)

    def _write(self, ids: list[int], generate_after: str | None) -> None:
        rows = [(n, generate_after, self._authors[n]) for n in ids]
        while True:
            try:
                with psycopg.connect(self._site.database_url) as connection:
                    connection.cursor().executemany(MINT, rows)
                break
            except psycopg.OperationalError:
                time.sleep(0.2)
        now = time.time()
        self.minted_at = dict.fromkeys(ids, now) | self.minted_at

    def _mint_steadily(self) -> None:
        while not self._end.wait(self._dice.uniform(0.5, 1.5) * MINT_SECONDS):
            self.mint(1)


@dataclass
class Night:
    """All that a mishap can touch, and what has happened so far."""

    stage: Stage
    server: ServerWithStandby
    network: Network
    watch: Watch
    mints: Mints
    disk: Path  # the file that fills it
    tell: Callable[[str], None]
    mishaps: list[tuple[str, float, float]] = field(default_factory=list)  # kind, begin, end
    commands: dict[str, str] = field(default_factory=dict)  # by the mishap that it mended

    def live_through(
        self, plan: list[Mishap], carry_out: Callable[["Night", Mishap], None], seconds: float
    ) -> None:
        began = time.monotonic()
        for number, mishap in enumerate(plan, 1):
            self.wait_until(began + mishap.at_seconds)
            self.tell(f"{number}/{len(plan)} {mishap.kind}, {mishap.seconds:.0f} s")
            began_at = time.time()
            carry_out(self, mishap)
            self.mishaps.append((mishap.kind, began_at, time.time()))
        self.wait_until(began + seconds)

    def wait_until(self, at: float) -> None:
        while time.monotonic() < at:
            self.stage.start_again_if_it_gave_up()
            time.sleep(min(0.5, max(at - time.monotonic(), 0.0)))

    def call_a_person(self, kind: str, repair: Callable[[], None]) -> None:
        """Wait for an alert that calls, repair its cause, and run the command that it leads to."""
        before = {each["labels"]["alertname"] for each in self.watch.calls()}

        def look() -> list[dict[str, object]]:
            calls = self.watch.calls()
            return [each for each in calls if each["labels"]["alertname"] not in before]

        alert = wait_for(f"an alert of {kind}", look, CALLED_SECONDS)[0]
        command = command_in(alert)
        self.tell(f"  {alert['labels']['alertname']}: {command}")  # type: ignore[index]
        waiting = list(self.mints.minted_at)
        repair()
        self.run(command)
        self.commands[kind] = command
        wait_for(
            "the images of those who waited",
            lambda: self.stage.site.query(WAITS_SINCE, waiting) == [(0,)],
            REPAIRED_SECONDS,
        )

    def run(self, command: str) -> None:
        """Run what a person types; without systemd, what its units do then."""
        program, *arguments = command.split()
        if program == "imagegen":
            done = self.stage.site.run(*arguments)
            assert done.returncode == 0, f"{command}: {done.stdout[-2000:]}{done.stderr[-2000:]}"
        elif arguments == ["restart", "imagegen"]:
            self.stage.restart()
        else:
            assert arguments == ["reload", "imagegen"], command
            self.stage.program.hang_up()

    def untouched_seconds(self) -> list[float]:
        """From mint to image, of the tokens in whose life nothing went wrong."""
        images = dict(self.stage.site.query(LIVES))
        lives = [(at, images[n]) for n, at in self.mints.minted_at.items() if n in images]
        return sorted(
            image_at - minted_at
            for minted_at, image_at in lives
            if not any(minted_at < end and begin < image_at for _, begin, end in self.mishaps)
        )

    def figures(self, firings: list[Firing]) -> list[Figure]:
        untouched = self.untouched_seconds()
        calls = [each for each in firings if each.severity == "critical"]
        other = [each for each in calls if self.mishap_of(each) not in CALLING]
        answered = {self.mishap_of(each) for each in calls} & CALLING.keys()
        expected = {kind for kind, _, _ in self.mishaps} & CALLING.keys()
        lost = self.stage.minted - self.stage.site.statuses().get("uploading", 0)
        twice = judge.paid_too_often(self.stage.site, self.stage.sandbox)
        p95 = untouched[int(0.95 * len(untouched))] if untouched else math.inf
        return [
            Figure("tokens", self.stage.minted, ""),
            Figure("mishaps", len(self.mishaps), ""),
            Figure("tokens without an image", lost, "", at_most=0),
            Figure("prompts that were paid too often", len(twice), "", at_most=0),
            Figure("untouched tokens", len(untouched), ""),
            Figure("P95 of untouched tokens", p95, "s", at_most=P95_SECONDS),
            Figure("mishaps that need a person", len(expected), "", at_most=len(CALLING)),
            Figure("of these, alerted", len(answered), "", at_least=len(expected)),
            Figure("mended by the alert's command", len(self.commands), "", at_least=len(expected)),
            Figure("calls for anything else", len(other), "", at_most=0),
        ]

    def mishap_of(self, firing: Firing) -> str:
        """Return the mishap in which an alert began."""
        kinds = [kind for kind, begin, end in self.mishaps if begin <= firing.began <= end]
        return kinds[0] if kinds else "nothing"

    def in_words(self, firings: list[Firing]) -> str:
        lines = [f"  {self.mishap_of(each)}: {each}" for each in firings]
        counted = Counter(lines)
        return "\n".join(f"{line}, {times} times" for line, times in counted.items())


def violations(site: Site, sandbox: Sandbox) -> Iterator[str]:
    """What breaks a promise. A request of the seconds that a failover lost may be in no row."""
    yield from judge.unfinished(site)
    if lost := site.query(LOST):
        yield f"tokens without an image (token, status, error): {lost}"
    prompts = {each.id: each.prompt for each in sandbox.predictions}
    rows = site.query(MIXED_UP)
    if mixed_up := [row for row in rows if prompts.get(row[2]) != row[1]]:
        yield f"images of another prompt (token, prompt, prediction): {mixed_up}"
    yield from judge.paid_twice(site, sandbox)
    if disagreeing := site.query(judge.INCONSISTENT):
        yield f"the tables disagree (token, status, image, error): {disagreeing}"
    yield from judge.crashed(site)
