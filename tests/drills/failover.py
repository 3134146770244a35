"""The database goes back in time by seconds, while predictions are in flight.

Predictions of those seconds are in Replicate's list and in no row. No token may get the image
of another, and no image may be paid for twice.
"""

import contextlib
import random
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from functools import partial

import psycopg

from tests.drills.stage import Stage
from tests.drills.standby import (
    ServerThatGoesBack,
    ServerWithSnapshot,
    ServerWithStandby,
    query,
)
from tests.support import judge
from tests.support.processes import Site, wait_for
from tests.support.sandbox import Fault, Sandbox

KINDS: dict[str, Callable[[], ServerThatGoesBack]] = {
    "asynchronous": partial(ServerWithStandby, synchronous=False),
    "synchronous": partial(ServerWithStandby, synchronous=True),
    "snapshot": ServerWithSnapshot,
}
# Events of every generation, which say nothing about the failover.
USUAL = {"token.claimed", "token.generation.succeeded"}

# As an indexer of a chain writes them, which reads the lost blocks again: the same tokens of the
# same authors.
AUTHORS = """
INSERT INTO authors (wallet_address, prompt_text)
SELECT 'wallet ' || n, 'picture number ' || n || '.' FROM generate_series(1, %s) n"""
TOKENS = """
INSERT INTO tokens_s0 (token_id, author_id)
SELECT n, id FROM generate_series(1, %s) n JOIN authors ON wallet_address = 'wallet ' || n
ON CONFLICT (token_id) DO NOTHING"""

# PostgreSQL writes the next 32 ids of a sequence to its log ahead, and a standby goes on after
# them. Here 4 of them are left: what is given out after those is given out again, to other tokens.
USE_UP_IDS = """
SELECT nextval('generations_id_seq')
FROM generate_series(1, (SELECT (log_cnt - 4 + 33) % 33 FROM generations_id_seq))"""
GENERATIONS = "SELECT id, opened_at FROM generations"


@dataclass(frozen=True)
class WentBack:
    """What there was when the database went back, and what it forgot."""

    at: float  # Unix time
    statuses: dict[str, int]
    paid: int
    in_flight: int
    forgotten_generations: int


def fail_over(
    stage: Stage,
    server: ServerThatGoesBack,
    *,
    tokens: int,
    lag_seconds: float,
    latency_seconds: tuple[float, float],
    mint_in_lag: bool = False,
    kill_worker: bool = False,
    seed: int = 0,
) -> WentBack:
    """Turn all tokens into images on a server that loses its last `lag_seconds` midway.

    With `mint_in_lag` half of the tokens are minted in those seconds, and once more afterwards.
    """
    dice = random.Random(seed)
    stage.sandbox.faults.add(
        *(Fault.takes(dice.uniform(*latency_seconds), prompt_of(n)) for n in range(1, tokens + 1))
    )
    stage.minted = tokens
    stage.site.query(AUTHORS, tokens)
    stage.site.query(TOKENS, tokens // 2 if mint_in_lag else tokens)
    wait_for("the first images", lambda: len(stage.sandbox.predictions.paid()) >= tokens // 4)
    with ids_used_up(server):
        server.fall_behind()
    stage.site.query(TOKENS, tokens)
    time.sleep(lag_seconds)

    if kill_worker:
        stage.kill(stage.workers()[0])
    predictions = stage.sandbox.predictions
    statuses, generations = stage.site.statuses(), query(server, GENERATIONS)
    at = time.time()
    server.go_back()
    forgotten = set(generations) - set(query(server, GENERATIONS))
    stage.site.wait_until_reachable()
    stage.site.query(TOKENS, tokens)
    stage.finish()
    paid = len(predictions.paid())
    return WentBack(at, statuses, paid, len(predictions) - paid, len(forgotten))


@contextlib.contextmanager
def ids_used_up(server: ServerThatGoesBack) -> Iterator[None]:
    """Leave few ids that were written ahead, and let no generation change in the meantime."""
    with psycopg.connect(server.url) as connection:
        connection.execute("LOCK TABLE generations IN SHARE ROW EXCLUSIVE MODE")
        query(server, USE_UP_IDS)
        yield


def violations(site: Site, sandbox: Sandbox) -> Iterator[str]:
    """What breaks the promise. A request of the lost seconds need not be in any row."""
    yield from judge.unfinished(site)
    if failed := site.query(FAILED):
        yield f"tokens without an image (token, error): {failed}"
    if mixed_up := images_of_another_prompt(site, sandbox):
        yield f"images of another prompt, by token: {mixed_up}"
    yield from judge.paid_twice(site, sandbox)
    yield from judge.inconsistent(site)
    yield from judge.crashed(site)


FAILED = "SELECT token_id, generation_error FROM tokens_s0 WHERE image_url IS NULL"
IMAGES = "SELECT token_id, image_url FROM tokens_s0 WHERE image_url IS NOT NULL"


def images_of_another_prompt(site: Site, sandbox: Sandbox) -> dict[int, str]:
    """Return the tokens whose image was made from the prompt of another, and that prompt."""
    prompts = {each.id: each.prompt for each in sandbox.predictions}
    # …/files/{prediction}/out-0.png
    images = {token: prompts[url.split("/")[-2]] for token, url in site.query(IMAGES)}
    return {token: prompt for token, prompt in images.items() if prompt != prompt_of(token)}


def prompt_of(token_id: int) -> str:
    return f"picture number {token_id}."


def in_words(stage: Stage, went_back: WentBack) -> str:
    """Return the figures of a run, and which tokens the log names since the failover."""
    known = {row[0] for row in stage.site.query("SELECT prediction_id FROM generations")}
    paid = stage.sandbox.predictions.paid_by_prompt()
    figures = {
        "when it went back": f"{went_back.statuses}, {went_back.paid} predictions paid,"
        f" {went_back.in_flight} in flight",
        "generations forgotten": went_back.forgotten_generations,
        "images of another prompt": len(images_of_another_prompt(stage.site, stage.sandbox)),
        "paid twice": sum(times > 1 for times in paid.values()),
        "predictions in no row": sum(each.id not in known for each in stage.sandbox.predictions),
        "seconds to the last image": round(time.time() - went_back.at, 1),
    }
    named: dict[str, set[int]] = defaultdict(set)
    for line in stage.program.events():
        if "token_id" in line and line["event"] not in USUAL and since(line) >= went_back.at:
            named[" ".join([line["event"], line.get("result", "")])].add(line["token_id"])
    lines = [f"  {what}: {value}" for what, value in figures.items()]
    lines += [f"  log: {event} of tokens {sorted(named[event])}" for event in sorted(named)]
    return "\n".join(lines)


def since(line: dict[str, str]) -> float:
    return datetime.fromisoformat(line["timestamp"]).timestamp()
