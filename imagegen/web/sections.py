"""The parts of the status page: from plain values to HTML."""

import math
from collections.abc import Iterable
from dataclasses import dataclass

from imagegen.metrics.workers import Place
from imagegen.web.charts import images_chart, seconds_chart
from imagegen.web.document import REFRESH_SECONDS
from imagegen.web.formatting import (
    SPACE,
    ago,
    clock,
    count,
    cut,
    duration,
    images_and_failures,
    moment,
    reason,
    text,
    why_failed,
)
from imagegen.web.image_wall import HOME, PAUSED, wall, wall_title
from imagegen.web.snapshot import (
    BUCKET_SECONDS,
    BUCKETS,
    COUNTED_UP_TO,
    FAILURES,
    MESSAGE_CHARACTERS,
    PROMPT_CHARACTERS,
    STATEMENT_TIMEOUT_MILLISECONDS,
    UNFETCHED_UP_TO,
    Failure,
    Snapshot,
)

HOURS = BUCKETS * BUCKET_SECONDS // 3600
# What is longer is too wide for its place on a phone.
LONG_CHARACTERS = 7
# Then a quarter of an hour is left to take an image on before Replicate deletes it.
UNFETCHED_LONG_SECONDS = 2700.0


@dataclass(frozen=True)
class Trouble:
    """Why the database has told nothing, in a few words and in all of them."""

    state: str
    told: str


TOO_SLOW = Trouble(
    "the database is too slow",
    f"It answers, but counting took longer than {STATEMENT_TIMEOUT_MILLISECONDS / 1000:g} s."
    " Workers go on meanwhile. After a restore or an upgrade of PostgreSQL it may want ANALYZE.",
)


def away(why: str) -> Trouble:
    return Trouble(
        "the database does not answer",
        f"{cut(why[:1].upper() + why[1:], MESSAGE_CHARACTERS)}. Workers wait for the database,"
        " and go on by themselves when it is back.",
    )


@dataclass(frozen=True)
class View:
    """All that the status page shows."""

    now: Snapshot | Trouble
    places: list[Place]
    elsewhere: int  # tokens at work with other supervisors
    slots: int  # of each worker
    copies: bool  # kept copies of images are served
    home: str  # the page that images lead back to: pictures.HOME or PAUSED

    @property
    def refreshes(self) -> bool:
        return self.home == HOME

    @property
    def capacity(self) -> int:
        return sum(place.alive for place in self.places) * self.slots


def state(view: View) -> str:
    """How it goes, in a few words."""
    if isinstance(view.now, Trouble):
        return view.now.state
    if not any(place.alive or place.starting for place in view.places):
        return "no worker is running"
    numbers = {"waiting": view.now.waiting, "at work": view.now.generating}
    told = [f"{_tally(number)} {word}" for word, number in numbers.items() if number]
    # One is enough: with little to do, nobody has asked through the others since.
    if any(place.closed for place in view.places):
        told.insert(0, "gate closed")
    return ", ".join(told) or "nothing waits"


def header(view: View) -> str:
    """How it goes, how fresh that is, and what is wrong."""
    told = state(view)
    at = f"{clock(view.now.now)} UTC · " if isinstance(view.now, Snapshot) else ""
    fresh = f'paused · <a href="{HOME}">Go on</a>'
    if view.refreshes:
        fresh = f'refreshes every {REFRESH_SECONDS} s · <a href="{PAUSED}">Pause</a>'
    return (
        f'<p class="mark"><span>imagegen</span><span class="fresh">{at}{fresh}</span></p>\n'
        f"<h1>{text(told[0].upper() + told[1:])}</h1>\n{problems(view)}"
    )


