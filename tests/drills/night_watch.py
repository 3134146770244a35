"""Prometheus for a shortened night: deploy's own rules, and the command for each alert."""

import contextlib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.drills.namespaces import Network
from tests.support.prometheus import DEPLOY, Prometheus, prometheus

# How deploy/ has them.
SCRAPE_SECONDS = 15.0
METRICS_URL = "http://127.0.0.1:9464/metrics"
UNITS = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86_400.0}
# A rule's own time, its windows, their steps and offsets.
DURATIONS = re.compile(
    r"(?<=for: )\d+[smhd]\b|(?<=\[)\d+[smhd](?=[]:])|(?<=\d[smhd]:)\d+[smhd](?=])"
    r"|(?<=offset )\d+[smhd]\b"
)
# The age of a token, which lives in the shortened night as well.
AGES = re.compile(r"(?<=imagegen_oldest_)(\w+_seconds\) > )(\d+)")
# What a person types, in the text of a runbook.
COMMAND = re.compile(r"`((?:imagegen|systemctl) [^`]+)`")


@dataclass(frozen=True)
class Firing:
    """An alert that fired without a break."""

    name: str
    severity: str
    began: float  # Unix time
    ended: float

    def __str__(self) -> str:
        return f"{self.name} ({self.severity}) for {self.ended - self.began:.0f} s"


def shortened(rules: str, factor: float) -> str:
    """Return rules for a time that passes `factor` times as fast: every duration is divided."""

    def divided(found: re.Match[str]) -> str:
        return f"{1000 * UNITS[found[0][-1]] * int(found[0][:-1]) / factor:.0f}ms"

    rules = DURATIONS.sub(divided, rules)
    return AGES.sub(lambda found: f"{found[1]}{int(found[2]) / factor:g}", rules)


class Watch:
    """A Prometheus in imagegen's network, which the drill asks from outside of it."""

    def __init__(self, network: Network, watcher: Prometheus, factor: float) -> None:
        self._network = network
        self._watcher = watcher
        self._step_seconds = SCRAPE_SECONDS / factor

    def calls(self) -> list[dict[str, Any]]:
        """The alerts that call a person now."""
        with self._network.inside("client"):
            alerts: list[dict[str, Any]] = self._watcher.ask("alerts")["alerts"]
        return [
            each
            for each in alerts
            if each["state"] == "firing" and each["labels"]["severity"] == "critical"
        ]

    def fired(self, until: float) -> list[Firing]:
        """Every alert that has fired until then, in the order in which they began."""
        with self._network.inside("client"):
            found = self._watcher.ask(
                "query_range", query='ALERTS{alertstate="firing"}',
                start=self._watcher.started, end=until, step=self._step_seconds,
            )  # fmt: skip
        firings = [
            Firing(series["metric"]["alertname"], series["metric"]["severity"], began, ended)
            for series in found["result"]
            for began, ended in unbroken([at for at, _ in series["values"]], self._step_seconds)
        ]
        return sorted(firings, key=lambda each: each.began)


def unbroken(times: list[float], step_seconds: float) -> list[tuple[float, float]]:
    """Return the first and last time of each series of steps without a gap."""
    series: list[tuple[float, float]] = []
    for at in times:
        if series and at - series[-1][1] < 1.5 * step_seconds:
            series[-1] = (series[-1][0], at)
        else:
            series.append((at, at))
    return series


@contextlib.contextmanager
def watching(folder: Path, network: Network, factor: float) -> Iterator[Watch]:
    """Prometheus on imagegen's side of the network, with all times divided by `factor`."""
    with prometheus(
        folder,
        METRICS_URL,
        interval=f"{1000 * SCRAPE_SECONDS / factor:.0f}ms",
        change=lambda rules: shortened(rules, factor),
        launcher=network.launcher,
    ) as watcher:
        yield Watch(network, watcher, factor)


def command_in(alert: dict[str, Any]) -> str:
    """Return the one command that an alert and its section of the runbook lead to."""
    annotations = alert["annotations"]
    document, _, anchor = annotations["runbook"].partition("#")
    what_to_do = paragraph((DEPLOY.parent / document).read_text(encoding="utf-8"), anchor, "Do")
    found = COMMAND.findall(concerning(what_to_do, annotations["description"]))
    assert len(found) == 1, f"commands for {alert['labels']['alertname']}: {found}"
    return str(found[0])


def paragraph(runbook: str, anchor: str, name: str) -> str:
    sections = re.split(r"^### (.+)$", runbook, flags=re.MULTILINE)
    by_anchor = {
        heading.lower(): text for heading, text in zip(sections[1::2], sections[2::2], strict=True)
    }
    (found,) = re.findall(rf"^- \*\*{name}:\*\* (.+)$", by_anchor[anchor], re.MULTILINE)
    return str(found)


def concerning(what_to_do: str, description: str) -> str:
    """Return the part of a paragraph that is about the reasons that an alert names, if it has such
    parts; each begins with its reasons: "`no_credit`: pay."."""
    parts = re.split(r"((?:`\w+`(?:, )?)+): ", what_to_do)
    named = dict(zip(parts[1::2], parts[2::2], strict=True))
    reasons = re.findall(r"\w+", description.partition("Reasons of the refusals:")[2])
    concerned = [text for names, text in named.items() if any(f"`{r}`" in names for r in reasons)]
    return " ".join(concerned) if named else what_to_do
