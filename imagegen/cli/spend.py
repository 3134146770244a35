"""`imagegen spend`: what was generated, and what Replicate bills for it."""

import json
import os
from datetime import datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import click

from imagegen.cli.options import misconfigured, settings_options, told_in_one_line
from imagegen.cli.output import Column, table, terminal_width
from imagegen.cli.progress import waiting
from imagegen.cli.times import past_moment
from imagegen.config import read

if TYPE_CHECKING:
    from imagegen.operator.spend import SpendRow

COLUMNS = [
    Column("day"),
    Column("model", gives_way=True),
    Column("outcome", gives_way=True, prefix="failed: "),
    Column("predictions", right=True),
    Column("images", right=True),
    Column("seconds", right=True),
]
MONEY = Column("USD", right=True)


@click.command()
@click.option(
    "--since", callback=past_moment, default="30d", show_default=True, metavar="DURATION|DATE",
    help="How far back, as 7d or 24h, or from when, as 2026-11-01 (UTC).",
)  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="As one JSON object.")
@settings_options("database_url", "price")
def spend(*, since: datetime, as_json: bool, **options: str | None) -> None:
    """Show what Replicate accepted, and the money for it.

    By day (UTC), model and outcome.
    Images are those that Replicate bills: of predictions that succeeded, whatever became of the
    image then. A question mark says "perhaps": a prediction that was canceled, or whose end
    nobody knows. Seconds are what Replicate computed for. Money is images times the price.

    Example: imagegen spend --since 7d --price 0.003
    """
    values, wrong = read(os.environ, options, ["database_url", "price"])
    if wrong:
        raise misconfigured(wrong)
    with told_in_one_line(values["database_url"]), waiting():
        from imagegen import database  # noqa: PLC0415
        from imagegen.operator import spend  # noqa: PLC0415

        with database.connect(values["database_url"], "imagegen spend") as connection:
            database.check_revision(connection)
            lines = spend.read_spend(connection, since)
    price = None if values["price"] is None else spend.exact(values["price"])
    if as_json:
        click.echo(json.dumps(_as_json(lines, since, price), indent=2))
    else:
        _print_table(lines, since, price)
    if price is not None:
        source = "IMAGEGEN_PRICE" if options["price"] is None else "--price"
        click.echo(
            f"imagegen: the price, {price:f} an image of any model, is {source}, not Replicate's"
            f" bill: see {spend.PRICES}",
            err=True,
        )


def _print_table(lines: "list[SpendRow]", since: datetime, price: Decimal | None) -> None:
    if len(lines) == 1:
        click.echo(f"Replicate accepted nothing since {since:%Y-%m-%d %H:%M} UTC")
        return
    width = terminal_width()
    columns = COLUMNS if price is None else [*COLUMNS, MONEY]
    for shown in table(columns, (_row(line, price, width) for line in lines), width):
        click.echo(shown)


def _row(line: "SpendRow", price: Decimal | None, width: int | None) -> list[str]:
    model = line.model or ""
    row = [
        line.day.isoformat() if line.day else "total",
        model if width is None else model.rpartition("/")[2],
        line.outcome or "",
        str(line.predictions),
        _perhaps(Decimal(line.images_billed), Decimal(line.images_perhaps_billed)),
        f"{line.predict_seconds:.1f}",
    ]
    if price is not None:
        row.append(_perhaps(line.images_billed * price, line.images_perhaps_billed * price))
    return row


def _perhaps(sure: Decimal, perhaps: Decimal) -> str:
    """5, or 1? where it is perhaps billed, or 5 + 1? where there is both."""
    if not perhaps:
        return f"{sure:f}"
    return f"{sure:f} + {perhaps:f}?" if sure else f"{perhaps:f}?"


def _as_json(lines: "list[SpendRow]", since: datetime, price: Decimal | None) -> dict[str, Any]:
    *days, total = [_object(line, price) for line in lines]
    for name in ("day", "model", "outcome"):
        del total[name]
    return {
        "since": since.isoformat(),
        "price": None if price is None else float(price),
        "lines": days,
        "total": total,
    }


def _object(line: "SpendRow", price: Decimal | None) -> dict[str, Any]:
    shown = vars(line) | {"day": line.day and line.day.isoformat()}
    if price is not None:
        shown["usd"] = float(line.images_billed * price)
        shown["usd_perhaps"] = float(line.images_perhaps_billed * price)
    return shown
