"""`python -m tests.benchmarks.stand_in`: the sandbox behind a quick server, for benchmarks.

The answers are those of `imagegen.sandbox`. Its server has a thread for each connection; here one
thread serves all, so that imagegen is measured and not what stands in for Replicate.
"""

import asyncio
import itertools
import json
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from http import HTTPStatus

import click
import httpx

from imagegen.sandbox.api import Api, read_call
from imagegen.sandbox.faults import PredictionScript
from imagegen.sandbox.predictions import PredictionStore
from imagegen.sandbox.responses import Answer, json_answer

HOST = "127.0.0.1"
PREFIX = "/stand-in/"
STATUS_LINES = {each: f"HTTP/1.1 {each} {each.phrase}\r\n".encode() for each in HTTPStatus}
HEAD_END = b"\r\n\r\n"


class Replicate:
    """The predictions, how long each of them takes, and when the request for each arrived."""

    def __init__(self, url: str) -> None:
        self._arrivals: list[tuple[str, float]] = []  # prompt, and when, on the monotonic clock
        self._times: Iterator[float] = itertools.repeat(0.0)
        self._api = Api(url, PredictionStore(0.0), self._script)

    def answer(self, method: str, target: str, headers: dict[str, str], body: bytes) -> Answer:
        if target.startswith(PREFIX):
            return self._control(method, target.removeprefix(PREFIX), body)
        return self._api.answer(read_call(method, target, headers, body))

    def _script(self, prompt: str) -> PredictionScript:
        self._arrivals.append((prompt, time.monotonic()))
        return PredictionScript(latency_seconds=next(self._times))

    def _control(self, method: str, what: str, body: bytes) -> Answer:
        if (method, what) == ("PUT", "times"):
            self._times = itertools.cycle(json.loads(body))
            self._arrivals = []
        return json_answer(self._arrivals)


class Connection(asyncio.Protocol):
    """One connection, kept alive: whole requests in, whole answers out."""

    def __init__(self, replicate: Replicate) -> None:
        self._replicate = replicate
        self._received = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._received += data
        while (end := self._received.find(HEAD_END)) >= 0:
            first, *lines = self._received[:end].decode("latin-1").split("\r\n")
            headers = {name.lower(): value for name, _, value in (x.partition(": ") for x in lines)}
            start = end + len(HEAD_END)
            stop = start + int(headers.get("content-length", "0"))
            if len(self._received) < stop:
                return
            body, self._received = self._received[start:stop], self._received[stop:]
            method, target, _ = first.split(" ")
            self._transport.write(as_bytes(self._replicate.answer(method, target, headers, body)))


def as_bytes(answer: Answer) -> bytes:
    lines = [f"{name}: {value}\r\n" for name, value in answer.headers.items()]
    head = f"{''.join(lines)}content-length: {len(answer.body)}\r\n\r\n"
    return STATUS_LINES[HTTPStatus(answer.status)] + head.encode("latin-1") + answer.body


class StandIn:
    """The stand-in in another process, as the benchmarks see it."""

    def __init__(self, url: str, pid: int) -> None:
        self.url = url
        self.pid = pid
        # No proxy stands before the loopback.
        self._http = httpx.Client(base_url=url + PREFIX, trust_env=False)

    def set_times(self, seconds: Sequence[float]) -> None:
        """The k-th prediction created from now on takes the k-th time; after the last one the
        first follows. Forgets the arrivals so far."""
        self._http.put("times", content=json.dumps(list(seconds))).raise_for_status()

    def arrivals(self) -> list[tuple[str, float]]:
        """The prompt of each prediction since then, and when its request arrived, on the host's
        monotonic clock."""
        found = self._http.get("arrivals").raise_for_status().json()
        return [(str(prompt), float(at_seconds)) for prompt, at_seconds in found]

    def close(self) -> None:
        self._http.close()


@contextmanager
def running() -> Iterator[StandIn]:
    """The stand-in as a process of its own, so that its work is not counted as imagegen's."""
    command = [sys.executable, "-m", "tests.benchmarks.stand_in"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            stand_in = StandIn(process.stdout.readline().strip(), process.pid)
            yield stand_in
            stand_in.close()
        finally:
            process.terminate()


@click.command()
def main() -> None:
    """Replicate's API for benchmarks. Prints its URL, and serves until SIGTERM or Ctrl-C."""
    asyncio.run(serve())


async def serve() -> None:
    loop, stop = asyncio.get_running_loop(), asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    replicate: list[Replicate] = []  # its URLs need the port, which the server has first
    server = await loop.create_server(lambda: Connection(replicate[0]), HOST, 0)
    url = f"http://{HOST}:{server.sockets[0].getsockname()[1]}"
    replicate.append(Replicate(url))
    click.echo(url)
    await stop.wait()


if __name__ == "__main__":
    main()
