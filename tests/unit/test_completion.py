"""What a shell is told when somebody presses the tab key."""

import os
import subprocess
import sys

import pytest


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
