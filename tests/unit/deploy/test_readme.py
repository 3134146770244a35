"""The README and deploy/SETTINGS.md say of the settings what the settings say, and the commands of
the README stand there to be copied."""

import re
from pathlib import Path

import pytest

from imagegen.config.settings import all_settings
from tests.machine import guide

TOP = Path(__file__).parents[3]
README = (TOP / "README.md").read_text(encoding="utf-8")
SETTINGS = (TOP / "deploy" / "SETTINGS.md").read_text(encoding="utf-8")


def settings_table() -> str:
    rows = []
    for spec in all_settings():
        default = "required" if not spec.optional else "not set"
        if spec.default is not None:
            default = f"`{spec.default}`"
        rows.append(f"| `{spec.variable}` | {default} | {spec.help} |")
    return "\n".join(rows)


def test_every_setting_is_listed_with_its_default() -> None:
    assert SETTINGS.endswith(f"\n{settings_table()}\n")


def test_the_settings_of_the_readme_are_rows_of_the_whole_table() -> None:
    shown = re.findall(r"^\| `[A-Z_]+` \|.*$", README, re.MULTILINE)

    assert len(shown) > 3
    assert set(shown) <= set(settings_table().splitlines())


@pytest.mark.parametrize(
    "command",
    [
        "python3 -m venv .venv && .venv/bin/pip install -q -e '.[test]' && .venv/bin/imagegen demo",
        ".venv/bin/pytest",
    ],
)
def test_the_demo_and_the_tests_are_one_command_each(command: str) -> None:
    assert f"\n```sh\n{command}\n```\n" in README


def test_the_guide_has_the_commands_that_run_on_a_whole_machine() -> None:
    assert all((guide.INSTALL, guide.PROMETHEUS))
    assert f"/opt/imagegen-{guide.NEW}/bin/pip install ." in guide.install_next()
    assert (len(guide.UPGRADE), len(guide.GO_BACK)) == (3, 4)
