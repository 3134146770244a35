"""Prints every metric as the processes of a supervisor make it.

A program of its own: metrics are shared before they are made, once in a process.
"""

from collections.abc import Iterator
from dataclasses import fields
from unittest.mock import patch

from prometheus_client import REGISTRY, Metric
from prometheus_client.metrics import MetricWrapperBase

from imagegen.database import queue_stats
from imagegen.metrics import shared_memory
from imagegen.web import database_thread, probes, stats
from tests.support.settings import load

ENVIRONMENT = {
    "DATABASE_URL": "postgresql://localhost/tokens",
    "REPLICATE_API_TOKEN": "r8_0123456789",
    "IMAGEGEN_DAILY_LIMIT": "1000",
    "IMAGEGEN_DAILY_BUDGET": "100",
    "IMAGEGEN_PRICE": "0.003",
}


def counted() -> list[Metric]:
    """Return what is served of the processes' metrics before anything was counted."""
    from imagegen.metrics import definitions  # noqa: F401, PLC0415 (makes them, in the memory that is shared)

    return list(shared_memory.SharedCollector().collect())


def asked() -> list[Metric]:
    """Return what the exporter asks at each scrape, mostly the database."""
    row: dict[str, object] = {item.name: 0 for item in fields(queue_stats.QueueStats)}
    numbers = queue_stats.from_row(row | {"tokens": {}, "tokens_set_aside": {}, "limits": None})
    database = database_thread.DatabaseThread("postgresql:///tokens", "contracts")
    with patch.object(database_thread.DatabaseThread, "ask", return_value=numbers):
        figures = list(stats.StatsCollector(database, load(ENVIRONMENT, {})).collect())
    return [*figures, *probes.SilenceCollector(lambda: 0.0).collect()]


def definitions() -> Iterator[str]:
    """Yield a line for each metric that was made in this process, wherever it is defined."""
    for each in list(REGISTRY._collector_to_names):
        if isinstance(each, MetricWrapperBase):
            yield " ".join(
                [
                    f"{each._name} {each._type} ({', '.join(each._labelnames)})",
                    *(f"{name}={value}" for name, value in sorted(_particulars(each).items())),
                ]
            )


def _particulars(metric: MetricWrapperBase) -> dict[str, object]:
    """Return the buckets of a histogram, and how a gauge of several processes is put together."""
    found = metric._kwargs
    return {name: found[name] for name in ("buckets", "multiprocess_mode") if name in found}


def series(metrics: list[Metric]) -> Iterator[str]:
    for metric in metrics:
        for sample in metric.samples:
            labels = ", ".join(f'{name}="{text}"' for name, text in sorted(sample.labels.items()))
            yield f"{sample.name}{{{labels}}}"


def main() -> None:
    shared_memory.share(workers=1)
    processes, database = counted(), asked()
    print("# metrics of the processes: name, type, labels")
    print(*sorted(definitions()), sep="\n")
    print("\n# series of the processes from the start")
    print(*sorted(series(processes)), sep="\n")
    print("\n# metrics of the database: name, type")
    print(*sorted(f"{metric.name} {metric.type}" for metric in database), sep="\n")
    print("\n# series of the database")
    print(*sorted(series(database)), sep="\n")


if __name__ == "__main__":
    main()
