"""Odd rows are counted in the metrics and in `status`, and named by `doctor`."""

import json
import re

from imagegen.database import odd_tokens
from tests.support import odd_rows
from tests.support.odd_rows import ODD_ROWS, Fate
from tests.support.processes import Site

# Of these the rows alone tell.
SEEN = [row for row in ODD_ROWS if row.fate is Fate.SET_ASIDE][:6]
COUNTS = dict.fromkeys(odd_tokens.KINDS, 0) | {
    "no_number": 3,
    "no_status": 1,
    "other_case": 1,
    "not_before": 1,
}


def test_each_kind_is_counted_and_named_with_its_fix(site: Site) -> None:
    odd_rows.loosen(site)
    odd_rows.insert(site, *SEEN)

    status, doctor = site.run("status", "--json"), site.run("doctor").stdout

    assert status.returncode == 0
    assert json.loads(status.stdout)["queue"]["tokens_set_aside"] == COUNTS
    assert "6: `imagegen doctor` says which and why" in site.run("status").stdout
    found = re.findall(
        r"warning +tokens +(\d) tokens? .+ left alone \(token_id (.+)\): (.+)", doctor
    )
    assert sorted(found) == [
        ("1", "9003", "status is NULL"),
        ("1", "9004", "status differs in case from what imagegen uses"),
        ("1", "9005", "generate_after is more than a day ahead"),
        (
            "3",
            f"NaN, {odd_rows.TOO_LARGE}, NULL",
            "token_id is NULL or no whole number of 64 bits",
        ),
    ]


def test_a_status_that_is_null_hides_no_metric(site: Site) -> None:
    odd_rows.loosen(site)
    odd_rows.insert(site, *(row for row in SEEN if row.name == "status missing"))

    with site.supervisor(procs=1) as program:
        metrics = program.metrics()

    assert metrics['imagegen_tokens{status="none"}'] == 1
    assert metrics['imagegen_tokens{status="detected"}'] == 0
    assert metrics['imagegen_tokens_set_aside{kind="no_status"}'] == 1
