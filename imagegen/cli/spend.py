"""`imagegen spend`: what Replicate accepted, and what it bills."""

import csv
import io
from collections.abc import Iterator, Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any

import click

from imagegen.cli.connection import connected
from imagegen.cli.errors import MisusedError
from imagegen.cli.options import (
    complete_choices,
    json_option,
    moment_option,
    read_settings,
    settings_options,
)
from imagegen.cli.output import Column, emit, table, terminal_width
from imagegen.cli.progress import waiting
from imagegen.config import Prices
from imagegen.operator import spend as ledger

COLUMNS = {
    "day": Column("day"),
    "model": Column("model", shrinks=True),
    "author": Column("author", shrinks=True),
    "outcome": Column("outcome", shrinks=True, prefix="failed: "),
}
FIGURES = [
    Column("predictions", right=True),
    Column("images", right=True),
    Column("seconds", right=True),
]
MONEY = Column("USD", right=True)
IN_JSON = ("predictions", "images_billed", "images_perhaps_billed", "predict_seconds")


@click.command()
@moment_option(
    "--since", "How far back, as 7d or 24h, or from when, as 2026-11-01 (UTC).", default="30d"
)
@click.option(
    "--by", "keys", multiple=True, metavar="KEY", shell_complete=complete_choices(ledger.KEYS),
    help=f"Add up by {', '.join(ledger.KEYS)}; may be repeated.  [default: day, model, outcome]",
)  # fmt: skip
@json_option()
@click.option("--csv", "as_csv", is_flag=True, help="As CSV with a header and the total.")
@settings_options("database_url", "price")
def spend(
    *, since: datetime, keys: Sequence[str], as_json: bool, as_csv: bool, **options: str | None
) -> None:
    """Show what Replicate accepted, and the money for it.

    By day (UTC), model and outcome.
    Images are those that Replicate bills: of predictions that succeeded, whatever became of the
    image then. A question mark says "perhaps": a prediction that was canceled, or whose end
    nobody knows. Seconds are what Replicate computed for. Money is what each prediction cost by
    the price at that time, or by today's if there was none.

    \b
    Example: imagegen spend --since 7d --price 0.003
             imagegen spend --by author --csv
    """
    keys = list(dict.fromkeys(keys)) or ledger.DEFAULT_KEYS
    if unknown := [key for key in keys if key not in ledger.KEYS]:
        raise MisusedError(f"--by must be one of {', '.join(ledger.KEYS)}, not {unknown[0]!r}")
    if as_json and as_csv:
        raise MisusedError("--json and --csv are two forms of the same: name one")
    values = read_settings(options, "database_url", "price")
    prices: Prices | None = values["price"]
    with connected(values["database_url"], "imagegen spend") as connection, waiting():
        rows = ledger.read_spend(connection, since, prices, keys)
    has_money = prices is not None or rows[-1].priced > 0
    if as_csv:
        click.echo(_as_csv(rows, keys, has_money), nl=False)
    else:
        found = _as_json(rows, since, keys, prices, has_money)
        emit(found, _table(rows, since, keys, has_money), as_json=as_json)
    source = "IMAGEGEN_PRICE" if options["price"] is None else "--price"
    for line in _about_prices(rows[-1], prices, source):
        click.echo(f"imagegen: {line}", err=True)


def _about_prices(total: ledger.SpendRow, prices: Prices | None, source: str) -> Iterator[str]:
    """Yield notes: where the prices are from, and which requests have no cost in the ledger."""
    if prices is not None:
        one = prices.for_any_image
        what = f"the price, {one:f} an image of any model, is" if one is not None else "prices are"
        yield f"{what} {source}, not Replicate's bill: see {ledger.PRICES}"
    if total.priced_today and total.priced:
        yield f"requests without a cost in the ledger, at today's price: {total.priced_today}"
    if total.unpriced and (total.priced or prices is not None):
        yield f"requests without a cost and a price, not in the sum: {total.unpriced}"


def _table(
    rows: list[ledger.SpendRow], since: datetime, keys: Sequence[str], has_money: bool
) -> Iterator[str]:
    if len(rows) == 1:
        yield f"Replicate accepted nothing since {since:%Y-%m-%d %H:%M} UTC"
        return
    width = terminal_width()
    columns = [*(COLUMNS[key] for key in keys), *FIGURES, *([MONEY] if has_money else [])]
    *lines, total = rows
    shown = [[*_names(line, keys, width), *_figures(line, has_money)] for line in lines]
    ends = ["total", *[""] * (len(keys) - 1), *_figures(total, has_money)]
    yield from table(columns, [*shown, ends], width)


def _names(spent: ledger.SpendRow, keys: Sequence[str], width: int | None) -> list[str]:
    names = {key: _text(getattr(spent, key)) for key in keys}
    if width is not None and "model" in names:
        names["model"] = names["model"].rpartition("/")[2]
    return list(names.values())


def _figures(spent: ledger.SpendRow, has_money: bool) -> list[str]:
    figures = [
        str(spent.predictions),
        _perhaps(Decimal(spent.images_billed), Decimal(spent.images_perhaps_billed)),
        f"{spent.predict_seconds:.1f}",
    ]
    return [*figures, *([_perhaps(spent.dollars, spent.dollars_perhaps)] if has_money else [])]


def _text(value: object) -> str:
    return "" if value is None else str(value)


def _perhaps(sure: Decimal, perhaps: Decimal) -> str:
    """Return 5 if that is billed, 1? if it may be billed, or 5 + 1? for both."""
    if not perhaps:
        return f"{sure:f}"
    return f"{sure:f} + {perhaps:f}?" if sure else f"{perhaps:f}?"


def _as_csv(rows: list[ledger.SpendRow], keys: Sequence[str], has_money: bool) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([*keys, *IN_JSON, *(("usd", "usd_perhaps") if has_money else ())])
    *lines, total = rows
    names = [[_text(getattr(line, key)) for key in keys] for line in lines]
    names.append(["total", *[""] * (len(keys) - 1)])
    for name, row in zip(names, [*lines, total], strict=True):
        money = [f"{row.dollars:f}", f"{row.dollars_perhaps:f}"] if has_money else []
        writer.writerow([*name, *(getattr(row, figure) for figure in IN_JSON), *money])
    return text.getvalue()


def _as_json(
    rows: list[ledger.SpendRow],
    since: datetime,
    keys: Sequence[str],
    prices: Prices | None,
    has_money: bool,
) -> dict[str, Any]:
    one = prices.for_any_image if prices else None
    by_model = prices.as_setting() if prices and one is None else None
    *lines, total = rows
    return {
        "since": since.isoformat(),
        "price": None if one is None else float(one),
        **({"prices": by_model} if by_model else {}),
        "lines": [_object(line, keys, has_money) for line in lines],
        "total": _object(total, (), has_money),
    }


def _object(spent: ledger.SpendRow, keys: Sequence[str], has_money: bool) -> dict[str, Any]:
    shown = {name: getattr(spent, name) for name in (*keys, *IN_JSON)}
    if has_money:
        shown |= {"usd": float(spent.dollars), "usd_perhaps": float(spent.dollars_perhaps)}
    return shown
