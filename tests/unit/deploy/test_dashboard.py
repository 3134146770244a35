"""What can be seen of the dashboard without Grafana: test_prometheus.py asks its queries."""

import json
from pathlib import Path
from typing import Any

import pytest

GRAFANA = Path(__file__).parents[3] / "deploy/grafana"
DASHBOARD = json.loads((GRAFANA / "imagegen.json").read_text(encoding="utf-8"))
PANELS: list[dict[str, Any]] = DASHBOARD["panels"]
CHOSEN = {"type": "prometheus", "uid": "${datasource}"}
COLUMNS = 24
# What a browser shows at 1080p, below its own bars and Grafana's: rows of 38 pixels.
ROWS = 21


def test_all_panels_are_on_one_screen_and_none_is_upon_another() -> None:
    taken = [
        (column, row)
        for place in (panel["gridPos"] for panel in PANELS)
        for column in range(place["x"], place["x"] + place["w"])
        for row in range(place["y"], place["y"] + place["h"])
    ]

    assert sorted(taken) == [(column, row) for column in range(COLUMNS) for row in range(ROWS)]


def test_panels_can_be_told_apart() -> None:
    assert len({panel["id"] for panel in PANELS}) == len(PANELS)
    assert len({panel["title"] for panel in PANELS}) == len(PANELS)


@pytest.mark.parametrize("panel", PANELS, ids=lambda panel: panel["title"])
def test_a_panel_says_what_it_shows_in_which_unit(panel: dict[str, Any]) -> None:
    assert panel["description"].endswith(".")
    assert panel["fieldConfig"]["defaults"]["unit"]


@pytest.mark.parametrize("panel", PANELS, ids=lambda panel: panel["title"])
def test_a_panel_asks_the_chosen_prometheus_about_the_chosen_instances(
    panel: dict[str, Any],
) -> None:
    assert [panel["datasource"], *(each["datasource"] for each in panel["targets"])] == [
        CHOSEN for _ in range(1 + len(panel["targets"]))
    ]
    assert all('instance=~"$instance"' in each["expr"] for each in panel["targets"])