def problems(view: View) -> str:
    """What is wrong, a line for each; nothing where all is well."""
    wrong = []
    if isinstance(view.now, Trouble):
        wrong.append(text(view.now.told))
    if missing := [place.slot for place in view.places if not (place.alive or place.starting)]:
        verb = "is" if len(missing) == 1 else "are"
        wrong.append(f"{_listed(missing)} {verb} not running: the log says why.")
    closed: dict[str, list[str]] = {}
    for place in view.places:
        for why in place.closed:
            closed.setdefault(why, []).append(place.slot)
    for why, slots in closed.items():
        asks = "asks" if len(slots) == 1 else "ask"
        wrong.append(f"{_listed(slots)} {asks} for no images: {text(reason(why))}.")
    if not wrong:
        return ""
    lines = "".join(f"<li>{line}</li>" for line in wrong)
    return f'<ul class="problems" aria-label="Problems">{lines}</ul>'


def figures(view: View, now: Snapshot) -> str:
    """Tokens by what becomes of them."""
    why = '<a href="#failures">why</a>' if now.failed else ""
    # What is left of an estimate is one, however little it is.
    done = _estimated(now.done) if now.tokens > COUNTED_UP_TO else count(now.done)
    tiles = [
        _figure("Waiting", _tally(now.waiting), _about_waiting(now)),
        _figure("At work", _tally(now.generating), _about_work(view)),
        _figure("Done", done, _about_done(now)),
        _figure("Failed", _tally(now.failed), why, ' class="bad"' if now.failed else ""),
    ]
    return f'<dl class="figures">{"".join(tiles)}</dl>'


def _figure(label: str, number: str, note: str, attribute: str = "") -> str:
    shown = f'<span class="long">{number}</span>' if len(number) > LONG_CHARACTERS else number
    return f"<div><dt>{label}</dt><dd{attribute}>{shown}<small>{note}</small></dd></div>"


def _about_waiting(now: Snapshot) -> str:
    if not now.waiting or now.oldest_waiting_seconds is None:
        return ""
    oldest = f"the oldest for {duration(now.oldest_waiting_seconds)}"
    return f"{oldest}; {count(now.paused)} try again later" if now.paused else oldest


def _about_work(view: View) -> str:
    here = f"{count(view.capacity)} slots here"
    return f"{here}; {count(view.elsewhere)} at work elsewhere" if view.elsewhere else here


def _about_done(now: Snapshot) -> str:
    if not now.unfetched or now.oldest_unfetched_seconds is None:
        return ""
    some = count(now.unfetched)
    if now.unfetched > UNFETCHED_UP_TO:
        some = f"more than {count(UNFETCHED_UP_TO)}"
    told = f"{some} not fetched yet, the oldest for {duration(now.oldest_unfetched_seconds)}"
    late = now.oldest_unfetched_seconds > UNFETCHED_LONG_SECONDS
    return f'<span class="odd">{told}</span>' if late else told


def _tally(number: int) -> str:
    return count(number) if number <= COUNTED_UP_TO else _estimated(number)


def _estimated(number: int) -> str:
    """To three digits, as far as an estimate goes."""
    rounded = round(number, 2 - math.floor(math.log10(number))) if number else 0
    return f"≈{SPACE}{count(rounded)}"


def charts(now: Snapshot) -> str:
    """Throughput and latency of the last hours."""
    total = now.total
    if not total.images and not total.failed:
        return f'<p class="empty">No image was made in the last {HOURS} hours.</p>'
    made = images_and_failures(total.images, total.failed)
    figure = _chart(
        f"Images in each {BUCKET_SECONDS // 60} minutes",
        made, images_chart(now.buckets),
        {"made": "images", "bad": "failed attempts"},
    )  # fmt: skip
    if total.p50_seconds is None or total.p95_seconds is None:
        return figure
    times = f"median {duration(total.p50_seconds)}, 95 % within {duration(total.p95_seconds)}"
    return figure + _chart(
        "Time to an image", times, seconds_chart(now.buckets, total.p95_seconds),
        {"median": "median", "range": "up to the 95th percentile"},
    )  # fmt: skip


