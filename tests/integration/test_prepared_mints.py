"""Mints by two-phase commits: PREPARE TRANSACTION fails with a NOTIFY."""

from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from imagegen.demo import postgres
from tests.support.processes import Site
from tests.support.sandbox import Sandbox

PREPARED = """BEGIN;
INSERT INTO authors (wallet_address, prompt_text) VALUES ('0x1', 'a cat');
INSERT INTO tokens_s0 (token_id, author_id) SELECT 1, id FROM authors;
PREPARE TRANSACTION 'mint'"""


@pytest.fixture
def site(monkeypatch: pytest.MonkeyPatch, sandbox: Sandbox, tmp_path: Path) -> Iterator[Site]:
    settings = postgres.SETTINGS | {"max_prepared_transactions": "5"}
    monkeypatch.setattr(postgres, "SETTINGS", settings)
    with postgres.EmbeddedPostgres(durable=False) as server:
        yield Site(server.url, sandbox.url, tmp_path)


def test_a_trigger_that_was_dropped_for_them_stays_away(site: Site) -> None:
    site.upgrade()
    with pytest.raises(psycopg.NotSupportedError, match="NOTIFY"):
        site.query(PREPARED)
    site.query("DROP TRIGGER imagegen_notify_detected ON tokens_s0")
    upgraded = site.run("db", "upgrade")
    site.query(PREPARED)
    site.query("COMMIT PREPARED 'mint'")

    with site.supervisor(procs=1):
        assert site.wait_until_done() == {"uploading": 1}

    assert upgraded.returncode == 0
    assert "leave it so if mints use PREPARE TRANSACTION" in upgraded.stderr
    assert site.run("db", "downgrade", "base", "--yes").returncode == 0
