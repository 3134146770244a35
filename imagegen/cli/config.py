"""`imagegen config`: the settings in force."""

import json
import os
import re
from decimal import Decimal
from typing import Any

import click

from imagegen.cli.errors import MisconfiguredError
from imagegen.cli.options import json_option, settings_options
from imagegen.cli.output import emit
from imagegen.config import (
    Prices,
    SecretFileError,
    Spec,
    all_settings,
    read,
    redacted_url,
    unknown_variables,
)
from imagegen.redaction import HIDDEN
from imagegen.text import printable


@click.command()
@json_option()
@settings_options()
def config(*, as_json: bool, **options: str | None) -> None:
    """Show every setting, its value and where it comes from.

    Exit code 78 when one is missing or wrong.

    Example: imagegen config
    """
    values, problems = read(os.environ, options)
    shown, lines = {}, []
    for spec in all_settings():
        if spec.secret and (value := values.get(spec.name)):
            values[spec.name] = redacted_url(value) if spec.name == "database_url" else HIDDEN
        match values.get(spec.name):
            case re.Pattern() as pattern:
                values[spec.name] = pattern.pattern
            case Prices() as prices:
                values[spec.name] = prices.as_setting()
            case Decimal() as dollars:
                values[spec.name] = float(dollars)
        try:
            _, source = spec.lookup(os.environ, options)
        except SecretFileError:
            source = "file"
        shown[spec.variable] = {"value": values.get(spec.name), "source": source}
        lines.append(f"{spec.variable:<32} {_text(spec, values)}  ({source})")
    emit(shown, lines, as_json=as_json)
    for line in unknown_variables(os.environ):
        click.echo(f"imagegen: {printable(line)}", err=True)
    if problems:
        raise MisconfiguredError(*problems)


def _text(spec: Spec[Any], values: dict[str, Any]) -> str:
    """Return the value as text that its setting accepts."""
    if spec.name not in values:
        return "(wrong)"
    match values[spec.name]:
        case None:
            return "none" if spec.default else "(not set)"
        case bool() as value:
            return "yes" if value else "no"
        case float() as value:
            return repr(value).removesuffix(".0")
        case dict() as value:
            return json.dumps(value)
        case value:
            return str(value)
