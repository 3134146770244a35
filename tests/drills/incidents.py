"""For an hour Replicate makes no image for anybody: no token pays for it, and few predictions do.

The hour is shortened, and imagegen's long delays with it (`IMAGEGEN_TEST_HOUR_SECONDS`). Two waits
are not shortened, and last half a minute at most: of a gate after refusals, and for a request
without an answer.
"""

import contextlib
import math
import random
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import click

from tests.benchmarks import processes
from tests.benchmarks.figures import Figure, table
from tests.drills import outages
from tests.drills.stage import IN_EARNEST, Stage
from tests.drills.verdict import a_seed, judge_figures, judged
from tests.support.judge import crashed, disagreeing, unaccounted, unfinished
from tests.support.processes import Site, wait_for
from tests.support.sandbox import Fault, Sandbox

# An answer that names a setting of imagegen's, whatever the prompt.
A_SETTING = {
    "title": "Input validation failed",
    "detail": "- input.num_inference_steps: Must be less than or equal to 4\n",
    "status": 422,
}
# What predictions fail with.
ERRORS = {
    "E003": "Service is currently unavailable due to high demand. Please try again later. (E003)",
    "interrupted": "Prediction interrupted; please retry (code: PA)",
    "unknown-words": "the lattice of stage two has no left boundary",
    "html": "<html><head><title>502 Bad Gateway</title></head><body>nginx</body></html>",
}
REFUSED = ("503", "401", "402", "black-hole")
KINDS = (*REFUSED, *ERRORS, "aborted", "setting", "unreadable", "lagging-list")

# The prompt that fails whatever the day, with words that nobody knows.
BAD_PROMPT = "a picture that fails."
BAD_ERROR = "tile 7 of this picture is not finite"
GOOD_AROUND = 20  # minted with it

# Some tokens are at work when the incident begins, and none is minted just before its end.
SHARE_BEFORE, LAST_MINT = 0.1, 0.9
EARNEST_SECONDS = 3600.0
LATENCY_SECONDS = 0.3  # in the shortened hour as long as a slow prediction in an earnest one
LEAST_CANCEL_AFTER_SECONDS = 5.0
LAG_MINUTES = 3.0
MOST_IN_VAIN = 50  # predictions in an hour, however many tokens wait
# In an earnest hour. A token costs 10 to 30 ms in any hour, looks at it included, and that weighs
# more in a shortened one.
MOST_CPU_PERCENT = 2.0
TOKEN_CPU_SECONDS = 0.02

BAD_FAILED_AT = """
SELECT extract(epoch FROM max(g.closed_at))::float
FROM tokens_s0 t JOIN authors a ON a.id = t.author_id JOIN generations g USING (token_id)
WHERE t.status = 'failed' AND a.prompt_text = %s"""


@dataclass(frozen=True)
class Hour:
    """The length of an incident, in seconds of the drill."""

    seconds: float

    @property
    def minute_seconds(self) -> float:
        return self.seconds / 60

    @property
    def settle_seconds(self) -> float:
        return max(self.minute_seconds, 1.0)

    @property
    def settings(self) -> dict[str, str]:
        cancel_after_seconds = max(5 * self.minute_seconds, LEAST_CANCEL_AFTER_SECONDS)
        return IN_EARNEST | {
            "IMAGEGEN_TEST_HOUR_SECONDS": f"{self.seconds:g}",
            "IMAGEGEN_TEST_SETTLE_SECONDS": f"{self.settle_seconds:g}",
            "IMAGEGEN_CANCEL_AFTER_SECONDS": f"{cancel_after_seconds:.0f}",
        }

    def faults(self, kind: str) -> list[Fault]:
        """Return what goes wrong at Replicate in an incident of this kind."""
        match kind:
            case "aborted":
                return [Fault.never_starts()]
            case "setting":
                return [Fault.answers(422, A_SETTING)]
            case "unreadable":
                return [Fault.changes({"output": {"result": 17}}, operation="get")]
            case "lagging-list":
                lag_seconds = LAG_MINUTES * self.settle_seconds
                return [Fault.resets(creates=True), Fault.lags(lag_seconds)]
            case _ if kind in ERRORS:
                return [Fault.fails(error=ERRORS[kind])]
            case _:
                return [outages.REPLIES[kind]]


@dataclass(frozen=True)
class Endured:
    """What an incident cost."""

    hour: Hour
    tokens: int
    failed: int  # tokens, without the bad one
    paid_twice: int  # tokens with more than one prediction that was billed, by the sandbox's count
    accepted: int  # predictions, from the first mint to the end
    cpu_percent: float  # of one core, all processes of imagegen, during the incident
    # From the end of the incident; infinite if it never came.
    last_image_seconds: float
    bad_failed_seconds: float

    def figures(self, within_seconds: float) -> list[Figure]:
        tokens_cpu = self.tokens * TOKEN_CPU_SECONDS * (1 / self.hour.seconds - 1 / EARNEST_SECONDS)
        most_cpu = MOST_CPU_PERCENT + 100 * max(tokens_cpu, 0.0)
        return [
            Figure("tokens that failed, but the bad one", self.failed, "", at_most=0),
            Figure("tokens that were paid for twice", self.paid_twice, "", at_most=0),
            Figure("predictions accepted", self.accepted, "", at_most=self.tokens + MOST_IN_VAIN),
            Figure("last image after the end", self.last_image_seconds, "s", within_seconds),
            Figure("bad prompt failed after the end", self.bad_failed_seconds, "s", within_seconds),
            Figure("CPU during the incident", self.cpu_percent, "%", at_most=round(most_cpu, 1)),
        ]


