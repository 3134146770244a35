"""Log lines: JSON objects for machines, text for a terminal, neither with a secret."""

import copy
import logging
import os
import re
import select
import signal
import socket
import stat
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

from pythonjsonlogger.json import JsonFormatter

from imagegen.redaction import Redactor

log = logging.getLogger("imagegen")

# The attributes of every log record. Others are fields given with `extra`.
STANDARD_ATTRIBUTES = set(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}
# An event of imagegen, such as generation.failed. It holds no secret.
EVENT = re.compile(r"[a-z_]+(\.[a-z_]+)+")


# The numbers of the levels for syslog and systemd's journal, in lines that begin with `<number>`.
PRIORITIES = {"DEBUG": 7, "INFO": 6, "WARNING": 4, "ERROR": 3, "CRITICAL": 2}
STDERR = 2


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
    # JSON is in UTF-8, whatever the locale is. A terminal shows what its encoding has.
    handler = Stderr(sys.stderr.encoding if is_text else "utf-8")
    handler.setFormatter(formatter(Redactor(secrets), worker))
    logging.basicConfig(level=logging.WARNING, handlers=[handler], force=True)
    log.setLevel(level.upper())
    # The pool logs every failed attempt to connect. imagegen logs `database.unavailable` once.
    logging.getLogger("psycopg.pool").setLevel(logging.CRITICAL)
    logging.getLogger("psycopg").addFilter(_is_news)
    sys.excepthook = lambda kind, error, trace: _log_crash(error)
    threading.excepthook = lambda crash: _log_crash(crash.exc_value)


def _is_news(record: logging.LogRecord) -> bool:
    """Return whether a line of psycopg's says something new: what it ignores at the end of a
    pipeline whose connection is lost follows from the error that it raises."""
    return not record.getMessage().startswith("error ignored")


def _log_crash(error: BaseException | None) -> None:
    if error is not None:
        log.critical("process.crashed", exc_info=error)


def count_dropped(count: Callable[[], None]) -> None:
    """Call `count` for each line from now on that could not be written."""
    for handler in logging.getLogger().handlers:
        if isinstance(handler, Stderr):
            handler.on_drop = count


# How long a line waits for a slow reader; and how long, after a line was dropped, none waits.
WAIT_SECONDS = 0.2
WAIT_AGAIN_SECONDS = 10.0


class Stderr(logging.Handler):
    """Writes lines to standard error, and drops them if it is not read or the disk is full.

    So the log never stops the work. When lines can be written again, the first one says how many
    are missing (`log.lines.dropped`).
    """

    def __init__(self, encoding: str) -> None:
        super().__init__()
        self.on_drop: Callable[[], None] = lambda: None
        self._encoding = encoding
        self._writes_to_journal = _is_journal(sys.stderr.fileno())
        self._resources = ExitStack()
        descriptor, self._write_some = _without_waiting(sys.stderr.fileno(), self._resources)
        self._poll = select.poll()
        self._poll.register(descriptor, select.POLLOUT)
        self._dropped = 0
        self._wait_again_at = 0.0  # monotonic
        self._is_mid_line = False

    def close(self) -> None:
        self._resources.close()
        super().close()

    def emit(self, record: logging.LogRecord) -> None:
        if self._dropped and self._write(self._report()):
            self._dropped = 0
        if self._dropped or not self._write(record):
            self._dropped += 1
            self._wait_again_at = time.monotonic() + WAIT_AGAIN_SECONDS
            self.on_drop()

    def _report(self) -> logging.LogRecord:
        fields = {"lines": self._dropped}
        event = "log.lines.dropped"
        return log.makeRecord(log.name, logging.WARNING, "", 0, event, (), None, extra=fields)

    def _write(self, record: logging.LogRecord) -> bool:
        """Write a line, and return whether it was written to its end."""
        try:
            text = self.format(record)
            if self._writes_to_journal:
                text = _with_priority(text, record.levelname)
            line = text.encode(self._encoding, "backslashreplace") + b"\n"
        except Exception:  # noqa: BLE001 (a field may be an object that fails)
            return False
        rest = b"\n" + line if self._is_mid_line else line
        length = len(rest)
        now = time.monotonic()
        deadline = now + (WAIT_SECONDS if now >= self._wait_again_at else 0.0)
        try:
            while rest:
                written = self._write_some(rest)
                rest = rest[written:]
                if not written:
                    remaining_seconds = deadline - time.monotonic()
                    if remaining_seconds <= 0:
                        break
                    self._poll.poll(remaining_seconds * 1000)
        except OSError:  # the disk is full, the reader or the terminal is gone
            pass
        if len(rest) < length:
            self._is_mid_line = bool(rest)
        return not rest


def lines_for_stderr(text: str, level: str) -> str:
    """Return lines that are no log records, with their level if the journal will read them."""
    if not _is_journal(STDERR):
        return text
    return "\n".join(_with_priority(line, level) for line in text.splitlines())


def _with_priority(line: str, level: str) -> str:
    """Return the line with its level in front, which the journal reads and removes."""
    return f"<{PRIORITIES.get(level, 6)}>{line}"


def _is_journal(descriptor: int) -> bool:
    """Return whether systemd connected the descriptor to its journal, as systemd.exec(5) says."""
    stream = os.environ.get("JOURNAL_STREAM")
    if not stream:
        return False
    status = os.fstat(descriptor)
    return stream == f"{status.st_dev}:{status.st_ino}"


def _without_waiting(descriptor: int, resources: ExitStack) -> tuple[int, Callable[[bytes], int]]:
    """Return a descriptor of the same file, and a function that writes to it without waiting. The
    function returns the number of bytes written.

    The open file of standard error is shared with other programs, so its flags are not changed.
    """
    mode = os.fstat(descriptor).st_mode
    if stat.S_ISSOCK(mode):  # systemd's journal
        journal = resources.enter_context(socket.socket(fileno=os.dup(descriptor)))
        return journal.fileno(), lambda data: _sent(journal, data)
    if stat.S_ISREG(mode):
        return descriptor, lambda data: os.write(descriptor, data)
    try:
        # By this name Linux opens a pipe or a terminal once more, with flags of its own.
        own = os.open(f"/proc/self/fd/{descriptor}", os.O_WRONLY | os.O_NONBLOCK | os.O_NOCTTY)
    except OSError:  # it belongs to another user, or there is no such folder
        # PIPE_BUF bytes fit into a pipe that can be written to, unless another process is faster.
        return (
            descriptor,
            lambda data: (
                _written(descriptor, data[: select.PIPE_BUF]) if _is_writable(descriptor) else 0
            ),
        )
    resources.callback(os.close, own)
    return own, lambda data: _written(own, data)


def _is_writable(descriptor: int) -> bool:
    poll = select.poll()
    poll.register(descriptor, select.POLLOUT)
    return bool(poll.poll(0))


def _sent(journal: socket.socket, data: bytes) -> int:
    try:
        return journal.send(data, socket.MSG_DONTWAIT)
    except BlockingIOError:
        return 0


def _written(descriptor: int, data: bytes) -> int:
    with _in_the_background():
        try:
            return os.write(descriptor, data)
        except BlockingIOError:
            return 0


@contextmanager
def _in_the_background() -> Iterator[None]:
    """Allow this thread to write to a terminal from the background. With `stty tostop`, each write
    would send SIGTTOU, which stops a process, or removes a worker of a supervisor."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTTOU})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
