"""`imagegen audit`: compare Replicate's list of predictions with the ledger."""

import contextlib
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import click

from imagegen.audit import (
    FINDINGS_NAMED,
    UNEXPLAINED,
    Audit,
    Finding,
    Verdict,
    run,
    youngest_seconds,
)
from imagegen.cli.connection import connected
from imagegen.cli.errors import MisusedError
from imagegen.cli.options import json_option, moment_option, read_settings, settings_options
from imagegen.cli.output import Column, emit, table, terminal_width
from imagegen.cli.progress import TransientLine
from imagegen.config import Prices
from imagegen.database import Connection
from imagegen.replicate import Marker, ReplicateClient, RequestBudget
from imagegen.text import plural, printable

SETTINGS = (
    "database_url",
    "replicate_api_token",
    "replicate_base_url",
    "model",
    "marker_input",
    "settle_seconds",
    "poll_budget",
    "price",
)
# The share of the poll budget that an audit uses: the workers need the rest.
BUDGET_SHARE = 0.1
COLUMNS = [
    Column("why"),
    Column("made (UTC)"),
    Column("prediction"),
    Column("status"),
    Column("token", right=True),
    Column("generation", right=True),
    Column("images", right=True),
]
MONEY = Column("USD", right=True)
MEANINGS = {
    Verdict.DUPLICATE: "another prediction of a generation that has its own",
    Verdict.LOST: "of a request that is recorded as having made no prediction",
    Verdict.PERHAPS_OURS: "of imagegen's model, at the time of a request: Replicate has deleted"
    " the input that has the seed",
    Verdict.OTHER_ACCOUNT: "recorded for another account",
    Verdict.UNKNOWN: "recorded, and unknown to Replicate",
}


@click.command()
@moment_option(
    "--since", "How far back, as 7d or 24h, or from when, as 2026-11-01 (UTC).", default="24h"
)
@json_option()
@settings_options(*SETTINGS)
def audit(*, since: datetime, as_json: bool, **options: str | None) -> None:
    """Compare Replicate's list of predictions with imagegen's record.

    A prediction is explained if imagegen has recorded it. It is a stranger if Replicate's
    playground (web) or another program (api) made it with the same account. Any other is
    unexplained, and listed with its cost; so is one that is recorded, but unknown to Replicate.

    The last minutes are left out, because the list may lag. Replicate deletes the inputs of
    predictions after an hour, so an audit of the last hour is the most exact.

    Exit code 1 if anything is unexplained, or the list cannot be read to its end.

    Example: imagegen audit --since 1h
    """
    values = read_settings(options, *SETTINGS)
    lag_seconds = youngest_seconds(values["settle_seconds"])
    if since > datetime.now(UTC) - timedelta(seconds=lag_seconds):
        raise MisusedError(f"--since must be over {lag_seconds:g} s ago: the list may lag")
    with connected(values["database_url"], "imagegen audit") as connection:
        result = _run(connection, since, values)
    prices: Prices | None = values["price"]
    price = prices.of_an_image(values["model"]) if prices else None
    emit(_as_json(result, price), _lines(result, price), as_json=as_json)
    if result.missing:
        message = f"imagegen: the list could not be read to its end: {printable(result.missing)}"
        click.echo(message, err=True)
    raise SystemExit(1 if result.unexplained or result.missing else 0)


def _run(connection: Connection, since: datetime, values: dict[str, Any]) -> Audit:
    line = TransientLine()

    def on_page(listed: int, back_to: datetime | None) -> None:
        line.show(f"imagegen: {plural(listed, 'prediction')}, back to {back_to:%Y-%m-%d %H:%M} UTC")

    client = ReplicateClient(
        values["replicate_api_token"],
        values["replicate_base_url"],
        0,  # nothing is created
        RequestBudget(values["poll_budget"] / 60 * BUDGET_SHARE, time.sleep),
        Marker.of_setting(values["marker_input"]),
    )
    with contextlib.closing(client):
        try:
            return run(
                connection,
                client,
                since,
                model=values["model"],
                has_marker=values["marker_input"] is not None,
                settle_seconds=values["settle_seconds"],
                on_page=on_page,
            )
        finally:
            line.clear()


