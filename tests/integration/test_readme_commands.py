"""Every command of the README, as it stands there, on a fresh checkout with a fresh environment."""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.machine.installation import CHECKOUT
from tests.support.processes import Site, wait_for

TOP = Path(__file__).parents[2]
README = (TOP / "README.md").read_text(encoding="utf-8")
INSTALL_SECONDS = 300.0
# Values that a reader puts in; here they come from the environment.
PLACEHOLDER = re.compile(r"^export \w+=.*$", re.MULTILINE)


def blocks(language: str) -> list[str]:
    """The code blocks of the README in this language."""
    return re.findall(rf"^```{language}\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)


def named_commands() -> Iterator[list[str]]:
    """The commands that the table of the README names: `imagegen tokens list`, `show` are two."""
    for row in re.findall(r"^\| (`imagegen .*?) \|", README, re.MULTILINE):
        first, *others = re.findall(r"`(.+?)`", row)
        words = first.removeprefix("imagegen ").split()
        words = [word for word in words if re.fullmatch("[a-z]+", word)]
        yield words
        yield from ([*words[:-1], other] for other in others)


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    folder = tmp_path / "imagegen"
    folder.mkdir()
    for name in CHECKOUT:
        if (TOP / name).is_dir():
            shutil.copytree(TOP / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(TOP / name, folder / name)
    return folder


@pytest.mark.direct  # the demo has a PostgreSQL of its own
def test_every_command_of_the_readme_does_what_it_says(
    checkout: Path, empty_site: Site, folder_for_all: Path
) -> None:
    """One test, because the environment takes long to make."""
    see_it_work, start, run_tests = blocks("sh")
    binaries = checkout / ".venv" / "bin"
    path = os.pathsep.join([str(binaries), str(Path(sys.executable).parent), os.environ["PATH"]])
    environment = empty_site.environment | {
        "PATH": path,
        "TMPDIR": str(folder_for_all),  # the demo's PostgreSQL may run as another user
        "PIP_NO_COMPILE": "1",  # most of what is installed is never imported
    }
    environment.pop("PYTHONPATH", None)

    def shell(script: str) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            ["sh", "-e", "-c", script], cwd=checkout, env=environment, capture_output=True,
            text=True, check=False, timeout=INSTALL_SECONDS,
        )  # fmt: skip

    demo = shell(see_it_work)
    assert demo.returncode == 0, demo.stderr
    sheet = re.search(r"^The images: (.+)$", demo.stdout, re.MULTILINE)
    assert sheet
    assert Path(sheet.group(1)).is_file()

    *prepare, supervise = PLACEHOLDER.sub("", start).split("\n\n")[-1].strip().splitlines()
    prepared = shell("\n".join(prepare))
    assert prepared.returncode == 0, prepared.stderr
    minted = shell('imagegen enqueue "A lighthouse" --count 3')
    assert minted.returncode == 0, minted.stderr
    with subprocess.Popen(
        supervise.split(), cwd=checkout, env=environment, stderr=subprocess.DEVNULL
    ) as supervisor:
        try:
            wait_for("three images", lambda: empty_site.statuses() == {"uploading": 3})
            for command in ("imagegen doctor", "imagegen status", "imagegen tokens show 1"):
                done = shell(command)
                assert done.returncode == 0, (command, done.stdout, done.stderr)
        finally:
            supervisor.terminate()
    [reset] = blocks("sql")
    empty_site.query(reset.replace("42", "1"))
    assert empty_site.statuses() == {"uploading": 2, "detected": 1}

    for words in named_commands():
        known = empty_site.call(*words, "--help")
        assert known.returncode == 0, (words, known.stderr)
    collected = shell(f"{run_tests.strip()} --version")
    assert collected.returncode == 0, collected.stderr