def endure(
    place: Stage, kind: str, hour: Hour, *, tokens: int, seed: int, patience_seconds: float
) -> Endured:
    """Mint through an incident, and wait at most `patience_seconds` for the last token to end."""
    place.sandbox.faults.add(Fault.fails(BAD_PROMPT, error=BAD_ERROR))
    before = round(SHARE_BEFORE * tokens)
    place.mint(before)
    wait_for("work in flight", lambda: len(place.sandbox.predictions) >= before / 2)
    with lasting(place.sandbox, hour.faults(kind)):
        began = time.monotonic()
        cpu_before = processes.cpu_seconds(place.program.pid)
        for at_seconds, count in mints(seed, tokens - before, hour):
            time.sleep(max(began + at_seconds - time.monotonic(), 0.0))
            mint(place, count)
        time.sleep(max(began + hour.seconds - time.monotonic(), 0.0))
        cpu_seconds = processes.cpu_seconds(place.program.pid) - cpu_before
        lasted_seconds = time.monotonic() - began
    ended_at = time.time()
    with contextlib.suppress(AssertionError):  # what has not ended is in the figures
        place.site.wait_until_done(patience_seconds)
    assert place.program.stop(seconds=60) == 0
    came_at = outages.images(place.site, 0.0)
    missing = place.minted - 1 - len(came_at)
    [[failed_at]] = place.site.query(BAD_FAILED_AT, BAD_PROMPT)
    paid = place.sandbox.predictions.paid_by_prompt()
    return Endured(
        hour=hour,
        tokens=place.minted,
        failed=place.site.statuses().get("failed", 0) - (failed_at is not None),
        paid_twice=sum(times > 1 for times in paid.values()),
        accepted=len(place.sandbox.predictions),
        cpu_percent=100 * cpu_seconds / lasted_seconds,
        last_image_seconds=math.inf if missing else max(came_at[-1] - ended_at, 0.0),
        bad_failed_seconds=math.inf if failed_at is None else max(failed_at - ended_at, 0.0),
    )


@contextlib.contextmanager
def lasting(sandbox: Sandbox, faults: list[Fault]) -> Iterator[None]:
    """Have these faults for a while."""
    sandbox.faults.add(*faults)
    yield
    for fault in faults:
        sandbox.faults.remove(fault)


def mints(seed: int, tokens: int, hour: Hour) -> list[tuple[float, int]]:
    """Return when tokens are minted in the hour, and how many; the largest has the bad prompt."""
    dice = random.Random(seed)
    together = min(GOOD_AROUND + 1, tokens)
    times = [dice.uniform(0.0, LAST_MINT) * hour.seconds for _ in range(tokens - together + 1)]
    return sorted(zip(times, [together] + [1] * (tokens - together), strict=True))


def mint(place: Stage, tokens: int) -> None:
    """Mint a token, or more of them with the bad prompt in their middle."""
    if tokens == 1:
        place.mint(1)
        return
    place.mint(tokens // 2)
    place.site.mint(BAD_PROMPT, first_token_id=place.minted + 1)
    place.minted += 1
    place.mint(tokens - tokens // 2 - 1)


def violations(site: Site, sandbox: Sandbox) -> Iterator[str]:
    """What breaks a promise, besides the figures."""
    yield from unfinished(site)
    yield from unaccounted(site, sandbox)
    yield from disagreeing(site)
    yield from crashed(site)


@click.command("incidents")
@click.option("--kind", default="all", show_default=True, help="What is wrong with Replicate.",
              type=click.Choice([*KINDS, "all"]))  # fmt: skip
@click.option("--seconds", default=100.0, show_default=True, help="How long an hour lasts.")
@click.option("--tokens", default=100, show_default=True, help="Minted before and during it.")
@click.option("--within", default=60.0, show_default=True,
              help="Seconds after its end in which all must be done.")  # fmt: skip
@click.option("--at-once", default=1, show_default=True, help="Kinds at the same time.")
@click.option("--seed", type=int, help="Of the mints; a new one when not given.")
@click.pass_context
def command(
    context: click.Context,
    *,
    kind: str,
    seconds: float,
    tokens: int,
    within: float,
    at_once: int,
    seed: int | None,
) -> None:
    """For an hour, shortened, Replicate makes no image for anybody."""
    kinds, seed, hour = KINDS if kind == "all" else (kind,), a_seed(seed), Hour(seconds)
    endured: dict[str, Endured] = {}

    def have_incident(each: str) -> bool:
        """Return whether all promises were kept."""
        try:
            with judged(
                f"incident-{each}", contextlib.nullcontext, None, violations,
                procs=2, sandbox=Sandbox(LATENCY_SECONDS), **hour.settings,
            ) as place:  # fmt: skip
                endured[each] = endure(
                    place, each, hour, tokens=tokens, seed=seed, patience_seconds=2 * within
                )
                judge_figures(endured[each].figures(within))
        except SystemExit:  # that one was found guilty; the others are judged all the same
            return False
        return True

    with ThreadPoolExecutor(at_once) as threads:
        kept = list(threads.map(have_incident, kinds))
    for each, cost in endured.items():
        click.echo(f"\n{each}\n{table(cost.figures(within))}")
    broken = [each for each, is_kept in zip(kinds, kept, strict=True) if not is_kept]
    click.echo(f"\n{len(broken)} of {len(kinds)} kinds broke a promise: {', '.join(broken)}")
    context.exit(int(bool(broken)))
