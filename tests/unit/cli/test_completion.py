"""What a shell gets to complete a line."""

import os
import subprocess
import sys

import pytest

from imagegen.database.tables import STATUSES


def imagegen(**environment: str) -> str:
    return subprocess.run(
        [sys.executable, "-m", "imagegen"],
        env=os.environ | environment, capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_a_shell_gets_its_script(shell: str) -> None:
    script = imagegen(_IMAGEGEN_COMPLETE=f"{shell}_source")

    assert f"_IMAGEGEN_COMPLETE={shell}_complete" in script


def test_commands_and_options_are_completed() -> None:
    command = {"COMP_WORDS": "imagegen stat", "COMP_CWORD": "1"}
    option = {"COMP_WORDS": "imagegen status --wa", "COMP_CWORD": "2"}

    assert imagegen(_IMAGEGEN_COMPLETE="bash_complete", **command) == "plain,status\n"
    assert imagegen(_IMAGEGEN_COMPLETE="bash_complete", **option) == "plain,--watch\n"


@pytest.mark.parametrize(
    ("typed", "offered"),
    [
        ("supervise --log-level ", ["debug", "info", "warning", "error"]),
        ("worker --log-format j", ["json"]),
        ("config --replace-lost ", ["yes", "no"]),
        ("tokens list --status ", list(STATUSES)),
        ("tokens list --status F", ["failed"]),
        ("tokens list --error-kind trans", ["transient"]),
        ("supervise --procs ", []),
    ],
)
def test_the_values_of_an_option_are_completed(typed: str, offered: list[str]) -> None:
    words = typed.split()
    line = {"COMP_WORDS": f"imagegen {typed}", "COMP_CWORD": str(len(words) + typed.endswith(" "))}
    shown = imagegen(_IMAGEGEN_COMPLETE="bash_complete", **line)

    assert sorted(shown.split()) == sorted(f"plain,{choice}" for choice in offered)
