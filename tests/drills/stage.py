"""The site of a long drill: PostgreSQL, the sandbox, and supervisors that are started again."""

import contextlib
import itertools
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg

from imagegen.demo.postgres import EmbeddedPostgres
from tests.support.pooler import way_to
from tests.support.processes import Program, Site, wait_for
from tests.support.sandbox import Sandbox

# Short, so that a drill sees in a minute what takes a day in earnest.
SETTINGS = {
    "IMAGEGEN_LEASE_SECONDS": "1",
    "IMAGEGEN_TEST_SETTLE_SECONDS": "3",
    "IMAGEGEN_GRACE_SECONDS": "1",
    "POLL_INTERVAL_SECONDS": "0.5",
}
# As a user has it, for the figures that are promised.
IN_EARNEST = {
    "IMAGEGEN_LEASE_SECONDS": "15",
    "IMAGEGEN_TEST_SETTLE_SECONDS": "",
    "IMAGEGEN_GRACE_SECONDS": "20",
    "POLL_INTERVAL_SECONDS": "1",
}
# A gate that closed for a minute, after that a restart that was put off for half a minute.
QUIET_SECONDS = 180.0

Around = Callable[[Site], contextlib.AbstractContextManager[object]]

UNFINISHED = "SELECT count(*) FROM tokens_s0 WHERE status IN ('detected', 'generating')"
TERMINATE = """
SELECT pg_terminate_backend(pid) FROM pg_stat_activity
WHERE datname = current_database() AND pid <> pg_backend_pid()"""
HELD = """
SELECT id FROM generations
WHERE worker = %s AND state = 'open' AND lease_until > now() - make_interval(secs => %s)"""


class Stage:
    """A site with a server of its own and one supervisor, which is started again when it ends."""

    def __init__(self, site: Site, sandbox: Sandbox, server: EmbeddedPostgres, procs: int) -> None:
        self.site = site
        self.sandbox = sandbox
        self.server = server
        self.procs = procs
        self.minted = 0
        self.supervisors = 0
        self._programs = contextlib.ExitStack()
        self._program: Program | None = None
        self._exporter = 0  # its pid

    @property
    def program(self) -> Program:
        assert self._program is not None
        return self._program

    def start(self) -> None:
        """Start a supervisor, and wait until its workers have begun."""
        self._programs.close()
        self._program = self._programs.enter_context(self.site.supervisor(procs=self.procs))
        self.supervisors += 1
        workers = self.program.worker_pids().values()
        self._exporter = next(pid for pid in self.program.children() if pid not in workers)

    def close(self) -> None:
        self._programs.close()

    def start_again_if_it_gave_up(self) -> None:
        """As systemd would: where no worker can live for a minute, a supervisor exits with 1."""
        if self.program.process.poll() is not None:
            assert self.program.process.returncode == 1, self.program.log.read_text()[-3000:]
            assert self.program.events("supervisor.gave_up")
            self.start()

    def workers(self) -> list[int]:
        """The processes of workers that live, also those which have not begun their loop."""
        return [pid for pid in self.program.children() if pid != self._exporter]

    def mint(self, tokens: int) -> None:
        """So many more, each with a prompt that no other token has."""
        first = self.minted + 1
        numbers = itertools.islice(itertools.count(first), tokens)
        self.site.mint(*(f"picture number {n}." for n in numbers), first_token_id=first)
        self.minted += tokens

    def unfinished(self) -> int:
        return int(self.site.query(UNFINISHED)[0][0])

    def kill(self, pid: int) -> None:
        with contextlib.suppress(ProcessLookupError):  # it ended by itself
            self.program.kill(pid)

    def kill_supervisor(self) -> None:
        self.program.kill(self.program.pid)
        self.start()

    def restart(self) -> None:
        assert self.program.stop(seconds=60) == 0
        self.start()

    def freeze(self, worker: int, past_lease_seconds: float) -> None:
        """Stop a worker until `past_lease_seconds` after the end of its leases, or until others
        have adopted all its generations."""
        names = {line["pid"]: line["lease_name"] for line in self.program.events("worker.started")}
        if worker not in names:  # it has not begun, and holds nothing
            return
        with contextlib.suppress(ProcessLookupError):
            self.program.kill(worker, signal.SIGSTOP)
            wait_for(
                "its leases to run out",
                lambda: not self.site.query(HELD, names[worker], past_lease_seconds),
            )
            self.program.kill(worker, signal.SIGCONT)

    def crash_database(self, down_seconds: float) -> None:
        self.server.crash()
        time.sleep(down_seconds)
        self.server.start()
        self.site.wait_until_reachable()

    def terminate_backends(self) -> None:
        with contextlib.suppress(psycopg.OperationalError):
            self.site.query(TERMINATE)

    def finish(self) -> None:
        """Wait until the last token has ended, and stop."""

        def done() -> bool:
            self.start_again_if_it_gave_up()
            return self.unfinished() == 0

        wait_for("every token to end", done, QUIET_SECONDS)
        assert self.program.stop(seconds=60) == 0


@contextlib.contextmanager
def stage(
    folder: Path,
    around: Around = contextlib.nullcontext,
    server: EmbeddedPostgres | None = None,
    /,
    *,
    procs: int = 2,
    sandbox: Sandbox | None = None,
    **settings: str,
) -> Iterator[Stage]:
    """A stage whose supervisor has started; all of it ended and removed afterwards. `around`
    changes the site before that, and lasts as long."""
    with (
        server or EmbeddedPostgres() as running,
        way_to(running.url) as database_url,
        sandbox or Sandbox(latency_seconds=0.3) as provider,
    ):
        site = Site(database_url, provider.url, folder, SETTINGS | settings)
        site.upgrade()
        place = Stage(site, provider, running, procs)
        with around(site):
            try:
                place.start()
                yield place
            finally:
                place.close()
