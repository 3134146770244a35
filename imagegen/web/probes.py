"""The problems that /healthz and /readyz report, one line each."""

from collections.abc import Callable, Iterator

from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from imagegen.failures import REFUSALS, Reason
from imagegen.metrics.workers import Workers

# The supervisor's loop goes round at least every 5 s, or later on a busy machine.
SUPERVISOR_SILENT_SECONDS = 20.0


def unhealthy(supervisor_silent_seconds: float) -> list[str]:
    """Return why this supervisor should be restarted as a whole; nothing if it is healthy.

    The supervisor replaces its workers and its exporter. Nothing in imagegen replaces the
    supervisor.
    """
    if supervisor_silent_seconds > SUPERVISOR_SILENT_SECONDS:
        return [f"the supervisor has stood still for {supervisor_silent_seconds:.0f} s"]
    return []


class SilenceCollector(Collector):
    """Collects how long the supervisor has been silent."""

    def __init__(self, supervisor_silent_seconds: Callable[[], float]) -> None:
        self._silent_seconds = supervisor_silent_seconds

    def collect(self) -> Iterator[Metric]:
        yield GaugeMetricFamily(
            "imagegen_supervisor_silent_seconds",
            "Since the loop of the supervisor last went round; at most 5 while it goes on.",
            self._silent_seconds(),
        )


def unready(workers: Workers, *, tokens_wait: bool) -> Iterator[str]:
    """Yield why tokens do not become images, unless the cause passes by itself.

    While a token waits to be sent, one closed gate is enough. The cause (account or network) is
    common to all workers; a gate that is still open has just not sent anything since. A throttle
    does not count: tokens become images as fast as Replicate allows. While no token waits, closed
    gates do not count: only the next token can show that the cause is over.
    """
    if not workers.processes:
        yield "no worker is alive"
    for worker in workers.rows:
        if worker.waits_for_database:
            yield f"{worker.slot} waits for the database"
    for worker in workers.rows:
        is_paused = Reason.PAUSED in worker.closed_by  # sends no token that could open the gate
        for reason in worker.closed_by if tokens_wait and not is_paused else ():
            if not REFUSALS[Reason(reason)].passes_by_itself:
                yield f"the gate of {worker.slot} is closed: {reason}"
