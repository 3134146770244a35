"""Copies in S3, while its server is slow, hangs, is killed and comes back."""

import contextlib
import hashlib
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import click
import httpx

from imagegen.worker.s3_store import AWAY_SECONDS
from tests.benchmarks.figures import Figure, table
from tests.drills.stage import Stage
from tests.drills.verdict import judge_figures, judged, tell
from tests.support.processes import wait_for
from tests.support.prometheus import Prometheus, prometheus
from tests.support.proxy import Proxy
from tests.support.s3_server import BUCKET, S3Server, running_s3
from tests.support.sandbox import Sandbox

ALERT = "ImagegenCopiesFailing"
FAILED = 'imagegen_image_copies_total{result="failed"}'
# Tokens that are handed on with the URL of their copy wait for it, three quarters of this time.
HOUR_SECONDS = 240.0
SLOW_SECONDS = 0.5  # each piece of a request or an answer; a copy has about six
AWAY_FOR_SECONDS = 20.0  # if tokens wait for their copies; else until they have gone on
PATIENCE_SECONDS = 180.0
SETTLED_SECONDS = 1.0  # what S3 has taken in by then is written
PREFIX = f"s3://{BUCKET}/images/"

ROWS = """
SELECT t.token_id, t.image_url, image_path, image_sha256
FROM tokens_s0 t JOIN generations g ON g.token_id = t.token_id AND g.state = 'succeeded'"""


class Bucket:
    """A bucket behind a proxy. Its server can be killed, and what it holds lasts, as in S3."""

    def __init__(self) -> None:
        self._lives = contextlib.ExitStack()
        self.server = self._start()
        self.proxy = Proxy(self.server.port)
        self._kept: dict[str, bytes] = {}

    def __enter__(self) -> "Bucket":
        self.proxy.__enter__()
        return self

    def __exit__(self, *_: object) -> None:
        self.proxy.__exit__()
        self._lives.close()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.proxy.port}"

    def kill(self) -> None:
        """End the server in the middle of requests. What came through is in the bucket for good."""
        self.proxy.freeze()
        time.sleep(SETTLED_SECONDS)
        self._kept = self.server.objects()
        self._lives.close()  # by SIGKILL
        self.proxy.thaw()

    def start_again(self) -> None:
        self.server = self._start()
        for name, content in self._kept.items():
            checksum = hashlib.sha256(content).hexdigest()
            self.server.client.put_object(
                Bucket=BUCKET, Key=name, Body=content, Metadata={"sha256": checksum}
            )
        self.proxy.target_port = self.server.port

    def _start(self) -> S3Server:
        return self._lives.enter_context(running_s3())


@dataclass(frozen=True)
class Kept:
    """What became of the tokens and their copies."""

    tokens: int
    without: set[int]  # tokens without a copy
    in_good_times: set[int]  # of these, the ones that were minted while S3 was well
    wrong: set[str]  # copies that are not in the bucket as they are recorded
    unreachable: set[int]  # tokens whose URL does not bring their image
    counted: int
    alerts: list[float]  # the values of those that fire

    def figures(self, *, lasting: bool) -> list[Figure]:
        uncounted = max(len(self.without) - self.counted, 0)
        if not lasting:  # each token has given up its copy once
            uncounted = abs(len(self.without) - self.counted)
        alerted = self.alerts == [self.counted] if self.counted else not self.alerts
        return [
            Figure("tokens", self.tokens, ""),
            Figure("without a copy", len(self.without), "", at_most=0 if lasting else None),
            Figure("of these, minted while S3 was well", len(self.in_good_times), "", at_most=0),
            Figure("copies that failed, by the metric", self.counted, "", at_least=1),
            Figure("not counted, or counted in vain", uncounted, "", at_most=0),
            Figure("alert with another number", int(not alerted), "", at_most=0),
            Figure("copies that are not in the bucket", len(self.wrong), "", at_most=0),
            Figure("tokens whose URL brings no image", len(self.unreachable), "", at_most=0),
        ]


