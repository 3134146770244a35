"""Rolling restarts by SIGHUP, under load."""

from collections.abc import Callable

from tests.drills.stage import Stage
from tests.support.processes import wait_for

LOAD = 20


def roll(stage: Stage, *, rolls: int, tell: Callable[[str], None]) -> None:
    """Replace all workers `rolls` times, then wait until all is quiet. The supervisor goes on."""

    def wait_for_starts(count: int) -> None:
        def look() -> bool:
            started = [line["worker"] for line in stage.program.events("worker.started")]
            return len(started) - started.count("worker-spare") == count

        wait_for(f"{count} starts", look)

    for number in range(1, rolls + 1):
        stage.mint(max(LOAD - stage.unfinished(), 0))
        stage.program.hang_up()
        wait_for_starts((number + 1) * stage.procs)
        tell(f"{number} rolling restarts, {stage.minted} tokens")
    stage.site.wait_until_done()
