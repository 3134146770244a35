"""Processes and signals: none is lost, and a child does not outlive its parent."""

import contextlib
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from imagegen.supervisor import forking
from tests.support.processes import wait_for

linux_only = pytest.mark.skipif(sys.platform != "linux", reason="asks the Linux kernel")

PRELUDE = """
import os, signal, sys
from signal import SIGHUP, SIGINT, SIGTERM
from imagegen.supervisor import forking
from imagegen.supervisor.signals import Signals
def end_of(pid):
    return forking.cause(os.waitpid(pid, 0)[1])
"""


def output_of(program: str) -> list[str]:
    """What a program prints, in a process of its own: it changes signal handlers."""
    done = subprocess.run(
        [sys.executable, "-c", PRELUDE + program],
        capture_output=True, text=True, check=True, timeout=30,
    )  # fmt: skip
    return done.stdout.split()


@contextlib.contextmanager
def running(program: str) -> Iterator["subprocess.Popen[str]"]:
    with subprocess.Popen(
        [sys.executable, "-c", PRELUDE + program], stdout=subprocess.PIPE, text=True
    ) as started:
        try:
            yield started
        finally:
            started.kill()


def next_line(started: "subprocess.Popen[str]") -> str:
    assert started.stdout is not None
    return started.stdout.readline().strip()


def is_gone(pid: int) -> bool:
    path = Path(f"/proc/{pid}/stat")
    return not path.exists() or path.read_text().rpartition(")")[2].split()[0] in "ZX"


def test_signals_are_taken_in_the_order_in_which_they_came() -> None:
    taken = output_of("""
signals = Signals([SIGTERM, SIGHUP])
for number in (SIGTERM, SIGHUP, SIGTERM):
    os.kill(os.getpid(), number)
print(*(number.name for number in signals.wait(10)))
print("then", len(signals.wait(0)))
""")

    assert taken == ["SIGTERM", "SIGHUP", "SIGTERM", "then", "0"]


def test_no_signal_is_lost_in_a_storm_of_others() -> None:
    taken = output_of("""
signals = Signals([SIGTERM, SIGHUP])
for _ in range(5000):
    os.kill(os.getpid(), SIGHUP)
os.kill(os.getpid(), SIGTERM)
print(signals.wait(10).count(SIGTERM))
""")

    assert taken == ["1"]


def test_a_process_whose_output_nobody_reads_any_more_still_forks() -> None:
    assert output_of("""
reader, writer = os.pipe()
sys.stderr = os.fdopen(writer, "w")
sys.stderr.write("never read")
os.close(reader)
signal.signal(signal.SIGPIPE, signal.SIG_IGN)
pid = forking.fork()
if pid == 0:
    os._exit(7)
print(end_of(pid))
os._exit(0 if sys.stdout.flush() is None else 1)
""") == ["exit-7"]


def test_a_wait_without_an_end_ends_with_a_signal() -> None:
    with running("""
signals = Signals([SIGTERM])
print("waiting", flush=True)
print(*(number.name for number in signals.wait(None)), flush=True)
""") as started:
        assert next_line(started) == "waiting"
        started.send_signal(signal.SIGTERM)
        assert next_line(started) == "SIGTERM"


def test_a_child_that_is_told_to_end_before_it_has_begun_does_end() -> None:
    """The supervisor's handlers would swallow the signal."""
    causes = output_of("""
Signals([SIGTERM])
for _ in range(50):
    pid = forking.fork()
    if pid == 0:
        while True:
            signal.pause()
    os.kill(pid, SIGTERM)
    print(end_of(pid))
""")

    assert causes == ["SIGTERM"] * 50


def test_a_child_blocks_no_signal_and_its_parent_neither() -> None:
    blocked = output_of("""
def blocked():
    return len(signal.pthread_sigmask(signal.SIG_BLOCK, []))
pid = forking.fork()
if pid == 0:
    os._exit(blocked())
print(end_of(pid), blocked())
""")

    assert blocked == ["exit-0", "0"]


def test_a_signal_held_back_during_a_fork_reaches_the_parent_and_no_child() -> None:
    seen = output_of("""
signals = Signals([SIGTERM])
real_fork = os.fork
def fork():
    os.kill(os.getpid(), SIGTERM)
    return real_fork()
os.fork = fork
pid = forking.fork()
if pid == 0:
    os._exit(7)
print(*(number.name for number in signals.wait(10)), end_of(pid))
""")

    assert seen == ["SIGTERM", "exit-7"]


def test_a_fork_that_fails_holds_back_no_signal_afterwards() -> None:
    assert output_of("""
def fork():
    raise OSError("no memory")
os.fork = fork
signals = Signals([SIGTERM])
try:
    forking.fork()
except OSError as error:
    print(len(signal.pthread_sigmask(signal.SIG_BLOCK, [])), str(error).replace(" ", "-"))
os.kill(os.getpid(), SIGTERM)
print(*(number.name for number in signals.wait(10)))
""") == ["0", "no-memory", "SIGTERM"]


def test_ctrl_c_in_a_terminal_leaves_the_children_to_their_parent() -> None:
    assert output_of("""
pid = forking.fork()
if pid == 0:
    os.kill(os.getpid(), SIGINT)
    os._exit(7)
print(end_of(pid))
""") == ["exit-7"]


def test_what_was_printed_before_a_fork_is_printed_once() -> None:
    assert output_of("""
sys.stdout.write("once ")
pid = forking.fork()
if pid == 0:
    sys.stdout.flush()
    os._exit(0)
end_of(pid)
""") == ["once"]


@linux_only
def test_a_child_dies_with_its_killed_parent() -> None:
    with running("""
pid = forking.fork()
if pid == 0:
    signal.signal(SIGTERM, signal.SIG_IGN)
    print(os.getpid(), flush=True)
    while True:
        signal.pause()
os.waitpid(pid, 0)
""") as started:
        child = int(next_line(started))
        started.kill()
        wait_for("the child to die", lambda: is_gone(child), 10)


@linux_only
def test_a_child_whose_parent_died_at_the_fork_does_not_begin() -> None:
    assert output_of("""
tie_to_parent = forking.dies_with_this_process(SIGTERM)
pid = os.fork()
if pid == 0:
    os.getppid = lambda: 1
    tie_to_parent()
    os._exit(7)
print(end_of(pid))
""") == ["exit-1"]


@pytest.mark.parametrize(
    ("wait_status", "cause"),
    [
        (0, "exit-0"),
        (1 << 8, "exit-1"),
        (78 << 8, "exit-78"),
        (9, "SIGKILL"),
        (11, "SIGSEGV"),
        (35, "signal-35"),
    ],
)
def test_how_a_process_ended_is_told_in_a_word(wait_status: int, cause: str) -> None:
    assert forking.cause(wait_status) == cause


def test_a_core_dump_is_told_by_its_signal() -> None:
    assert forking.cause(signal.SIGABRT | 0x80) == "SIGABRT"
