"""deploy/RUNBOOK.md has a section for every alert, and a row for every kind and reason."""

import re
from pathlib import Path

import yaml

from imagegen.failures import FAILURES, Billed, Kind, Reason, Retry
from imagegen.web.search_input import parse

TOP = Path(__file__).parents[3]
RUNBOOK = "deploy/RUNBOOK.md"
TEXT = (TOP / RUNBOOK).read_text(encoding="utf-8")
RULES = yaml.safe_load((TOP / "deploy/prometheus/imagegen.rules.yml").read_text(encoding="utf-8"))
PARTS = ["Means", "Look", "Page", "Do", "Ends by itself"]
# How the table of kinds begins to say what imagegen does, and whether the prediction is paid for.
DOES = {
    Retry.NEVER: "`failed`",
    Retry.ATTEMPT: "retried",
    Retry.ONCE_MORE: "retried; after two of these in a row the token is `failed`",
    Retry.FALLBACK: "sends the fallback prompt once",
    Retry.IF_REPLACED: "`failed` at once; retried with `IMAGEGEN_REPLACE_LOST=yes`",
}
PAID = {Billed.NO: "no", Billed.YES: "yes", Billed.PERHAPS: "perhaps"}


def alerts() -> dict[str, str]:
    """The alerts by name, each with its annotation `runbook`."""
    rules = [rule for group in RULES["groups"] for rule in group["rules"] if "alert" in rule]
    return {rule["alert"]: rule["annotations"]["runbook"] for rule in rules}


def sections(level: str) -> dict[str, str]:
    """The text below each heading of this level."""
    parts = re.split(rf"^{level} (.+)$", TEXT, flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def first_cells(heading: str) -> list[str]:
    """The names in the first column of a section's table."""
    return re.findall(r"^\| `(\w+)` \|", sections("##")[heading], re.MULTILINE)


def test_each_alert_has_its_section_and_each_section_its_alert() -> None:
    assert len(alerts()) > 10
    assert list(sections("###")) == list(alerts())


def test_each_alert_names_its_section() -> None:
    assert alerts() == {name: f"{RUNBOOK}#{name.lower()}" for name in alerts()}


def test_each_section_says_what_it_means_where_to_look_also_on_the_page_and_what_to_do() -> None:
    in_alerts = sections("##")["Alerts"]

    for name in alerts():
        text = in_alerts.partition(f"### {name}\n")[2].partition("###")[0]
        assert re.findall(r"^- \*\*(.+?):\*\* \S", text, re.MULTILINE) == PARTS, name


def test_each_search_that_the_runbook_names_can_be_searched_for() -> None:
    named = set(re.findall(r"`/tokens\?([^`]+)`", TEXT))

    assert len(named) > 10
    for query in named:
        parse(query.replace("KIND", "gone"))


def test_each_kind_of_failure_and_each_reason_of_a_refusal_is_explained() -> None:
    assert sorted(first_cells("Why a generation failed")) == sorted(Kind)
    assert sorted(first_cells("Why Replicate refused")) == sorted(Reason)


def test_each_kind_is_retried_and_paid_for_as_the_runbook_says() -> None:
    rows = re.findall(
        r"^\| `(\w+)` \| .+ \| (.+) \| (\w+) \|$",
        sections("##")["Why a generation failed"],
        re.MULTILINE,
    )

    assert {kind: paid for kind, _, paid in rows} == {
        kind: PAID[failure.billed] for kind, failure in FAILURES.items()
    }
    for kind, does, _ in rows:
        assert does.startswith(DOES[FAILURES[Kind(kind)].retry]), kind
