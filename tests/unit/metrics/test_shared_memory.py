"""Where counts are kept: in memory that all processes of a supervisor share, and on no disk."""

import json
import subprocess
import sys

import pytest
from prometheus_client import Metric
from prometheus_client.mmap_dict import mmap_key

from imagegen.metrics import shared_memory
from imagegen.metrics.shared_memory import SharedCollector, SharedDict, SharedMemory

PRELUDE = """
import json, os, sys
from imagegen.metrics import shared_memory
shared_memory.share(workers=2)
from imagegen.metrics import definitions as metrics

def child(role, count):
    shared_memory.reserve(role)
    pid = os.fork()
    if pid == 0:
        shared_memory.become(role)
        count()
        os._exit(0)
    os.waitpid(pid, 0)

def show(*names):
    shown = {s.name: s.value for m in shared_memory.SharedCollector().collect() for s in m.samples}
    print(json.dumps([shown.get(name) for name in names]))

def show_in_a_child(*names):
    child("exporter", lambda: (show(*names), sys.stdout.flush()))
"""


def shown(program: str) -> list[list[float | None]]:
    """Return what a program shows, in a process of its own: metrics are made once in each."""
    done = subprocess.run(
        [sys.executable, "-c", PRELUDE + program],
        capture_output=True, text=True, check=True, timeout=30,
    )  # fmt: skip
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_what_a_process_counts_is_shown_by_another_that_was_forked_before_or_after() -> None:
    assert shown("""
reader, writer = os.pipe()
if os.fork() == 0:
    shared_memory.become("exporter")
    os.read(reader, 1)  # until the others have counted
    show("imagegen_images_total")
    sys.stdout.flush()
    os._exit(0)
child("worker-0", metrics.IMAGES.inc)
child("worker-1", lambda: metrics.IMAGES.inc(2))
os.write(writer, b".")
os.wait()
show_in_a_child("imagegen_images_total")
""") == [[3.0], [3.0]]


def test_a_process_that_replaces_another_goes_on_with_its_counts() -> None:
    assert shown("""
child("worker-0", metrics.IMAGES.inc)
child("worker-0", metrics.IMAGES.inc)
show_in_a_child("imagegen_images_total")
""") == [[2.0]]


def test_the_gauges_of_a_process_that_has_ended_are_forgotten_and_set_again_by_the_next() -> None:
    names = '("imagegen_create_pace", "imagegen_images_total")'
    assert shown(f"""
child("worker-0", lambda: (metrics.CREATE_PACE.set(5), metrics.IMAGES.inc()))
show{names}
shared_memory.forget_gauges("worker-0")
show{names}
child("worker-0", lambda: metrics.CREATE_PACE.set(7))
show{names}
""") == [[5.0, 1.0], [0.0, 1.0], [7.0, 1.0]]


def test_a_process_that_was_killed_while_it_counted_leaves_what_it_had_counted() -> None:
    assert shown("""
import signal
child("worker-0", lambda: (metrics.IMAGES.inc(), os.kill(os.getpid(), signal.SIGKILL)))
child("worker-0", metrics.IMAGES.inc)
show("imagegen_images_total")
""") == [[2.0]]


@pytest.fixture
def memory(monkeypatch: pytest.MonkeyPatch) -> SharedMemory:
    """A memory with room for two roles."""
    made = SharedMemory(roles=2)
    monkeypatch.setattr(shared_memory, "_memory", made, raising=False)
    monkeypatch.setattr("prometheus_client.multiprocess.MmapedDict", SharedDict)
    return made


def count(file: str, name: str, value: float = 7.0) -> None:
    key = mmap_key("images", name, [], [], "Images.")
    SharedDict(file).write_value(key, value, 0.0)  # type: ignore[no-untyped-call]


def collected() -> dict[str, float]:
    metrics: list[Metric] = list(SharedCollector().collect())
    return {each.name: each.value for metric in metrics for each in metric.samples}


def test_counts_that_have_no_room_are_not_shown_and_end_no_process(memory: SharedMemory) -> None:
    for each in range(3000):
        count("counter_supervisor.db", f"images_{each}")

    shown = collected()
    assert 500 < len(shown) < 3000
    assert set(shown.values()) == {7.0}
    assert collected() == shown


def test_the_counts_of_more_workers_than_there_is_room_for_are_not_shown(
    memory: SharedMemory,
) -> None:
    assert [memory.reserve(role) for role in ("worker-0", "worker-1", "worker-0")] == [
        True, False, True
    ]  # fmt: skip
    for role in ("worker-0", "worker-1"):
        memory.role = role
        count(f"counter_{role}.db", role)

    assert collected() == {"worker-0": 7.0}


def test_a_scrape_while_gauges_are_forgotten_is_no_error(memory: SharedMemory) -> None:
    count("gauge_livesum_supervisor.db", "busy")
    memory.forget_gauges("supervisor")

    assert collected() == {}
