"""The README's table of settings is made of the settings."""

from pathlib import Path

from imagegen.settings import all_settings

README = Path(__file__).parents[2] / "README.md"


def settings_table() -> str:
    rows = []
    for item in all_settings():
        about = item.metadata
        default = "required" if not about["optional"] else "not set"
        if about["default"] is not None:
            default = f"`{about['default']}`"
        rows.append(f"| `{about['variable']}` | {default} | {about['help']} |")
    return "\n".join(rows)


def test_the_readme_lists_every_setting_with_its_default() -> None:
    assert settings_table() in README.read_text(encoding="utf-8")
