"""The tables of settings in deploy/SETTINGS.md and the README are those of the settings."""

from pathlib import Path

from imagegen.settings import all_settings

TOP = Path(__file__).parents[2]
SETTINGS = (TOP / "deploy" / "SETTINGS.md").read_text(encoding="utf-8")


def settings_table() -> str:
    rows = []
    for item in all_settings():
        about = item.metadata
        default = "required" if not about["optional"] else "not set"
        if about["default"] is not None:
            default = f"`{about['default']}`"
        rows.append(f"| `{about['variable']}` | {default} | {about['help']} |")
    return "\n".join(rows)


def test_every_setting_is_listed_with_its_default() -> None:
    assert SETTINGS.endswith(f"\n{settings_table()}\n")
