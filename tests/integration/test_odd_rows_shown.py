"""The page and each command show the other tokens, and odd ones as far as they can be."""

import httpx
import pytest

from tests.support import odd_rows
from tests.support.odd_rows import ODD_ROWS, Fate
from tests.support.processes import Site

COMMANDS = [
    ("tokens", "list"),
    ("tokens", "list", "--json"),
    ("tokens", "list", "--status", "failed", "--newer", "7d"),
    ("tokens", "retry", "--failed-since", "1h", "--yes"),
    *(("tokens", "show", str(odd_rows.FIRST_ODD_TOKEN + number)) for number in (0, 5, 13, 21)),
    ("spend",),
    ("db", "check"),
]


@pytest.fixture
def odd_site(site: Site) -> Site:
    odd_rows.loosen(site)
    odd_rows.insert(site, *ODD_ROWS)
    return site


def test_each_command_goes_on_over_odd_rows(odd_site: Site) -> None:
    for command in COMMANDS:
        done = odd_site.run(*command)

        assert "Traceback" not in done.stderr
        assert done.returncode == 0, (command, done.stderr)


def test_the_page_shows_failed_tokens_that_were_minted_at_any_time(site: Site) -> None:
    odd_rows.loosen(site)
    failed = [row for row in ODD_ROWS if row.fate is Fate.UNTOUCHED]
    odd_rows.insert(site, *failed)
    site.query("UPDATE tokens_s0 SET token_id = NULL WHERE token_id = %s", odd_rows.FIRST_ODD_TOKEN)

    with site.supervisor(procs=1) as program:
        url = program.metrics_url().replace("/metrics", "/")
        page = httpx.get(url, trust_env=False)
        found = httpx.get(f"{url}tokens?status=failed", trust_env=False)

    assert page.status_code == found.status_code == 200
    numbers = range(odd_rows.FIRST_ODD_TOKEN + 1, odd_rows.FIRST_ODD_TOKEN + len(failed))
    for shown in (page, found):
        assert all(f'<a href="/tokens/{number}">#{number}</a>' in shown.text for number in numbers)
        assert "<b>no token_id</b>" in shown.text
