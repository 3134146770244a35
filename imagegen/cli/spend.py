"""`imagegen spend`: what Replicate accepted, and what it bills."""

from collections.abc import Iterator
from datetime import datetime
from decimal import Decimal
from typing import Any

import click

from imagegen.cli.connection import connected
from imagegen.cli.options import json_option, moment_option, read_settings, settings_options
from imagegen.cli.output import Column, emit, table, terminal_width
from imagegen.cli.progress import waiting
from imagegen.operator import spend as ledger

COLUMNS = [
    Column("day"),
    Column("model", shrinks=True),
    Column("outcome", shrinks=True, prefix="failed: "),
    Column("predictions", right=True),
    Column("images", right=True),
    Column("seconds", right=True),
]
MONEY = Column("USD", right=True)


@click.command()
@moment_option(
    "--since", "How far back, as 7d or 24h, or from when, as 2026-11-01 (UTC).", default="30d"
)
@json_option()
@settings_options("database_url", "price")
def spend(*, since: datetime, as_json: bool, **options: str | None) -> None:
    """Show what Replicate accepted, and the money for it.

    By day (UTC), model and outcome.
    Images are those that Replicate bills: of predictions that succeeded, whatever became of the
    image then. A question mark says "perhaps": a prediction that was canceled, or whose end
    nobody knows. Seconds are what Replicate computed for. Money is images times the price.

    Example: imagegen spend --since 7d --price 0.003
    """
    values = read_settings(options, "database_url", "price")
    with connected(values["database_url"], "imagegen spend") as connection, waiting():
        rows = ledger.read_spend(connection, since)
    price = None if values["price"] is None else ledger.exact(values["price"])
    emit(_as_json(rows, since, price), _table(rows, since, price), as_json=as_json)
    if price is not None:
        source = "IMAGEGEN_PRICE" if options["price"] is None else "--price"
        click.echo(
            f"imagegen: the price, {price:f} an image of any model, is {source}, not Replicate's"
            f" bill: see {ledger.PRICES}",
            err=True,
        )


def _table(rows: list[ledger.SpendRow], since: datetime, price: Decimal | None) -> Iterator[str]:
    if len(rows) == 1:
        yield f"Replicate accepted nothing since {since:%Y-%m-%d %H:%M} UTC"
        return
    width = terminal_width()
    columns = COLUMNS if price is None else [*COLUMNS, MONEY]
    yield from table(columns, (_row(spent, price, width) for spent in rows), width)


def _row(spent: ledger.SpendRow, price: Decimal | None, width: int | None) -> list[str]:
    model = spent.model or ""
    row = [
        spent.day.isoformat() if spent.day else "total",
        model if width is None else model.rpartition("/")[2],
        spent.outcome or "",
        str(spent.predictions),
        _perhaps(Decimal(spent.images_billed), Decimal(spent.images_perhaps_billed)),
        f"{spent.predict_seconds:.1f}",
    ]
    if price is not None:
        row.append(_perhaps(spent.images_billed * price, spent.images_perhaps_billed * price))
    return row


def _perhaps(sure: Decimal, perhaps: Decimal) -> str:
    """Return 5, or 1? if that is only perhaps billed, or 5 + 1? for both."""
    if not perhaps:
        return f"{sure:f}"
    return f"{sure:f} + {perhaps:f}?" if sure else f"{perhaps:f}?"


def _as_json(rows: list[ledger.SpendRow], since: datetime, price: Decimal | None) -> dict[str, Any]:
    *days, total = [_object(spent, price) for spent in rows]
    for name in ("day", "model", "outcome"):
        del total[name]
    return {
        "since": since.isoformat(),
        "price": None if price is None else float(price),
        "lines": days,
        "total": total,
    }


def _object(spent: ledger.SpendRow, price: Decimal | None) -> dict[str, Any]:
    shown = dict(vars(spent))
    if price is not None:
        shown["usd"] = float(spent.images_billed * price)
        shown["usd_perhaps"] = float(spent.images_perhaps_billed * price)
    return shown
