"""Each link of a document leads to a place that exists, and the README names every document."""

import re
from pathlib import Path

import pytest

TOP = Path(__file__).parents[3]
FOLDERS = (".", "imagegen", "db", "deploy", "tests")
DOCUMENTS = sorted(
    str(path.relative_to(TOP)) for folder in FOLDERS for path in (TOP / folder).glob("*.md")
)
LINK = re.compile(r"\[[^\]]+\]\(([^)\s]+)\)")


def links(document: str) -> list[str]:
    """The links of a document to other places of this repository."""
    found = LINK.findall((TOP / document).read_text(encoding="utf-8"))
    return [link for link in found if not link.startswith("https://")]


def anchors(path: Path) -> set[str]:
    """What a link may name behind the # of a document, as GitHub makes it of a heading."""
    headings = re.findall(r"^#+ (.+)$", path.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("document", DOCUMENTS)
def test_each_link_leads_to_a_file_and_a_heading_that_are_there(document: str) -> None:
    for link in links(document):
        name, _, anchor = link.partition("#")
        target = (TOP / document).parent / name if name else TOP / document

        assert target.exists(), link
        assert not anchor or anchor in anchors(target), link


def test_the_readme_names_every_other_document() -> None:
    assert set(DOCUMENTS) - {"README.md"} <= set(links("README.md"))