def endure(
    stage: Stage, bucket: Bucket, watcher: Prometheus, *, tokens: int, lasting: bool
) -> Kept:
    """Mint a fifth of the tokens while S3 is well, slow, hangs, is dead, and well again."""
    part = tokens // 5

    def mint(what: str, while_away: bool = False) -> None:
        tell(f"{stage.minted} tokens; S3 {what}")
        stage.mint(part)
        if while_away and lasting:
            time.sleep(AWAY_FOR_SECONDS)
        else:
            stage.site.wait_until_done(PATIENCE_SECONDS)

    mint("is well")
    bucket.proxy.delay_seconds = SLOW_SECONDS
    mint("is slow")
    bucket.proxy.delay_seconds = 0.0
    bucket.proxy.freeze()
    mint("hangs", while_away=True)
    bucket.kill()
    mint("is dead", while_away=True)
    bucket.start_again()
    time.sleep(AWAY_SECONDS)  # until then a worker does not ask it again
    mint("is well")
    failed = int(stage.program.metrics()[FAILED])
    alerts = firing(watcher, failed)
    kept = judge_copies(stage, bucket, part, failed, alerts)
    stage.finish()
    return kept


def firing(watcher: Prometheus, failed: int) -> list[float]:
    """Return the values of the alerts, once they are of this many copies."""

    def values() -> list[float]:
        return [float(each["value"]) for each in watcher.firing(ALERT)]

    with contextlib.suppress(AssertionError):
        wait_for("the alert", lambda: values() == ([failed] if failed else []), 15.0)
    return values()


def judge_copies(
    stage: Stage, bucket: Bucket, part: int, counted: int, alerts: list[float]
) -> Kept:
    objects = bucket.server.objects()
    rows = stage.site.query(ROWS)
    without = {token for token, _, path, _ in rows if path is None}
    fine = [*range(1, part + 1), *range(stage.minted - part + 1, stage.minted + 1)]
    wrong, unreachable = set(), set()
    for token, url, path, sha256 in rows:
        if path is not None:
            content = objects.get(path.replace(PREFIX, "images/"), b"")
            if hashlib.sha256(content).hexdigest() != sha256:
                wrong.add(path)
        answer = httpx.get(url, trust_env=False)
        is_image = answer.is_success and answer.content.startswith(b"\x89PNG")
        if not is_image or sha256 not in (None, hashlib.sha256(answer.content).hexdigest()):
            unreachable.add(token)
    return Kept(stage.minted, without, without & set(fine), wrong, unreachable, counted, alerts)


@click.command("copies")
@click.option("--tokens", default=150, show_default=True, help="In all.")
@click.option("--lasting", is_flag=True, help="Tokens are handed on with the URL of their copy.")
def command(*, tokens: int, lasting: bool) -> None:
    """Copies are kept in S3, whose server is slow, hangs, is killed and comes back. Needs
    Debian's package prometheus."""
    with (
        Bucket() as bucket,
        tempfile.TemporaryDirectory(prefix="imagegen-drill-prometheus-") as folder,
    ):
        settings = bucket.server.environment | {
            "AWS_ENDPOINT_URL": bucket.url,
            "IMAGEGEN_KEEP_IMAGES": f"s3://{BUCKET}/images",
            "IMAGEGEN_TEST_HOUR_SECONDS": str(HOUR_SECONDS),
            "IMAGEGEN_IMAGE_URL_BASE": f"{bucket.url}/{BUCKET}/images/" if lasting else "",
        }
        with (
            judged("copies", procs=2, sandbox=Sandbox(0.3), **settings) as place,
            prometheus(Path(folder), place.program.metrics_url()) as watcher,
        ):
            kept = endure(place, bucket, watcher, tokens=tokens, lasting=lasting)
            figures = kept.figures(lasting=lasting)
            click.echo(table(figures))
            judge_figures(figures)
            assert place.site.statuses() == {"uploading": place.minted}
