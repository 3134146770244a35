"""The judge of a drill: what must hold when all is quiet, whatever was killed."""

from imagegen.sandbox import Sandbox
from tests.running import Site


def judge(site: Site, sandbox: Sandbox) -> None:
    """Every token has ended, none was paid for twice, and both tables tell the same story.

    Each token of a drill has a prompt of its own, so that the ledger can be asked by prompt.
    """
    statuses = site.statuses()
    assert not statuses.keys() & {"detected", "generating"}, statuses

    paid = sandbox.predictions.paid_by_prompt()
    assert {prompt: times for prompt, times in paid.items() if times > 1} == {}

    requests = site.query("SELECT count(*) FROM generations WHERE requested_at IS NOT NULL")[0][0]
    assert len(sandbox.ledger.creates()) <= requests
    known = {row[0] for row in site.query("SELECT prediction_id FROM generations")}
    assert {item.id for item in sandbox.predictions} <= known

    assert site.query("SELECT token_id FROM generations WHERE state = 'open'") == []
    assert site.query(INCONSISTENT) == []


# Law 5: uploading has an image, and it is the one of a generation that succeeded; failed has an
# error.
INCONSISTENT = """
SELECT t.token_id, t.status::text, t.image_url, t.generation_error FROM tokens_s0 t
WHERE lower(t.status::text) = 'failed' AND t.generation_error IS NULL
    OR (lower(t.status::text) = 'uploading') <> EXISTS (
        SELECT FROM generations g
        WHERE g.token_id = t.token_id AND g.state = 'succeeded' AND g.image_url = t.image_url)"""
