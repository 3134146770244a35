"""Compares `imagegen audit` and `imagegen spend` with the bill of an account that others use too.

Answers are lost, predictions fail and are canceled, a gateway sends requests twice, a second
program uses the same models, and somebody plays on Replicate's website.
"""

import contextlib
import json
import random
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

import click

from tests.benchmarks.figures import Figure, table
from tests.drills import bill
from tests.drills.stage import Stage
from tests.drills.verdict import a_seed, judge_figures, judged, tell
from tests.support.generation_rows import MODEL
from tests.support.judge import crashed, disagreeing, unaccounted_requests, unfinished
from tests.support.processes import Site
from tests.support.sandbox import Fault, Sandbox

IMAGES_EACH = 2
PRICE = Decimal("0.003")
SETTINGS = {
    "IMAGEGEN_MODEL_INPUT": json.dumps({"num_outputs": IMAGES_EACH}),
    "IMAGEGEN_PRICE": str(PRICE),
    "IMAGEGEN_CREATE_RATE": "2400",
    "IMAGEGEN_POLL_BUDGET": "60000",
    "IMAGEGEN_CANCEL_AFTER_SECONDS": "5",
}
LATENCY_SECONDS = 0.2
LOAD = 200  # tokens that wait or are at work
PAUSE_SECONDS = 0.5
TELL_EVERY = 1000
NO_IMAGE: list[str] = []
# What goes wrong with a token's first request, and for how many of a thousand tokens.
FAULTS: dict[str, tuple[int, Callable[[str], Fault]]] = {
    "reset": (10, lambda prompt: Fault.resets(creates=True, prompt=prompt, times=1)),
    "504": (10, lambda prompt: Fault.answers(504, creates=True, prompt=prompt, times=1)),
    "cut": (10, lambda prompt: Fault.cuts_short(prompt=prompt, times=1)),
    "sent twice, 504": (10, lambda prompt: Fault.repeats(504, prompt=prompt, times=1)),
    "sent twice, 201": (20, lambda prompt: Fault.repeats(prompt=prompt, times=1)),
    "content": (30, lambda prompt: Fault.censors(prompt, times=1)),
    "fails": (40, lambda prompt: Fault.fails(prompt, error="CUDA out of memory", times=1)),
    "canceled": (30, lambda prompt: Fault.ends("canceled", prompt, times=1)),
    "aborted": (5, lambda prompt: Fault.never_starts(prompt, times=1)),
    "no image": (5, lambda prompt: Fault.outputs(NO_IMAGE, prompt, times=1)),
}
REPEATED_LATER = 20  # of a thousand: the gateway sends the request again after it was answered
# Of others, for each of imagegen's predictions: source, model, whether with a seed, how many.
STRANGERS = (
    ("api", MODEL, True, 0.1),
    ("api", MODEL, False, 0.05),
    ("api", "meta/llama-3", False, 0.1),
    ("web", MODEL, True, 0.1),
)


@dataclass
class Account:
    """Who makes predictions at it, and what is known of them."""

    stage: Stage
    dice: random.Random
    faults: Counter[str] = field(default_factory=Counter)
    to_repeat: set[str] = field(default_factory=set)  # prompts
    repeated: set[str] = field(default_factory=set)  # predictions
    strangers: dict[str, tuple[str, str]] = field(default_factory=dict)  # source and model by id

    def mint(self, tokens: int) -> None:
        for number in range(self.stage.minted + 1, self.stage.minted + tokens + 1):
            self._choose(f"picture number {number}.")
        self.stage.mint(tokens)

    def _choose(self, prompt: str) -> None:
        draw = self.dice.randrange(1000)
        for kind, (per_thousand, fault) in FAULTS.items():
            if draw < per_thousand:
                self.faults[kind] += 1
                self.stage.sandbox.faults.add(fault(prompt))
                return
            draw -= per_thousand
        if draw < REPEATED_LATER:
            self.to_repeat.add(prompt)

    def let_others_work(self) -> None:
        """The second program, the playground and the gateway do what they do."""
        sandbox = self.stage.sandbox
        ours = len(sandbox.predictions) - len(self.strangers)
        made = Counter(self.strangers.values())
        wanted: Counter[tuple[str, str]] = Counter()
        for source, model, has_seed, share in STRANGERS:
            wanted[source, model] += round(share * ours)
            while made[source, model] < wanted[source, model]:
                # Some of them say the same words as an author.
                prompt = f"picture number {self.dice.randrange(1, self.stage.minted + 2)}, by them"
                seed = self.dice.randrange(2**31) if has_seed else None
                name = sandbox.add(prompt, model=model, seed=seed, source=source)
                self.strangers[name] = source, model
                made[source, model] += 1
        if self.to_repeat:
            self._repeat()

    def _repeat(self) -> None:
        for entry in self.stage.sandbox.ledger.created():
            if entry.status == 201 and entry.prompt in self.to_repeat:
                self.to_repeat.remove(entry.prompt)
                self.repeated.add(self.stage.sandbox.repeat(str(entry.prediction_id)))


def fill(stage: Stage, *, predictions: int, seed: int) -> Account:
    """Let at least `predictions` be made, and wait until all is quiet."""
    stage.sandbox.latency_seconds = LATENCY_SECONDS
    account = Account(stage, random.Random(seed))
    told = 0
    while (made := len(stage.sandbox.predictions)) < predictions or account.to_repeat:
        if made < predictions:
            account.mint(max(LOAD - stage.unfinished(), 0))
        account.let_others_work()
        if made >= told + TELL_EVERY:
            told = made
            tell(f"{made} predictions, {stage.minted} tokens")
        time.sleep(PAUSE_SECONDS)
    stage.finish()
    return account


