"""A name server that does not answer is waited for: no process is taken to hang."""

import contextlib
from collections.abc import Iterator
from pathlib import Path

from tests.drills.stage import stage
from tests.support.judge import judge
from tests.support.name_server import NameServer
from tests.support.processes import Site, wait_for

TOKENS = 24
# Longer than the watchdog allows.
SILENCE_SECONDS = 9.0


def test_work_goes_on_after_a_name_server_and_the_database_were_away(tmp_path: Path) -> None:
    servers: list[NameServer] = []

    @contextlib.contextmanager
    def with_a_name_server(site: Site) -> Iterator[None]:
        site.settings["IMAGEGEN_WATCHDOG_SECONDS"] = "5"
        servers.append(NameServer(site))
        yield

    with stage(tmp_path, with_a_name_server) as place:
        [name_server] = servers
        place.mint(TOKENS)
        wait_for("work", lambda: len(place.sandbox.predictions.paid()) >= 3)
        name_server.keep_silent()
        place.crash_database(SILENCE_SECONDS)
        assert len(place.program.events("database.unavailable")) >= 2
        name_server.answer()
        place.finish()

        assert place.program.events("process.hung") == []
        assert place.program.events("process.died") == []
        judge(place.site, place.sandbox)
