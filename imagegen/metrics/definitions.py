"""All metrics, by the names that dashboards and alerts use.

Under `supervise` the values are in memory that all processes share, by role, so that a restarted
worker continues the counts of the dead one. There this module must be imported after
`imagegen.metrics.shared_memory.share`.
"""

from collections.abc import Iterable
from functools import partial

from prometheus_client import Counter, Gauge, Histogram

from imagegen import failures

# The label `slot` is the role of a worker's process, such as `worker-0`.
gauge_of_slot = partial(Gauge, labelnames=["slot"], multiprocess_mode="livemax")

ATTEMPTS = Counter(
    "imagegen_attempts", "Predictions that Replicate accepted, by whose prompt it was.", ["prompt"]
)
FAILURES = Counter("imagegen_failures", "Generations that failed, by kind.", ["kind"])
TOKENS_FAILED = Counter(
    "imagegen_tokens_failed",
    "Tokens that failed for good, by the kind of their last failure.",
    ["kind"],
)
GENERATIONS = Counter("imagegen_generations", "Generations closed, by outcome.", ["outcome"])
REFUSALS = Counter(
    "imagegen_refusals", "Generations that Replicate refused at the door, by reason.", ["reason"]
)
ADOPTIONS = Counter("imagegen_adoptions", "Open generations taken over from another worker.")
RECONCILIATIONS = Counter(
    "imagegen_reconciliations",
    "Looks at Replicate's list for a request with an unknown outcome, by result.",
    ["result"],
)
LOST_LEASES = Counter(
    "imagegen_lost_leases", "Generations dropped because another worker had taken them over."
)
DUPLICATES = Counter(
    "imagegen_duplicates", "Predictions cancelled because the same request had made another."
)
PAID_TWICE = Counter(
    "imagegen_paid_twice",
    "Attempts for tokens whose image was probably paid for already, by why it was lost.",
    ["reason"],
)
IMAGES = Counter("imagegen_images", "Images that Replicate made, and bills.")
COPIES = Counter(
    "imagegen_image_copies", "Copies of images in the folder or bucket, by result.", ["result"]
)
PREDICT_SECONDS = Counter("imagegen_predict_seconds", "Seconds that Replicate computed for images.")
GENERATION_SECONDS = Histogram(
    "imagegen_generation_duration_seconds",
    "From the claim of a token to its image.",
    buckets=(0.5, 1, 1.5, 2, 3, 5, 8, 13, 21, 34, 60, 120, 300),
)
TOKEN_SECONDS = Histogram(
    "imagegen_token_seconds",
    "From the mint of a token to the hand-over of its image, over all its attempts.",
    buckets=(1, 2, 3, 5, 8, 13, 21, 34, 60, 120, 300, 600, 900, 1800),
)
QUEUE_WAIT_SECONDS = Histogram(
    "imagegen_queue_wait_seconds",
    "From the mint of a token to its claim.",
    buckets=(0.05, 0.1, 0.5, 1, 2, 5, 10, 30, 60, 300, 900, 3600),
)
REPLICATE_REQUEST_SECONDS = Histogram(
    "imagegen_replicate_request_duration_seconds",
    "Requests to Replicate's API.",
    ["operation"],
    buckets=(0.01, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30),
)
LOG_LINES_DROPPED = Counter(
    "imagegen_log_lines_dropped", "Log lines that could not be written to standard error."
)
WORKER_RESTARTS = Counter(
    "imagegen_worker_restarts", "Workers that were replaced, by how they ended.", ["slot", "cause"]
)
EXPORTER_RESTARTS = Counter(
    "imagegen_exporter_restarts", "Exporters that were replaced, by how they ended.", ["cause"]
)
FORK_FAILURES = Counter(
    "imagegen_fork_failures", "Processes that could not be started, for lack of memory or others."
)
SUPERVISOR_STARTED = Gauge(
    "imagegen_supervisor_start_time_seconds",
    "When the supervisor started, in Unix time.",
    multiprocess_mode="max",
)
BUILD_INFO = Gauge(
    "imagegen_build_info",
    "1, with the version of imagegen and of Python.",
    ["version", "python"],
    multiprocess_mode="max",
)
WORKERS = Gauge("imagegen_workers", "Workers that are alive.", multiprocess_mode="livesum")
WORKERS_WANTED = Gauge(
    "imagegen_workers_wanted",
    "Workers that there should be: as many as were asked for, more or less by signals since.",
    multiprocess_mode="livesum",
)
WORKER_PID = gauge_of_slot("imagegen_worker_pid", "Process id of the worker in this slot.")
WORKER_STARTED = gauge_of_slot(
    "imagegen_worker_started_seconds", "When the worker in this slot started, in Unix time."
)
DATABASE_AWAY = gauge_of_slot(
    "imagegen_database_away", "1 while the worker in this slot waits for the database."
)
GATE_OPEN = gauge_of_slot(
    "imagegen_gate_open", "1 while the worker in this slot asks for predictions."
)
GATE_CLOSED = Gauge(
    "imagegen_gate_closed",
    "1 while the worker in this slot asks for no predictions for this reason.",
    ["slot", "reason"],
    multiprocess_mode="livemax",
)
CREATE_PACE = Gauge(
    "imagegen_create_pace",
    "Predictions a minute that the workers allow themselves to create.",
    multiprocess_mode="livesum",
)
SLOTS_BUSY = Gauge(
    "imagegen_slots_busy",
    "Tokens at work in the worker in this slot.",
    ["slot"],
    multiprocess_mode="livesum",
)

# Series that begin at 0. A series that begins at 1 has no rate, so no alert would see the first
# failure after a start.
KNOWN_VALUES: dict[Counter, Iterable[str]] = {
    ATTEMPTS: ("author", "fallback"),
    FAILURES: failures.Kind,
    TOKENS_FAILED: failures.Kind,
    GENERATIONS: ("succeeded", "failed", "refused"),
    REFUSALS: [reason for reason, refusal in failures.REFUSALS.items() if refusal.at_the_door],
    RECONCILIATIONS: ("found", "absent", "not_yet", "unseen", "undecidable"),
    PAID_TWICE: [kind for kind, failure in failures.FAILURES.items() if failure.may_be_paid_twice],
    COPIES: ("kept", "failed"),
}
for _counter, _values in KNOWN_VALUES.items():
    for _value in _values:
        _counter.labels(_value)
