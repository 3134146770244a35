"""The commands of deploy/README.md, as they stand there."""

import re

from tests.support.deploy_files import README

HEADING = re.compile(r"^#{2,3} ", re.MULTILINE)
BLOCK = re.compile(r"^```sh\n(.*?)^```$", re.MULTILINE | re.DOTALL)
VERSION = re.compile(r"/opt/imagegen-([0-9.]+)/")


def commands(section: str) -> list[str]:
    """The lines of a section's blocks of shell, down to the next heading."""
    (text,) = [part for part in HEADING.split(README) if part.startswith(f"{section}\n")]
    return [line for block in BLOCK.findall(text) for line in block.splitlines()]


INSTALL = commands("A VM with systemd")
PROMETHEUS = commands("Prometheus and Grafana")
UPGRADE = commands("Upgrade")
GO_BACK = commands("Go back")
OLD = VERSION.findall("\n".join(INSTALL))[0]
NEW = VERSION.findall("\n".join(UPGRADE))[0]


def install_next() -> str:
    """The line that installs a version, for the new one: "as above, without the link"."""
    (line,) = [line for line in INSTALL if "pip install" in line]
    without_link, link = line.rsplit(" && ", 1)
    assert link.startswith("sudo ln "), line
    return without_link.replace(OLD, NEW)
