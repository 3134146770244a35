"""`imagegen limits`: the limits of all hosts, changed without a restart."""

import os
from collections.abc import Callable, Iterator
from dataclasses import asdict
from decimal import Decimal
from typing import Any

import click

from imagegen import config
from imagegen.cli.acts import reason_option
from imagegen.cli.connection import connected, read_database_url
from imagegen.cli.errors import MisusedError
from imagegen.cli.options import json_option, settings_options
from imagegen.cli.output import emit
from imagegen.cli.progress import waiting
from imagegen.database import acts
from imagegen.operator import acts as operators

SETTING = "setting"  # the word that returns a limit to the setting of each host
SPECS = {spec.name: spec for spec in config.all_settings()}
SETTINGS_OF_PRICE = ("daily_budget", "price", "model", "model_input", "cancel_after_seconds")
Value = int | str | None
UNITS = {
    "daily_limit": "predictions in any 24 hours, over all hosts",
    "daily_budget": "dollars in any 24 hours, over all hosts",
    "create_rate": "predictions a minute, each supervisor",
}


def _parser(option: str, setting: str, *words: str) -> Callable[..., Value]:
    """Return a parser of an option: a value of this setting, or one of the words."""

    def parse(_: click.Context, __: click.Parameter, value: str | None) -> Value:
        if value is None or value in words:
            return value
        try:
            parsed = SPECS[setting].parse(value)
        except config.WrongValueError as error:
            raise MisusedError(f"{option} must be {', '.join(words)}, or {error}") from None
        return f"{parsed:f}" if isinstance(parsed, Decimal) else int(parsed)

    return parse


@click.command()
@click.option(
    "--daily", "daily_limit", metavar="N|none|setting",
    callback=_parser("--daily", "daily_limit", acts.UNLIMITED, SETTING),
    help="Predictions in any 24 hours, over all hosts.",
)  # fmt: skip
@click.option(
    "--budget", "daily_budget", metavar="USD|none|setting",
    callback=_parser("--budget", "daily_budget", acts.UNLIMITED, SETTING),
    help="Dollars in any 24 hours, over all hosts. A host without IMAGEGEN_PRICE sends nothing.",
)  # fmt: skip
@click.option(
    "--create-rate", metavar="N|setting", callback=_parser("--create-rate", "create_rate", SETTING),
    help="Predictions a minute that each supervisor may create.",
)  # fmt: skip
@reason_option()
@json_option()
@settings_options("database_url")
def limits(
    *,
    daily_limit: Value,
    daily_budget: Value,
    create_rate: Value,
    reason: str | None,
    as_json: bool,
    **options: str | None,
) -> None:
    """Show the limits that hold, or change them on all hosts.

    A limit that was set here replaces the setting of each host, until it is set to the word
    setting. Workers follow within seconds, without a restart.

    \b
    Example: imagegen limits --daily 5000 --budget 15 --reason "the drop of Friday"
             imagegen limits --daily setting
    """
    asked = {
        "daily_limit": daily_limit,
        "daily_budget": daily_budget,
        "create_rate": create_rate,
    }
    given = {name: value for name, value in asked.items() if value is not None}
    if reason is not None and not given:
        raise MisusedError("--reason goes with --daily, --budget or --create-rate")
    budget = None if daily_budget in {acts.UNLIMITED, SETTING} else daily_budget
    if budget is not None:
        _check_budget(str(budget))
    unset = [name for name, value in given.items() if value == SETTING]
    values = {name: value for name, value in given.items() if name not in unset}
    with connected(read_database_url(options), "imagegen limits") as connection, waiting():
        if given:
            operators.set_limits(connection, values, unset, reason)
        found, change = operators.read_limits(connection)
        last = operators.price_of_last(connection) if budget is not None else None
    if last and 0 < Decimal(str(budget)) < last:
        message = f"the last prediction may have cost {last:f}: a budget of {budget} admits none"
        click.echo(f"imagegen: {message}", err=True)
    shown = {name: _in_force(name, getattr(found, name)) for name in asked}
    value = {**shown, "changed": asdict(change) if change else None}
    emit(value, _lines(shown, change), as_json=as_json)


def _check_budget(budget: str) -> None:
    """Refuse a budget that admits no prediction, by the price and the model that are set here."""
    values, problems = config.read(os.environ, {"daily_budget": budget}, SETTINGS_OF_PRICE)
    for problem in problems:
        if problem.name == "daily_budget" and values.get("price"):
            raise MisusedError(f"--budget {problem.message}")


def _in_force(name: str, set_value: Value) -> dict[str, Any]:
    """Return the value that holds, and its source: an operator, or the setting of this host."""
    spec = SPECS[name]
    text, source = spec.lookup(os.environ, {})
    if set_value is not None:
        text, source = None if set_value == acts.UNLIMITED else str(set_value), "operator"
    try:
        value = None if text is None else spec.parse(text)
    except config.WrongValueError as error:
        raise MisusedError(f"{spec.variable} must be {error}") from None
    return {"value": float(value) if isinstance(value, Decimal) else value, "source": source}


def _lines(shown: dict[str, dict[str, Any]], change: operators.Act | None) -> Iterator[str]:
    for name, unit in UNITS.items():
        value, source = shown[name]["value"], shown[name]["source"]
        text = "none" if value is None else f"{value:,} {unit}"
        where = "set by an operator, on all hosts"
        if source != "operator":
            of_host = "not set" if source == "default" else "as it is set here"
            where = f"{SPECS[name].variable} of each host: {of_host}"
        yield f"{name.replace('_', ' '):<13} {text}  ({where})"
    if change:
        yield f"{'last change':<13} {change}"
