"""`imagegen config`: the settings as they are in force."""

import json
import os

import click

from imagegen.checks import SECRET_PARTS, url_parts
from imagegen.cli.options import misconfigured, settings_options
from imagegen.logs import HIDDEN
from imagegen.settings import all_settings, read


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
        if variable == "DATABASE_URL" and item.name in values and value:
            value = _without_passwords(value)
        elif item.metadata["secret"] and item.name in values and value:
            value = HIDDEN
        rows.append((variable, value, source))
    if as_json:
        click.echo(
            json.dumps({variable: value for variable, value, _ in rows}, indent=2, default=str)
        )
    else:
        for variable, value, source in rows:
            shown = "(not set)" if value is None else value
            shown = json.dumps(value) if isinstance(value, dict) else shown
            click.echo(f"{variable:<32} {shown}  ({source})")
    if wrong:
        raise misconfigured(wrong)


def _without_passwords(url: str) -> str:
    """A database URL in libpq's other form, word by word."""
    words = url_parts(url) | {name: HIDDEN for name in SECRET_PARTS if name in url_parts(url)}
    return " ".join(f"{name}={word}" for name, word in words.items())
