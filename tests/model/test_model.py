"""The protocol of payment keeps its promises in every order of its steps: `protocol.pml`, by spin.

Each search is exhaustive: spin visits every state that the model can reach in that size. Larger
sizes take minutes. They were searched by hand, as the head of the model says, and had no error:
four faults; a failover with two faults and two attempts, with three faults, with two tokens and a
fault; two failovers with a fault; two tokens for cycles.
"""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

MODEL = Path(__file__).with_name("protocol.pml")
SEARCH_SECONDS = 300.0

needs_spin = pytest.mark.skipif(
    not (shutil.which("spin") and shutil.which("gcc")),
    reason="Debian's packages spin and gcc are not installed: the protocol's model is not checked",
)

Size = dict[str, int]
NETWORK: Size = {"FAULTS": 2}
FAILOVER: Size = {"FAULTS": 1, "FAILOVERS": 1, "ATTEMPTS": 1}
TWO_FAILOVERS: Size = {"FAULTS": 0, "FAILOVERS": 2, "ATTEMPTS": 1}
TWO_TOKENS: Size = {"FAULTS": 0, "FAILOVERS": 1, "ATTEMPTS": 1, "TOKENS": 2}
LARGE: dict[str, Size] = {
    "three-faults": {"FAULTS": 3},
    "failover-and-two-faults": {"FAULTS": 2, "FAILOVERS": 1, "ATTEMPTS": 1},
    "failover-and-two-attempts": {"FAULTS": 0, "FAILOVERS": 1, "ATTEMPTS": 2},
    "two-failovers": TWO_FAILOVERS,
    "two-tokens": TWO_TOKENS,
}

PAID_TWICE, WRONG_IMAGE = "!(is_paid_twice)", "!(is_wrong_image)"
NEVER_ENDS = "invalid end state"
# What spin finds if a law is taken out, and in which size.
WITHOUT: dict[str, tuple[Size, str]] = {
    "NO_LAW1": (NETWORK, PAID_TWICE),
    "NO_LAW2_SETTLE": (NETWORK, PAID_TWICE),
    "NO_LAW2_LIST": (NETWORK, PAID_TWICE),
    "NO_LAW2_WAIT": (NETWORK, PAID_TWICE),
    "NO_SEND_BY": (NETWORK, PAID_TWICE),
    "NO_OWN_PREDICTION": (FAILOVER, PAID_TWICE),
    "NO_LATE_LOOK": (FAILOVER, PAID_TWICE),
    "NO_LAW4_MARKER": (TWO_TOKENS, WRONG_IMAGE),
    "NO_LAW4_WORKER": (FAILOVER, PAID_TWICE),
    "NO_LAW4_SERVER": (FAILOVER, PAID_TWICE),
    "NO_BUSY_CHECK": (FAILOVER, PAID_TWICE),
    "NO_DOUBT_WAIT": (FAILOVER, PAID_TWICE),
    "NO_DOUBT_LOOK": (FAILOVER, PAID_TWICE),
    "NO_DOUBT_FOR_NEW_TOKENS": (FAILOVER, PAID_TWICE),
    "NO_LAW5": (NETWORK, PAID_TWICE),
    "NO_LAW8": (NETWORK, NEVER_ENDS),
}


@needs_spin
@pytest.mark.parametrize("size", LARGE.values(), ids=LARGE)
def test_no_image_is_paid_twice_or_swapped_and_every_token_ends(size: Size, tmp_path: Path) -> None:
    found = search(tmp_path, size)

    assert errors(found) == 0, f"{found}\n{steps(tmp_path, size)}"


@needs_spin
@pytest.mark.parametrize(
    "size", [NETWORK, FAILOVER, TWO_FAILOVERS], ids=["network", "failover", "two-failovers"]
)
def test_no_run_goes_on_for_ever(size: Size, tmp_path: Path) -> None:
    found = search(tmp_path, size, for_cycles=True)

    assert errors(found) == 0, f"{found}\n{steps(tmp_path, size)}"


@needs_spin
@pytest.mark.parametrize("law", WITHOUT)
def test_each_law_is_needed(law: str, tmp_path: Path) -> None:
    size, promise = WITHOUT[law]

    found = search(tmp_path, size | {law: 1}, optimize="-O0")

    assert errors(found) > 0, found
    assert promise in found


@needs_spin
def test_every_step_of_a_slot_is_taken(tmp_path: Path) -> None:
    """A step that no run reaches would prove nothing."""
    found = search(tmp_path, FAILOVER, optimize="-O0")

    unreached = found.partition("unreached in proctype Slot")[2].partition("unreached in")[0]
    assert re.findall(r"state \d+, (.*)", unreached) == ['"-end-"'], unreached


def test_each_law_of_the_model_is_taken_out_by_a_test() -> None:
    assert set(re.findall(r"#ifn?def (NO_\w+)", MODEL.read_text())) == set(WITHOUT)


def search(folder: Path, size: Size, *, for_cycles: bool = False, optimize: str = "-O2") -> str:
    """Return what spin reports of the model in this size: of its states, or of its cycles.

    gcc takes 3 s with -O2, and 0.5 s with -O0, which is enough for a short search."""
    run(folder, "spin", "-a", *defined(size), str(MODEL))
    kind = ["-DNP"] if for_cycles else ["-DSAFETY"]
    run(folder, "gcc", optimize, "-w", "-DCOLLAPSE", *kind, "-o", "pan", "pan.c")
    report = run(folder, "./pan", *(["-l"] if for_cycles else []))
    # It found an error, or it searched all.
    assert errors(report) or not re.search(r"max search depth|out of memory", report), report
    return report


def steps(folder: Path, size: Size) -> str:
    """Return the steps that lead to the error that was found, in words."""
    if not (trail := folder / f"{MODEL.name}.trail").exists():
        return ""
    said = run(folder, "spin", "-t", "-T", "-k", trail.name, *defined(size), str(MODEL))
    return said.partition("#processes")[0]  # the rest is the state in which they end


def errors(report: str) -> int:
    found = re.search(r"errors: (\d+)", report)
    assert found, report
    return int(found[1])


def defined(size: Size) -> list[str]:
    return [f"-D{name}={value}" for name, value in size.items()]


def run(folder: Path, *command: str) -> str:
    done = subprocess.run(
        command, cwd=folder, capture_output=True, text=True, check=False, timeout=SEARCH_SECONDS
    )
    said = done.stdout + done.stderr
    assert done.returncode == 0, said
    return said
