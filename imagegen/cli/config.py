"""`imagegen config`: the settings as they are in force."""

import json
import os

import click

from imagegen.cli.options import misconfigured, settings_options
from imagegen.logs import HIDDEN
from imagegen.settings import all_settings, read, url_secrets


@click.command()
@click.option("--json", "as_json", is_flag=True, help="As one JSON object.")
@settings_options()
def config(*, as_json: bool, **options: str | None) -> None:
    """Show every setting, its value and where it comes from; exit with 78 when one is wrong.

    Example: imagegen config
    """
    names = [item.name for item in all_settings()]
    values, wrong = read(os.environ, options, names)
    rows = []
    for item in all_settings():
        variable = item.metadata["variable"]
        source = "default"
        if options.get(item.name) is not None:
            source = "option"
        elif os.environ.get(variable):
            source = "environment"
        value = values.get(item.name, "(wrong)")
        if item.metadata["secret"] and isinstance(value, str):
            value = _hidden(value)
        rows.append((variable, value, source))
    if as_json:
        click.echo(json.dumps({variable: value for variable, value, _ in rows}, indent=2))
    else:
        for variable, value, source in rows:
            shown = "(not set)" if value is None else value
            click.echo(f"{variable:<32} {shown}  ({source})")
    if wrong:
        raise misconfigured(wrong)


def _hidden(value: str) -> str:
    """A database URL without its password; anything else without itself."""
    passwords = url_secrets(value)[1:] if "://" in value else [value]
    for word in sorted(passwords, key=len, reverse=True):
        value = value.replace(word, HIDDEN)
    return value
