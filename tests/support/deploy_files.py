"""The files of deploy/, read, and the times that they must allow for."""

from pathlib import Path
from typing import Any

import yaml

from imagegen.supervisor import supervisor
from tests.support.settings import load

TOP = Path(__file__).parents[2]
DEPLOY = TOP / "deploy"
README = (DEPLOY / "README.md").read_text(encoding="utf-8")
RULES = DEPLOY / "prometheus" / "imagegen.rules.yml"
DOCKERFILE = (DEPLOY / "docker" / "Dockerfile").read_text(encoding="utf-8")
PLACEHOLDERS = {
    "DATABASE_URL": "postgresql://imagegen:change-me@localhost:5432/imagegen",
    "REPLICATE_API_TOKEN": "r8_change-me",
}
DEFAULTS = load(PLACEHOLDERS, {})
LONGEST_STOP_SECONDS = DEFAULTS.grace_seconds + supervisor.STOP_MARGIN_SECONDS


def seconds(text: str) -> float:
    assert text.endswith("s")
    return float(text.removesuffix("s"))


def documents(path: Path) -> list[dict[str, Any]]:
    return list(yaml.safe_load_all(path.read_text(encoding="utf-8")))
