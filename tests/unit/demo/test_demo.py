"""What the demo prints on terminals and in pipes, and what of the shell reaches its supervise."""

import json
import signal
import subprocess
import sys
from pathlib import Path
from typing import cast

import pytest
from click import unstyle

from imagegen.cli.demo_run import print_refusals, progress_text, results_table
from imagegen.cli.output import text_width
from imagegen.config.settings import all_settings
from imagegen.demo.demo import Demo, DemoError, Progress, Result
from imagegen.demo.supervise_process import (
    SuperviseProcess,
    live_settings,
    newest_refusal,
    without_settings,
)
from imagegen.demo.tokens import DEMO_TOKENS

README = Path(__file__).parents[3] / "README.md"
UNREACHABLE = Progress({"detected": 18, "generating": 2}, "unreachable: no route")
AT_WORK = Progress({"generating": 20}, None)


def result(number: int, seconds: float, *, attempts: int = 1, error: str | None = None) -> Result:
    token = DEMO_TOKENS[number - 1]
    sent = (token.prompt, "the fallback") if token.author == "frida" else (token.prompt,)
    return Result(number, token, token.ends, attempts, seconds, sent, error, None)


RESULTS = [
    result(1, 1.9),
    result(6, 2.6),
    result(9, 1.5),
    result(16, 7.3, attempts=3),
    result(17, 0.0, attempts=0, error="the prompt has 1159 characters, more than 1000"),
    result(18, 1.2),
]


def lines(width: int | None) -> list[str]:
    return [unstyle(line) for line in results_table(RESULTS, width)]


# The table at the end.


@pytest.mark.parametrize("width", [40, 59, 60, 80, 100])
def test_the_table_fits_the_terminal(width: int) -> None:
    assert max(map(text_width, lines(width))) <= width
    assert len(lines(width)) == 1 + len(RESULTS)


def test_what_became_of_the_censored_prompt_is_reported_whole_at_80_columns() -> None:
    assert lines(80)[2] == (
        "    6  frida     uploading      2.6  censored; the fallback prompt was used"
    )


def test_the_readme_shows_the_table_as_a_terminal_of_80_columns_does() -> None:
    readme = README.read_text(encoding="utf-8").splitlines()

    for line in [*lines(80)[:3], *lines(80)[4:6]]:
        assert line in readme


# What is shown while it runs.


def test_in_a_pipe_a_refusal_is_one_plain_line(capsys: pytest.CaptureFixture[str]) -> None:
    print_refusals([AT_WORK, UNREACHABLE, UNREACHABLE, AT_WORK])

    assert capsys.readouterr().out == "Replicate refuses: unreachable: no route\n"


def test_beside_the_bar_stands_the_refusal_and_else_what_becomes_of_the_tokens() -> None:
    texts = [
        progress_text(UNREACHABLE),
        progress_text(Progress({"uploading": 3, "failed": 1}, None)),
    ]

    assert texts == ["unreachable: no route", "1 failed, 3 uploading"]


def test_an_end_of_patience_names_the_refusal(tmp_path: Path) -> None:
    class AtWork:
        has_ended = False

    stuck = Demo(tmp_path)
    stuck._supervise = cast(SuperviseProcess, AtWork())

    with pytest.raises(
        DemoError, match="not done after 300 s, refused: unreachable: no route; see"
    ):
        stuck._check(UNREACHABLE, deadline=0.0)


def gate(event: str, worker: str, **more: str | None) -> str:
    return json.dumps({"event": f"gate.{event}", "worker": worker, **more})


CLOSED = gate("closed", "worker-0", reason="unreachable", error="no route")
CLOSED_TOO = gate("closed", "worker-1", reason="no_credit", error="pay")


@pytest.mark.parametrize(
    ("log", "refusal"),
    [
        ([], None),
        (['{"event": "worker.started"}', "no JSON"], None),
        ([CLOSED], "unreachable: no route"),
        ([CLOSED, CLOSED_TOO], "no_credit: pay"),
        ([CLOSED, CLOSED_TOO, gate("opened", "worker-1")], "unreachable: no route"),
        ([CLOSED, gate("opened", "worker-0")], None),
        ([gate("closed", "worker-0", reason="daily_limit")], "daily_limit"),
        ([CLOSED, CLOSED_TOO[:-9]], "unreachable: no route"),
    ],
)
def test_the_refusal_is_that_of_the_gate_that_closed_last(
    log: list[str], refusal: str | None
) -> None:
    assert newest_refusal(log) == refusal


# The shell's environment.


def test_no_setting_of_production_reaches_the_supervise() -> None:
    shell = {spec.variable: "of production" for spec in all_settings()}

    assert without_settings(shell | {"PATH": "/bin"}) == {"PATH": "/bin"}


def test_live_takes_over_the_account_and_the_model_alone() -> None:
    shell = {spec.variable: "of production" for spec in all_settings()}

    assert live_settings(shell).keys() == {
        "REPLICATE_API_TOKEN", "REPLICATE_BASE_URL", "REPLICATE_MODEL_VERSION",
        "IMAGEGEN_MODEL_INPUT", "IMAGEGEN_MARKER_INPUT",
    }  # fmt: skip


# Ctrl-C.

INTERRUPTED = """
import signal
from imagegen.cli.interrupts import Interrupts
interrupts = Interrupts()
def interrupt():
    signal.raise_signal(signal.{name})
def heard():
    try:
        with interrupts.delivered():
            print("begun")
            interrupt()
            print("went on")
    except KeyboardInterrupt:
        interrupt()
        print("interrupted")
"""


def test_no_server_is_even_imported_before_an_interrupt_can_be_noted() -> None:
    program = "import sys, imagegen.cli.demo; print({'imagegen.sandbox', 'httpx'} & {*sys.modules})"
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )

    assert done.stdout == "set()\n"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize(
    ("program", "printed"),
    [
        ("heard()", ["begun", "interrupted"]),
        ("interrupt(); print('started'); heard()", ["started", "interrupted"]),
        ("heard(); interrupt(); print('cleaned up')", ["begun", "interrupted", "cleaned up"]),
    ],
)
def test_an_interrupt_is_heard_once_and_never_while_servers_start_or_stop(
    number: signal.Signals, program: str, printed: list[str]
) -> None:
    done = subprocess.run(
        [sys.executable, "-c", INTERRUPTED.format(name=number.name) + program],
        capture_output=True, text=True, check=True,
    )  # fmt: skip

    assert done.stdout.splitlines() == printed
