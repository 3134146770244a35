"""Rolling restarts by SIGHUP, under load."""

from collections.abc import Callable

from tests.drills.stage import Stage

LOAD = 20


def roll(stage: Stage, *, rolls: int, tell: Callable[[str], None]) -> None:
    """Replace all workers so often, then wait until all is quiet; the supervisor goes on."""
    for number in range(1, rolls + 1):
        stage.mint(max(LOAD - stage.unfinished(), 0))
        stage.program.hang_up()
        stage.program.wait_for_event("worker.started", (number + 1) * stage.procs)
        tell(f"{number} rolling restarts, {stage.minted} tokens")
    stage.site.wait_until_done()
