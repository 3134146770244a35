"""Authors that are missing, or hidden by row-level security: tokens wait, and none fails."""

import pytest

from tests.integration.test_unusable_tables import as_new_role, grant
from tests.support.processes import Site, wait_for
from tests.support.sandbox import Sandbox

WITHOUT_KEY = "ALTER TABLE tokens_s0 DROP CONSTRAINT tokens_s0_author_id_fkey"
LATE = """INSERT INTO tokens_s0 (token_id, author_id) VALUES
    (50, '00000000-0000-0000-0000-000000000001')"""
ARRIVES = """INSERT INTO authors (id, wallet_address, prompt_text) VALUES
    ('00000000-0000-0000-0000-000000000001', '0x1', 'late')"""


@pytest.mark.parametrize("default", [None, "anything"])
def test_a_token_whose_author_comes_later_waits_for_it(
    site: Site, sandbox: Sandbox, default: str | None
) -> None:
    if default:
        site.settings["IMAGEGEN_DEFAULT_PROMPT"] = default
    site.query(WITHOUT_KEY)
    site.query(LATE)
    site.mint("a cat")
    with site.supervisor(procs=1) as program:
        [refused] = program.wait_for_event("token.refused")[:1]
        wait_for("the other image", lambda: site.statuses().get("uploading"))
        site.query(ARRIVES)

        assert site.wait_until_done() == {"uploading": 2}

    assert (refused["token_id"], refused["reason"]) == (50, "set_aside")
    assert {entry.prompt for entry in sandbox.ledger.creates()} == {"a cat", "late"}


@pytest.mark.direct
def test_authors_that_are_hidden_while_it_runs_stop_the_claims_and_fail_no_token(
    site: Site, sandbox: Sandbox
) -> None:
    limited, role = as_new_role(site)
    grant(site, role)
    with limited.supervisor(procs=1) as program:
        site.query("ALTER TABLE authors ENABLE ROW LEVEL SECURITY")
        site.mint("a cat", "a dog")
        [said] = program.wait_for_event("database.unavailable")
        site.query(f"CREATE POLICY p ON authors TO {role} USING (true)")

        assert site.wait_until_done() == {"uploading": 2}
        assert program.events("process.died") == []

    assert f"row-level security of authors restricts {role}" in said["error"]
    assert len(sandbox.ledger.creates()) == 2


@pytest.mark.direct
def test_tokens_that_are_hidden_while_it_runs_are_reported(site: Site, sandbox: Sandbox) -> None:
    limited, role = as_new_role(site)
    grant(site, role)
    with limited.supervisor(procs=1) as program:
        site.query("ALTER TABLE tokens_s0 ENABLE ROW LEVEL SECURITY")
        site.mint("a cat")
        program.wait_for_event("database.unavailable")
        site.query("ALTER TABLE tokens_s0 DISABLE ROW LEVEL SECURITY")

        assert site.wait_until_done() == {"uploading": 1}

    assert len(sandbox.ledger.creates()) == 1