def _chart(title: str, summary: str, chart: str, legend: dict[str, str]) -> str:
    key = '<svg class="key" aria-hidden="true"><rect class="{}" width="10" height="10"/></svg>'
    keys = "".join(f"<li>{key.format(kind)}{words}</li>" for kind, words in legend.items())
    return (
        f'<figure class="trend"><figcaption><h3>{title}</h3><p>{summary}</p></figcaption>'
        f'{chart}<ul class="legend">{keys}</ul></figure>'
    )


def failures(now: Snapshot) -> str:
    """The tokens that failed last, and why."""
    if not now.failures:
        return '<p class="empty">No token has failed.</p>'
    rows = "\n".join(map(_failure, now.failures))
    more = ""
    if now.failed > len(now.failures):
        told = f"{_tally(now.failed)} failed altogether; the last {FAILURES} are here."
        more = f'<p class="more">{told}</p>'
    return f'<ol class="failures">\n{rows}\n</ol>{more}'


def _failure(failed: Failure) -> str:
    attempts = f"{failed.attempts} attempt{'' if failed.attempts == 1 else 's'}"
    message = f'<p class="message" dir="auto">{text(failed.message, MESSAGE_CHARACTERS)}</p>'
    prompt = '<p class="prompt none">no prompt</p>'
    if failed.prompt and failed.prompt.strip():
        prompt = f'<p class="prompt" dir="auto">{text(failed.prompt, PROMPT_CHARACTERS)}</p>'
    return (
        f'<li><p class="who"><b>#{failed.token_id}</b> <span>{attempts}</span>'
        f" {moment(failed.closed_at, ago(failed.age_seconds))}</p>"
        f"<div><h3>{text(why_failed(failed.kind, refused=failed.refused))}</h3>"
        f"{message if failed.message else ''}</div>{prompt}</li>"
    )


def workers(view: View) -> str:
    """The places of this supervisor, a row for each."""
    rows = "".join(_row(place, view.slots) for place in view.places)
    return (
        '<table class="workers"><thead><tr><th scope="col">Worker</th><th scope="col">State</th>'
        '<th scope="col" class="number">At work</th><th scope="col" class="number">Restarts</th>'
        f"</tr></thead><tbody>{rows}</tbody></table>"
    )


def _row(place: Place, slots: int) -> str:
    told = '<span class="bad">not running</span>'
    if place.alive or place.starting:
        told = "running" if place.alive else "starting"
    if place.closed:
        told = f'<span class="odd">waits: {text(", ".join(map(reason, place.closed)))}</span>'
    busy = "unknown" if place.busy is None else f"{place.busy} of {slots}"
    causes = ", ".join(
        f"{cause}{SPACE}{count(times)}" for cause, times in sorted(place.restarts.items())
    )
    restarts = f"{count(sum(place.restarts.values()))}<small>{text(causes)}</small>"
    return (
        f'<tr><th scope="row">{text(place.slot)}</th><td>{told}</td>'
        f'<td class="number">{busy}</td><td class="number">{restarts}</td></tr>'
    )


def _listed(words: Iterable[str]) -> str:
    """a, b and c."""
    *first, last = map(text, words)
    return f"{', '.join(first)} and {last}" if first else last


def main(view: View) -> str:
    """Everything between header and footer."""
    now = view.now
    parts, first = {"workers": ("Workers", workers(view))}, ""
    if isinstance(now, Snapshot):
        first = figures(view, now)
        parts = {
            "trends": (f"The last {HOURS} hours, UTC", f'<div class="trends">{charts(now)}</div>'),
            "images": (
                wall_title(now.pictures),
                wall(now.pictures, copies=view.copies, home=view.home),
            ),
            "failures": ("Failed tokens", failures(now)),
        } | parts
    sections = "\n".join(
        f'<section id="{name}" aria-labelledby="{name}-title">'
        f'<h2 id="{name}-title">{title}</h2>\n{content}</section>'
        for name, (title, content) in parts.items()
    )
    return first + sections