def _lines(result: Audit, price: Decimal | None) -> Iterator[str]:
    period = f"{result.since:%Y-%m-%d %H:%M} to {result.until:%Y-%m-%d %H:%M} UTC"
    yield f"account      {result.account or 'unknown'}, {period}"
    yield f"predictions  {result.predictions}"
    yield f"explained    {result.counts[Verdict.EXPLAINED]}"
    if cancelled := result.counts[Verdict.CANCELLED_DUPLICATE]:
        cost = _cost(result.cancelled_images, result.cancelled_images_perhaps, price)
        yield f"duplicates   {cancelled}, cancelled by imagegen ({cost})"
    if still_open := result.counts[Verdict.OPEN]:
        yield f"open         {still_open}, of generations that are at work"
    for (source, model), count in sorted(result.strangers.items()):
        yield f"strangers    {count} by {printable(source)}, {printable(model)}"
    if result.of_other_accounts:
        yield f"not compared {result.of_other_accounts} generations of other accounts"
    if not result.unexplained:
        yield "unexplained  0"
        return
    cost = _cost(result.images_billed, result.images_perhaps_billed, price)
    yield f"unexplained  {result.unexplained} ({cost})"
    for verdict in UNEXPLAINED:
        if count := result.counts[verdict]:
            yield f"  {count} {verdict}: {MEANINGS[verdict]}"
    yield ""
    columns = COLUMNS if price is None else [*COLUMNS, MONEY]
    yield from table(columns, (_row(each, price) for each in result.findings), terminal_width())
    if len(result.findings) == FINDINGS_NAMED:
        yield f"… the first {FINDINGS_NAMED}"


def _row(finding: Finding, price: Decimal | None) -> list[str]:
    row = [
        str(finding.verdict),
        f"{finding.made_at:%Y-%m-%d %H:%M:%S}" if finding.made_at else "-",
        finding.prediction_id or "-",
        finding.status,
        "-" if finding.token_id is None else str(finding.token_id),
        "-" if finding.generation_id is None else str(finding.generation_id),
        _sum(Decimal(finding.images_billed), Decimal(finding.images_perhaps_billed)),
    ]
    if price is not None:
        row.append(_sum(finding.images_billed * price, finding.images_perhaps_billed * price))
    return row


def _cost(billed: int, perhaps: int, price: Decimal | None) -> str:
    """Return the billed images, as 2 + 1? if one more may be billed, and the money for them."""
    images = f"images billed: {_sum(Decimal(billed), Decimal(perhaps))}"
    return images if price is None else f"{images}, USD {_sum(billed * price, perhaps * price)}"


def _sum(sure: Decimal, perhaps: Decimal) -> str:
    """Return 5 if that is billed, 1? if it may be billed, or 5 + 1? for both."""
    if not perhaps:
        return f"{sure:f}"
    return f"{sure:f} + {perhaps:f}?" if sure else f"{perhaps:f}?"


def _as_json(result: Audit, price: Decimal | None) -> dict[str, Any]:
    return {
        "since": result.since.isoformat(),
        "until": result.until.isoformat(),
        "account": result.account,
        "complete": result.missing is None,
        "missing": result.missing,
        "price": None if price is None else float(price),
        "predictions": result.predictions,
        "explained": result.counts[Verdict.EXPLAINED],
        "cancelled_duplicates": result.counts[Verdict.CANCELLED_DUPLICATE],
        "cost_of_cancelled_duplicates": _money(
            result.cancelled_images, result.cancelled_images_perhaps, price
        ),
        "open": result.counts[Verdict.OPEN],
        "too_recent": result.too_recent,
        "of_other_accounts": result.of_other_accounts,
        "strangers": [
            {"source": source, "model": model, "predictions": count}
            for (source, model), count in sorted(result.strangers.items())
        ],
        "unexplained": result.unexplained,
        "unexplained_by_kind": {str(each): result.counts[each] for each in UNEXPLAINED},
        **_money(result.images_billed, result.images_perhaps_billed, price),
        "findings": [_object(each, price) for each in result.findings],
    }


def _object(finding: Finding, price: Decimal | None) -> dict[str, Any]:
    shown = dict(vars(finding))
    shown["kind"] = str(shown.pop("verdict"))
    shown["made_at"] = finding.made_at and finding.made_at.isoformat()
    del shown["images_billed"], shown["images_perhaps_billed"]
    return shown | _money(finding.images_billed, finding.images_perhaps_billed, price)


def _money(billed: int, perhaps: int, price: Decimal | None) -> dict[str, Any]:
    images: dict[str, Any] = {"images_billed": billed, "images_perhaps_billed": perhaps}
    if price is not None:
        images |= {"usd": float(billed * price), "usd_perhaps": float(perhaps * price)}
    return images
