"""Log lines: JSON objects for machines, text for a terminal, neither with a secret."""

import copy
import logging
import re
import sys
import threading
import time
from collections.abc import Iterable
from contextlib import suppress
from typing import Any

from pythonjsonlogger.json import JsonFormatter

from imagegen.redaction import Redactor

log = logging.getLogger("imagegen")

# The attributes of every log record. Others are fields given with `extra`.
STANDARD_ATTRIBUTES = set(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}
# An event of imagegen, such as generation.failed. It holds no secret.
EVENT = re.compile(r"[a-z_]+(\.[a-z_]+)+")


class _Redacting(logging.Formatter):
    """Formats a copy of each record whose message, fields and traceback hold no secret."""

    def __init__(self, redact: Redactor, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._redact = redact

    def format(self, record: logging.LogRecord) -> str:
        message = record.getMessage()
        if not (record.name == log.name and EVENT.fullmatch(message)):
            message = self._redact(message)
        trace = self.formatException(record.exc_info) if record.exc_info else record.exc_text
        shown = copy.copy(record)
        shown.msg, shown.args, shown.levelname = message, (), record.levelname.lower()
        shown.exc_info, shown.exc_text = None, trace and self._redact(trace)
        shown.stack_info = record.stack_info and self._redact(record.stack_info)
        vars(shown).update({k: self._redacted(value) for k, value in _fields_of(record).items()})
        return super().format(shown)

    def _redacted(self, value: object) -> object:
        """Return a value as text without secrets. Numbers stay numbers."""
        match value:
            case None | bool() | int() | float():
                return value
            case dict():
                return {self._redact(str(k)): self._redacted(item) for k, item in value.items()}
            case list() | tuple() | set():
                return [self._redacted(item) for item in value]
            case _:
                return self._redact(str(value))


class JsonLines(_Redacting, JsonFormatter):
    """One JSON object a line: timestamp (UTC), level, worker, event, and the event's fields."""

    def __init__(self, redact: Redactor, worker: str) -> None:
        super().__init__(
            redact,
            # Fixes the order. The library fills in the timestamp and the worker.
            "%(timestamp)s %(levelname)s %(worker)s %(message)s",
            timestamp=True,
            static_fields={"worker": worker},
            rename_fields={"levelname": "level", "message": "event"},
            json_ensure_ascii=False,
        )


class TextLines(_Redacting):
    """Text for a person: time (UTC), worker, event, then `field=value`."""

    converter = staticmethod(time.gmtime)

    def __init__(self, redact: Redactor, worker: str) -> None:
        super().__init__(redact, f"%(asctime)s {worker:<10} %(message)s", "%H:%M:%S")

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 (logging's name)
        level = [f"[{record.levelname}]"] if record.levelno >= logging.WARNING else []
        fields = [f"{name}={_in_one_line(value)}" for name, value in _fields_of(record).items()]
        return " ".join([super().formatMessage(record), *level, *fields])

    def format(self, record: logging.LogRecord) -> str:
        return _printable(super().format(record))


def _fields_of(record: logging.LogRecord) -> dict[str, object]:
    return {name: value for name, value in vars(record).items() if name not in STANDARD_ATTRIBUTES}


def _in_one_line(value: object) -> str:
    """Return a field's value without line breaks, in quotes if it has spaces."""
    text = str(value).replace("\n", "\\n")
    return f'"{text}"' if " " in text else text


def _printable(text: str) -> str:
    """Escape characters that control a terminal or reverse the direction of text."""
    return "".join(
        c if c.isprintable() or c == "\n" else c.encode("unicode_escape").decode() for c in text
    )


def configure(log_format: str, level: str, secrets: Iterable[str], worker: str) -> None:
    """Log to standard error as `worker`. The format is auto, json or text."""
    is_text = log_format == "text" or (log_format == "auto" and sys.stderr.isatty())
    formatter = TextLines if is_text else JsonLines
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(formatter(Redactor(secrets), worker))
    logging.basicConfig(level=logging.WARNING, handlers=[handler], force=True)
    log.setLevel(level.upper())
    # The pool logs every failed attempt to connect. imagegen logs `database.unavailable` once.
    logging.getLogger("psycopg.pool").setLevel(logging.CRITICAL)
    sys.excepthook = lambda kind, error, trace: _log_crash(error)
    threading.excepthook = lambda crash: _log_crash(crash.exc_value)


def _log_crash(error: BaseException | None) -> None:
    if error is not None:
        log.critical("process.crashed", exc_info=error)


def flush() -> None:
    """Write out all log lines, before a process ends by os._exit()."""
    for handler in logging.getLogger().handlers:
        with suppress(OSError, ValueError):  # the reader may have closed the pipe
            handler.flush()
