"""A client of Replicate for a server of a test, and a create through it."""

import contextlib
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

from imagegen.replicate.client import ReplicateClient
from imagegen.replicate.http import boottime
from imagegen.replicate.list_page import Since
from imagegen.replicate.replies import Answered, Prediction, Reply
from tests.support.generation_runs import UNLIMITED
from tests.support.sandbox import DEFAULT_TOKEN

MODEL = "black-forest-labs/flux-schnell"
AN_ID = "heat2o3bzn3ahtr6bjfftvbaci"


@contextlib.contextmanager
def client_of(url: str, token: str = DEFAULT_TOKEN) -> Iterator[ReplicateClient]:
    with contextlib.closing(ReplicateClient(token, url, 300, UNLIMITED)) as client:
        yield client


def ask(client: ReplicateClient, prompt: str = "a cat", model: str = MODEL, **inputs: Any) -> Reply:
    return client.create(model, {"prompt": prompt, "seed": 7, **inputs})


def made(reply: object) -> Prediction:
    """The prediction of a reply, which must have one."""
    assert isinstance(reply, Answered), reply
    return reply.prediction


def since(at: datetime, seconds_ago: float | None = None) -> Since:
    """A time, by a clock that agrees with that of this host unless it is told how long ago."""
    if seconds_ago is None:
        seconds_ago = (datetime.now(UTC) - at).total_seconds()
    return Since(at, seconds_ago, boottime(), slack_seconds=30.0)
