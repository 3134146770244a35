"""imagegen is upgraded with a migration, and goes back, with the commands of deploy/README.md."""

import contextlib
import json
import re
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.machine import guide
from tests.machine.installation import Installation

MIGRATION = '''"""A column that only the next version has."""

from imagegen.database import parts

revision = "{revision}"
down_revision = "{before}"


def upgrade() -> None:
    parts.add_columns("generations", {{"next_version": "text"}})


def downgrade() -> None:
    parts.drop_columns("generations", {{"next_version": "text"}})
'''
# A token in this time is minted while versions change.
PAUSE_SECONDS = 0.2
# From the mint to the request to Replicate: 0.1 s, or about a second where imagegen is restarted.
NO_WAIT_SECONDS = 0.5


@dataclass(frozen=True)
class NextVersion:
    """The new version, installed beside the old one."""

    folder: Path  # as this host sees it
    needed: str  # the revision of the old one

    @contextlib.contextmanager
    def that_does_not_start(self) -> Iterator[None]:
        (module,) = self.folder.glob("lib/python3*/site-packages/imagegen/app.py")
        text = module.read_text()
        module.write_text(f"raise SystemExit('does not start')\n{text}")
        yield
        module.write_text(text)


@pytest.fixture(scope="module")
def next_version(installation: Installation) -> NextVersion:
    checkout = installation.check_out("imagegen-next")
    project = checkout / "pyproject.toml"
    project.write_text(project.read_text().replace(f'"{guide.OLD}"', f'"{guide.NEW}"', 1))
    versions = checkout / "db" / "versions"
    before = max(path.name for path in versions.glob("0*.py"))[:4]
    revision = f"{int(before) + 1:04}"
    migration = MIGRATION.format(revision=revision, before=before)
    (versions / f"{revision}_next.py").write_text(migration)
    installation.as_user("imagegen-next", guide.install_next())
    return NextVersion(installation.debian.root / f"opt/imagegen-{guide.NEW}", before)


def version(installation: Installation) -> str:
    """Which version's program the service runs."""
    command = installation.debian.shell(f"tr '\\0' ' ' </proc/{installation.main_pid()}/cmdline")
    (found,) = re.findall(r"/opt/imagegen-([0-9.]+)/", command)
    return str(found)


@contextlib.contextmanager
def tokens_all_the_while(installation: Installation) -> Iterator[list[int]]:
    """Mint one after the other until the block ends, and return their ids."""
    tokens: list[int] = []
    done = threading.Event()

    def mint() -> None:
        while not done.wait(PAUSE_SECONDS):
            tokens.extend(installation.mint(1))

    thread = threading.Thread(target=mint)
    thread.start()
    try:
        yield tokens
    finally:
        done.set()
        thread.join()


def longest_wait_seconds(installation: Installation, tokens: list[int]) -> float:
    """From the mint to the first request."""
    rows = installation.site.query(
        """SELECT extract(epoch FROM max(g.requested_at - t.created_at))::float
           FROM tokens_s0 t JOIN generations g USING (token_id)
           WHERE g.attempt = 1 AND t.token_id = ANY(%s)""",
        tokens,
    )
    return float(rows[0][0])


def test_a_version_that_does_not_start_leaves_the_old_one_at_work(
    installation: Installation, next_version: NextVersion
) -> None:
    migrate, start, _ = guide.UPGRADE
    former = installation.main_pid()

    with next_version.that_does_not_start():
        installation.debian.shell(migrate)
        started = installation.debian.attempt("sh", "-c", start)

    assert started.returncode != 0
    assert installation.main_pid() == former
    assert installation.images(installation.mint(20)) == 20


def test_an_upgrade_lets_no_token_wait(
    installation: Installation, next_version: NextVersion
) -> None:
    with tokens_all_the_while(installation) as tokens:
        for line in guide.UPGRADE:
            installation.debian.shell(line)

    assert installation.images(tokens) == len(tokens) > 5
    assert longest_wait_seconds(installation, tokens) < NO_WAIT_SECONDS
    assert version(installation) == guide.NEW
    assert (
        installation.debian.shell("systemctl list-units --all --plain 'imagegen-next*'").count(
            "imagegen-next.service"
        )
        == 0
    )


def test_the_old_version_is_back_after_a_migration_with_every_token(
    installation: Installation, next_version: NextVersion
) -> None:
    ask, stop, downgrade, start = guide.GO_BACK
    tokens = installation.mint_into_flight(20, seconds=2.0)

    needed = json.loads(installation.debian.shell(ask))["needed"]
    installation.debian.shell(stop)
    downgrade = downgrade.replace("REVISION", needed)
    refused = installation.debian.attempt("sh", "-c", downgrade)
    installation.debian.shell(downgrade.replace(needed, f"{needed} --yes"))
    installation.debian.shell(start)

    assert "next_version" in refused.stdout
    assert "add --yes" in refused.stdout
    assert needed == next_version.needed
    assert version(installation) == guide.OLD
    assert installation.images([*tokens, *installation.mint(20)]) == 40
