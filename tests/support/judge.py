"""The judge of a drill: what must hold when all is quiet, whatever was killed."""

from collections import Counter
from collections.abc import Iterator

from tests.support.processes import Program, Site, wait_for
from tests.support.sandbox import Sandbox

# How much of the log is told around a traceback.
EXCERPT_CHARACTERS = 3000
# A process that the kernel was told to kill is gone at once, but for a slow machine.
GONE_SECONDS = 10.0


def judge(site: Site, sandbox: Sandbox) -> None:
    """Every token has ended, none was paid for twice, and both tables tell the same story.

    Each token of a drill has a prompt of its own, so that the ledger can be asked by prompt.
    """
    found = list(violations(site, sandbox))
    assert not found, "\n".join(found)


def judge_what_is_left(site: Site) -> None:
    """After the supervisor has stopped: no process and no folder of metrics."""
    wait_for("all processes to end", lambda: not site.processes(), GONE_SECONDS)
    left = [path.name for path in site.folder.glob("*imagegen-metrics-*")]
    assert not left, f"folders of metrics are left: {left}"


def judge_counters(program: Program, sandbox: Sandbox) -> None:
    """Where nothing was killed, /metrics and the ledger agree."""
    shown = program.metrics()

    def total(name: str) -> float:
        return sum(value for sample, value in shown.items() if sample.startswith(name))

    requests = 'imagegen_replicate_request_duration_seconds_count{operation="create"}'
    assert total("imagegen_attempts_total") == len(sandbox.ledger.created())
    assert total(requests) == len(sandbox.ledger.creates())
    images = total('imagegen_generations_total{outcome="succeeded"}')
    assert images == len(sandbox.predictions.paid())


def violations(site: Site, sandbox: Sandbox) -> Iterator[str]:
    """What breaks the promise, a line for each kind."""
    yield from unfinished(site)
    yield from paid_twice(site, sandbox)
    yield from unaccounted(site, sandbox)
    yield from inconsistent(site)
    yield from crashed(site)


def unfinished(site: Site) -> Iterator[str]:
    """Nothing waits, nothing is held: a lease of the dead would be an open generation."""
    statuses = site.statuses()
    if statuses.keys() & {"detected", "generating"}:
        yield f"not every token has ended: {statuses}"
    if held := site.query(OPEN):
        yield f"generations are still open (id, token, worker, lease_until): {held}"


def paid_twice(site: Site, sandbox: Sandbox) -> Iterator[str]:
    if twice := paid_too_often(site, sandbox):
        yield f"paid for more than once, by prompt: {twice}"
    tokens = dict(site.query("SELECT prediction_id, token_id FROM generations"))
    images = Counter(tokens.get(item.id) for item in sandbox.predictions.paid())
    if twice_by_token := {token: times for token, times in images.items() if token and times > 1}:
        yield f"paid for more than once, by token: {twice_by_token}"


def paid_too_often(site: Site, sandbox: Sandbox) -> dict[str, int]:
    """Return the prompts of which more images were paid for than there are tokens."""
    tokens = dict(site.query(TOKENS_BY_PROMPT))
    paid = sandbox.predictions.paid_by_prompt()
    return {
        prompt: times for prompt, times in paid.items() if times > max(tokens.get(prompt, 1), 1)
    }


def unaccounted(site: Site, sandbox: Sandbox) -> Iterator[str]:
    """Each request and each prediction belongs to one generation, which was written before."""
    yield from unaccounted_requests(site, sandbox)
    known = {row[0] for row in site.query("SELECT prediction_id FROM generations")}
    if unknown := [item for item in sandbox.predictions if item.id not in known]:
        yield f"predictions that no generation knows: {unknown}"


def unaccounted_requests(site: Site, sandbox: Sandbox) -> Iterator[str]:
    """Each request belongs to one generation."""
    rows = site.query("SELECT prompt, seed FROM generations WHERE requested_at IS NOT NULL")
    creates = sandbox.ledger.creates()
    if len(creates) > len(rows):
        yield f"{len(creates)} requests for {len(rows)} generations"
    # A sender that was killed between head and body has told no prompt, and made nothing.
    sent = Counter((each.prompt, each.seed) for each in creates if each.prompt is not None)
    has_seeds = any(each.seed is not None for each in creates)  # some models take none
    allowed = Counter((prompt, seed if has_seeds else None) for prompt, seed in rows)
    if more := sent - allowed:
        yield f"requests that no generation accounts for, by prompt and seed: {dict(more)}"


def inconsistent(site: Site) -> Iterator[str]:
    yield from disagreeing(site)
    if rows := site.query(MISCOUNTED):
        yield f"attempts miscounted (token, counted, accepted predictions): {rows}"


def disagreeing(site: Site) -> Iterator[str]:
    if rows := site.query(INCONSISTENT):
        yield f"the tables disagree (token, status, image, error): {rows}"


def crashed(site: Site) -> Iterator[str]:
    log = site.log_text()
    place = log.find("Traceback")
    if place >= 0:
        yield f"a traceback in the log:\n{log[max(place - 500, 0) : place + EXCERPT_CHARACTERS]}"


TOKENS_BY_PROMPT = """
SELECT a.prompt_text, count(*) FROM tokens_s0 t JOIN authors a ON a.id::text = t.author_id::text
GROUP BY 1"""

OPEN = "SELECT id, token_id, worker, lease_until::text FROM generations WHERE state = 'open'"

# Law 5: generating has an open generation; uploading has an image, that of a generation which
# succeeded; failed has an error.
INCONSISTENT = """
SELECT t.token_id, t.status::text, t.image_url, t.generation_error FROM tokens_s0 t
WHERE lower(t.status::text) = 'failed' AND t.generation_error IS NULL
    OR (lower(t.status::text) = 'generating') <> EXISTS (
        SELECT FROM generations g WHERE g.token_id = t.token_id AND g.state = 'open')
    OR (lower(t.status::text) = 'uploading') <> EXISTS (
        SELECT FROM generations g
        WHERE g.token_id = t.token_id AND g.state = 'succeeded'
            AND coalesce(g.handed_on_url, g.image_url) = t.image_url)"""

# Law 3: an attempt is a prediction that Replicate accepted; a fallback belongs to its attempt.
MISCOUNTED = """
SELECT t.token_id, t.generation_attempts, count(DISTINCT g.attempt) FROM tokens_s0 t
LEFT JOIN generations g ON g.token_id = t.token_id
    AND g.prediction_id IS NOT NULL AND g.state <> 'refused'
GROUP BY t.token_id, t.generation_attempts
HAVING t.generation_attempts <> count(DISTINCT g.attempt)"""