@dataclass(frozen=True)
class Sum:
    """Images that are billed, and that perhaps are."""

    sure: int = 0
    perhaps: int = 0

    def __add__(self, other: "Sum") -> "Sum":
        return Sum(self.sure + other.sure, self.perhaps + other.perhaps)

    @classmethod
    def of(cls, told: dict[str, Any]) -> "Sum":
        """Return what a command tells as JSON; its dollars must be those of the images."""
        found = cls(told["images_billed"], told["images_perhaps_billed"])
        dollars = (float(found.sure * PRICE), float(found.perhaps * PRICE))
        shown = (round(told["usd"], 6), round(told["usd_perhaps"], 6))
        assert shown == dollars, f"{found} for USD {shown}"
        return found


@dataclass(frozen=True)
class Compared:
    """What the sandbox knows, and what the audit and the spend say."""

    account: Account
    audited: bill.Audited
    spent: dict[str, Any]

    @property
    def sandbox_bill(self) -> Sum:
        """What is billed for imagegen, by the sandbox."""
        total = Sum()
        for each in self.account.stage.sandbox.predictions:
            if each.id not in self.account.strangers:
                sure = each.images if each.status == "succeeded" else 0
                total += Sum(sure, each.images if each.status == "canceled" else 0)
        return total

    @property
    def imagegen_bill(self) -> Sum:
        """What `imagegen spend` says of generations, and `imagegen audit` of duplicates."""
        generations = [line for line in self.spent["lines"] if line["outcome"] != "duplicate"]
        total = Sum.of(self.audited.told["cost_of_cancelled_duplicates"])
        for part in (*generations, self.audited.told):
            total += Sum.of(part)
        return total

    @property
    def spend_and_unexplained(self) -> Sum:
        """The total of `imagegen spend`, and the cost of unexplained predictions."""
        return Sum.of(self.spent["total"]) + Sum.of(self.audited.told)

    def figures(self) -> list[Figure]:
        account, told, sandbox = self.account, self.audited.told, self.account.stage.sandbox
        sent_twice = account.faults["sent twice, 201"] + len(account.repeated)
        known = {row[0] for row in account.stage.site.query(bill.KNOWN)}
        unknown = {each.id for each in sandbox.predictions} - known - account.strangers.keys()
        named = {name for name, each in self.audited.named.items() if each["kind"] == "duplicate"}
        strangers = {
            (each["source"], each["model"]): each["predictions"] for each in told["strangers"]
        }
        others = Counter(account.strangers.values())
        explained = told["explained"] + told["cancelled_duplicates"] + sum(strangers.values())
        due, said, total = self.sandbox_bill, self.imagegen_bill, self.spend_and_unexplained
        return [
            Figure("tokens", account.stage.minted, ""),
            Figure("predictions", len(sandbox.predictions), ""),
            Figure("not in the audit", len(sandbox.predictions) - told["predictions"], "", 0, 0),
            Figure("explained", told["explained"], ""),
            Figure("duplicates that imagegen cancelled", told["cancelled_duplicates"], "",
                   at_least=account.faults["sent twice, 504"]),
            Figure("strangers", sum(strangers.values()), ""),
            Figure("strangers by a wrong name", len(dict(others).items() ^ strangers.items()), "",
                   at_most=0),
            Figure("the gateway's repeats", sent_twice, ""),
            Figure("of these, not named as duplicates", len(unknown - named), "", at_most=0),
            Figure("named without a reason", len(self.audited.named.keys() - unknown), "",
                   at_most=0),
            Figure("neither explained nor named", told["predictions"] - explained - len(named), "",
                   at_most=0),
            Figure("repeats that nobody made", abs(len(unknown) - sent_twice), "", at_most=0),
            Figure("images on the bill", due.sure, ""),
            Figure("and perhaps", due.perhaps, ""),
            Figure("dollars", float(due.sure * PRICE), "USD"),
            Figure("images billed, not in spend and audit", abs(due.sure - said.sure), "",
                   at_most=0),
            Figure("perhaps billed, not in spend and audit", abs(due.perhaps - said.perhaps), "",
                   at_most=0),
            Figure("not in the sum that spend shows",
                   abs(due.sure + due.perhaps - total.sure - total.perhaps), "", at_most=0),
        ]  # fmt: skip


def compare(account: Account) -> Compared:
    audited = bill.audit(account.stage)
    done = account.stage.site.run("spend", "--json", "--since", "1d", "--by", "outcome")
    assert done.returncode == 0, done.stderr
    return Compared(account, audited, json.loads(done.stdout))


def violations(site: Site, sandbox: Sandbox) -> Iterator[str]:
    """What breaks a promise, besides the figures."""
    yield from unfinished(site)
    yield from unaccounted_requests(site, sandbox)
    yield from disagreeing(site)
    yield from crashed(site)


@click.command("audit")
@click.option("--predictions", default=10_000, show_default=True, help="At least so many in all.")
@click.option("--seed", type=int, help="Of what goes wrong; a new one when not given.")
def command(*, predictions: int, seed: int | None) -> None:
    """`imagegen audit` explains each prediction of an account that others use too, and the dollars
    of `imagegen spend` are those of the bill."""
    seed = a_seed(seed)
    with judged(
        "audit", contextlib.nullcontext, None, violations, procs=2, sandbox=Sandbox(), **SETTINGS
    ) as place:
        account = fill(place, predictions=predictions, seed=seed)
        click.echo(
            f"  went wrong: {dict(account.faults)}, sent again later: {len(account.repeated)}"
        )
        figures = compare(account).figures()
        click.echo(table(figures))
        judge_figures(figures)
        assert place.site.statuses() == {"uploading": place.minted}
