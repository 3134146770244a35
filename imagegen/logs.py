"""Log lines: JSON objects for machines, text on a terminal, and no secret in either."""

import logging
import re
import sys
import threading
import time
from collections.abc import Iterable
from contextlib import suppress
from datetime import UTC, datetime
from types import TracebackType
from typing import Any

from pythonjsonlogger.json import JsonFormatter

from imagegen.redaction import Redactor

log = logging.getLogger("imagegen")

# What every log record has, so that what remains is what the caller said with `extra`.
STANDARD = set(logging.makeLogRecord({}).__dict__) | {"message", "asctime", "taskName"}
# thing.action.outcome: what imagegen itself calls an event.
EVENT = re.compile(r"[a-z_]+(\.[a-z_]+)+")
# Fields that hold nothing from elsewhere: filters and dashboards go by them.
OWN_FIELDS = ("timestamp", "level", "worker", "event")


class JsonLines(JsonFormatter):
    """One JSON object a line: timestamp (UTC), level, worker, event, and the event's own fields."""

    def __init__(self, redact: Redactor, worker: str) -> None:
        super().__init__(json_ensure_ascii=False)
        self._redact = redact
        self._worker = worker

    def add_fields(
        self, log_data: dict[str, Any], record: logging.LogRecord, message_dict: dict[str, Any]
    ) -> None:
        log_data["timestamp"] = datetime.fromtimestamp(record.created, UTC).isoformat()
        log_data["level"] = record.levelname.lower()
        log_data["worker"] = self._worker
        log_data["event"] = _event(record, self._redact)
        super().add_fields(log_data, record, message_dict)
        log_data.pop("message", None)

    def process_log_record(self, log_data: dict[str, Any]) -> dict[str, Any]:
        return {
            name: value if name in OWN_FIELDS else _redacted(value, self._redact)
            for name, value in log_data.items()
        }


def _event(record: logging.LogRecord, redact: Redactor) -> str:
    """The name of an event as it is; what a library says in its place, without secrets."""
    said = record.getMessage()
    is_own = record.name == log.name and EVENT.fullmatch(said)
    return said if is_own else redact(said)


def _redacted(value: object, redact: Redactor) -> object:
    """Its text without secrets; numbers stay numbers."""
    match value:
        case None | bool() | int() | float():
            return value
        case dict():
            return {redact(str(name)): _redacted(item, redact) for name, item in value.items()}
        case list() | tuple() | set():
            return [_redacted(item, redact) for item in value]
        case _:
            return redact(str(value))


class TextLines(logging.Formatter):
    """The same for a person: time (UTC), worker, event, then `field=value`."""

    def __init__(self, redact: Redactor, worker: str) -> None:
        super().__init__(f"%(asctime)s {worker:<10} %(message)s", "%H:%M:%S")
        self.converter = time.gmtime
        self._redact = redact

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 (logging's name)
        extra = {name: value for name, value in vars(record).items() if name not in STANDARD}
        record.message = _event(record, self._redact)
        line = super().formatMessage(record)
        if record.levelno >= logging.WARNING:
            line = f"{line} [{record.levelname.lower()}]"
        return " ".join([line, *(f"{name}={self._field(value)}" for name, value in extra.items())])

    def format(self, record: logging.LogRecord) -> str:
        return _harmless(super().format(record))

    def formatException(self, ei: Any) -> str:  # noqa: N802 (logging's name)
        return self._redact(super().formatException(ei))

    def formatStack(self, stack_info: str) -> str:  # noqa: N802 (logging's name)
        return self._redact(super().formatStack(stack_info))

    def _field(self, value: object) -> str:
        """In one line, in quotes where it has spaces."""
        text = str(_redacted(value, self._redact)).replace("\n", "\\n")
        return f'"{text}"' if " " in text else text


def _harmless(text: str) -> str:
    """Without what a terminal would obey: escape sequences, or text that runs backwards."""
    return "".join(
        c if c.isprintable() or c == "\n" else c.encode("unicode_escape").decode() for c in text
    )


def configure(form: str, level: str, secrets: Iterable[str], worker: str) -> None:
    """Log to standard error as `worker`, in `form` (auto, json or text)."""
    if form == "auto":
        form = "text" if sys.stderr.isatty() else "json"
    lines = JsonLines if form == "json" else TextLines
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(lines(Redactor(secrets), worker))
    logging.basicConfig(level=logging.WARNING, handlers=[handler], force=True)
    log.setLevel(level.upper())
    # The pool reports each failed connection attempt; imagegen says once that the database is away.
    logging.getLogger("psycopg.pool").setLevel(logging.CRITICAL)
    sys.excepthook = _log_exception
    threading.excepthook = _log_thread_exception


def _log_exception(
    kind: type[BaseException], error: BaseException, trace: TracebackType | None
) -> None:
    log.critical("process.crashed", exc_info=(kind, error, trace))


def _log_thread_exception(args: threading.ExceptHookArgs) -> None:
    if args.exc_value is not None:
        _log_exception(args.exc_type, args.exc_value, args.exc_traceback)


def flush() -> None:
    """To be called before a process ends without Python's own way out."""
    for handler in logging.getLogger().handlers:
        with suppress(OSError, ValueError):  # whoever read it is gone
            handler.flush()
