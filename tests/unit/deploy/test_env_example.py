"""deploy/imagegen.env.example has every setting, and means the same to a shell and to Docker."""

import re
import shlex
import subprocess
from pathlib import Path
from typing import Any

from imagegen.config.settings import Settings, all_settings
from imagegen.config.spec import Spec
from tests.support.deploy_files import DEFAULTS, DEPLOY, PLACEHOLDERS
from tests.support.settings import load

ENV_EXAMPLE = (DEPLOY / "imagegen.env.example").read_text(encoding="utf-8")


def env_lines(spec: Spec[Any]) -> str:
    name, default = spec.variable, spec.default
    value = f"{name}={PLACEHOLDERS[name]}" if name in PLACEHOLDERS else f"#{name}="
    return f"# {spec.help}\n{value}{'' if default is None else shlex.quote(default)}\n"


def sourced(text: str, folder: Path) -> dict[str, str]:
    """The variables that a shell reads from an env file."""
    file = folder / "imagegen.env"
    file.write_text(text, encoding="utf-8")
    script = 'set -eua; . "$1"; env -0'
    shell = subprocess.run(
        ["sh", "-c", script, "sh", str(file)], env={}, capture_output=True, text=True, check=True
    )
    pairs = [pair.partition("=") for pair in shell.stdout.split("\0")]
    ours = {spec.variable for spec in all_settings()}
    return {name: value for name, _, value in pairs if name in ours}


def as_it_stands(text: str) -> dict[str, str]:
    """The variables that Docker and kubectl read from an env file: nothing is a quote to them."""
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    return {name: value for name, _, value in (line.partition("=") for line in lines)}


def test_the_example_lists_every_setting_with_its_default() -> None:
    head, blank, body = ENV_EXAMPLE.partition("\n\n")

    assert all(line.startswith("#") for line in head.splitlines())
    assert blank
    assert body == "\n".join(env_lines(spec) for spec in all_settings())


def test_the_example_means_the_same_to_a_shell_and_to_docker(tmp_path: Path) -> None:
    assert sourced(ENV_EXAMPLE, tmp_path) == as_it_stands(ENV_EXAMPLE) == PLACEHOLDERS


def test_what_the_example_shows_as_a_default_may_be_set(tmp_path: Path) -> None:
    everything = re.sub(r"^#(?=\w+=)", "", ENV_EXAMPLE, flags=re.MULTILINE)
    given = sourced(everything, tmp_path)

    assert len(given) == len(all_settings())
    assert settings_of(load(given, {})) == settings_of(DEFAULTS)


def settings_of(settings: Settings) -> dict[str, object]:
    return {item.name: getattr(settings, item.name) for item in all_settings()}
