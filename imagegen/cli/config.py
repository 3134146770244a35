"""`imagegen config`: the settings as they are in force."""

import json
import os
from typing import Any

import click

from imagegen.cli.options import misconfigured, settings_options
from imagegen.cli.output import harmless
from imagegen.config import SECRET_PARTS, all_settings, given, misspelt, parts_of, read
from imagegen.redaction import HIDDEN


@click.command()
@click.option("--json", "as_json", is_flag=True, help="As one JSON object.")
@settings_options()
def config(*, as_json: bool, **options: str | None) -> None:
    """Show every setting, its value and where it comes from.

    Exit code 78 when one is missing or wrong.

    Example: imagegen config
    """
    names = [item.name for item in all_settings()]
    values, wrong = read(os.environ, options, names)
    shown: dict[str, dict[str, Any]] = {}
    for item in all_settings():
        variable, value = item.metadata["variable"], values.get(item.name)
        if item.name not in values:
            text = "(wrong)"
        elif value is None:
            text = "none" if item.metadata["default"] else "(not set)"
        elif item.metadata["secret"]:
            text = value = _without_passwords(value) if item.name == "database_url" else HIDDEN
        else:
            text = _as_given(value)
        _, source = given(item, os.environ, options)
        shown[variable] = {"value": value, "source": source}
        if not as_json:
            click.echo(f"{variable:<32} {text}  ({source})")
    if as_json:
        click.echo(json.dumps(shown, indent=2, default=str))
    for line in misspelt(os.environ):
        click.echo(f"imagegen: {harmless(line)}", err=True)
    if wrong:
        raise misconfigured(wrong)


def _as_given(value: object) -> str:
    """A value as text that its setting takes."""
    match value:
        case bool():
            return "yes" if value else "no"
        case float():
            return repr(value).removesuffix(".0")
        case dict():
            return json.dumps(value)
        case _:
            return str(value)


def _without_passwords(url: str) -> str:
    """A database URL in libpq's other form, word by word."""
    parts = parts_of(url)
    words = parts | {name: HIDDEN for name in SECRET_PARTS if name in parts}
    return " ".join(f"{name}={word}" for name, word in words.items())
