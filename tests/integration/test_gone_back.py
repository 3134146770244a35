"""The program on a database that went back to an earlier state."""

import pytest

from tests.support import earlier_state
from tests.support.processes import Site, wait_for
from tests.support.sandbox import Fault, Sandbox

BLACK = "NSFW content was detected. A black image will be returned instead."
# A worker came to this token some time after it had noticed the change.
NOTICED_BEFORE = """
INSERT INTO imagegen_servers
SELECT concat_ws('/', extract(epoch FROM pg_postmaster_start_time()),
    pg_relation_filenode('generations')), now() - interval '11 s', now() - interval '60 s'"""


@pytest.mark.parametrize("noticed_before", [False, True], ids=["just noticed", "noticed before"])
def test_a_fallback_that_was_forgotten_is_neither_paid_for_again_nor_cancelled(
    site: Site, sandbox: Sandbox, noticed_before: bool
) -> None:
    site.settings["IMAGEGEN_TEST_SETTLE_SECONDS"] = "1"
    sandbox.faults.add(Fault.outputs("{url}", "a picture", logs=BLACK), Fault.takes(4.0))
    site.mint("a picture")
    earlier_state.save(site.query)
    with site.supervisor() as program:
        wait_for("the fallback to be sent", lambda: len(sandbox.predictions) == 2)
        assert program.stop() == 0
    earlier_state.go_back(site.query)
    if noticed_before:
        site.query(NOTICED_BEFORE)

    with site.supervisor():
        assert site.wait_until_done() == {"uploading": 1}

    assert len(sandbox.ledger.creates()) == 2
    assert not sandbox.ledger.of("cancel")
