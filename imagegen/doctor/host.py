"""This host: ports, folders, limits, and what a killed program left."""

import contextlib
import os
import resource
import shutil
import socket
import subprocess
import tempfile
import time
from datetime import datetime
from pathlib import Path

from imagegen.doctor.findings import Findings, ok, warning, wrong
from imagegen.settings import Settings
from imagegen.status import NoSupervisorError, read_workers

MEGABYTE = 1024 * 1024
GIGABYTE = 1024 * MEGABYTE
# Each process maps a handful of files of 64 KiB, which double as they fill. Where the disk is full
# then, the kernel ends the process.
METRICS_BYTES_PER_PROCESS = MEGABYTE
# The supervisor and the exporter.
OTHER_PROCESSES = 2
# An image is some 100 kB to 2 MB: room for a first few hundred, and for a few.
IMAGES_BYTES = GIGABYTE
IMAGES_LEAST_BYTES = 50 * MEGABYTE
# A slot has a connection to Replicate, one for the copy of its image, and the file of that.
FILES_PER_SLOT = 3
# Of a worker besides: the pool, the listener, pipes, metrics, logs.
OTHER_FILES = 40
EMBEDDED_FOLDERS = "imagegen-postgres-*"
# An embedded PostgreSQL takes about a second to start.
STARTED_SECONDS = 60.0
PS_SECONDS = 5.0
# A picture wants to be told about in more than a word or two.
FEWEST_WORDS = 3


def check_prompts(settings: Settings) -> Findings:
    """What is sent where an author's own prompt cannot be."""
    if len(settings.fallback_prompt.split()) < FEWEST_WORDS:
        yield warning(
            "prompts",
            f"FALLBACK_CENSORED_PROMPT says little: {settings.fallback_prompt!r}",
            "export FALLBACK_CENSORED_PROMPT='…', a description of a harmless picture",
        )
    else:
        yield ok("prompts", f"a refused prompt is replaced: {settings.fallback_prompt!r}")
    if settings.default_prompt is None:
        yield ok(
            "prompts", "a token of an author without a prompt fails (DEFAULT_PROMPT is not set)"
        )


def check_metrics_port(settings: Settings) -> Findings:
    """Whether a supervisor may listen there, or does."""
    host, port = settings.metrics_host, settings.metrics_port
    where = f"{host}:{port}"
    try:
        family, kind, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, kind) as listening:
            # As the supervisor does, which need not wait for the last one's connections to fade.
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listening.bind(address)
    except OSError as error:
        try:
            workers = read_workers(host, port)
        except NoSupervisorError:
            mend = "choose another --metrics-port (0 takes a free one) or --metrics-host"
            yield wrong("metrics", f"cannot be served on {where}: {error.strerror}", mend)
        else:
            yield ok("metrics", f"a supervisor serves them on {where}, with {len(workers)} workers")
    else:
        yield ok("metrics", f"{where} is free" if port else "a free port is taken at each start")


def check_temporary_folder(settings: Settings) -> Findings:
    """Where the supervisor keeps its counts."""
    mend = "export TMPDIR=…, a folder that can be written to"
    given, folder = os.environ.get("TMPDIR"), _temporary_folder()
    if folder is None:
        yield wrong("tmpdir", "no folder for temporary files can be written to", mend)
        return
    if given and not (Path(given).is_dir() and folder.samefile(given)):
        yield wrong("tmpdir", f"TMPDIR, {given}, cannot be written to: {folder} is used", mend)
        return
    free = shutil.disk_usage(folder).free
    needed = METRICS_BYTES_PER_PROCESS * (settings.procs + OTHER_PROCESSES)
    if free < needed:
        said = f"{folder} has {_told_bytes(free)} left, the metrics need {_told_bytes(needed)}"
        yield wrong("tmpdir", said, f"make room in {folder}, or set TMPDIR")
    else:
        yield ok("tmpdir", f"{folder} can be written to, {_told_bytes(free)} are free")


def check_images_folder(settings: Settings) -> Findings:
    """Where copies of the images go."""
    folder = settings.keep_images
    if folder is None:
        yield ok("images", "no copies are kept (IMAGEGEN_KEEP_IMAGES is not set)")
        return
    try:
        tempfile.TemporaryFile(dir=folder).close()
        free = shutil.disk_usage(folder).free
    except OSError as error:
        mend = f"let this user write to it: chown {os.geteuid()} {folder}"
        yield wrong("images", f"{folder} cannot be written to: {error.strerror}", mend)
        return
    said, mend = f"{folder} has {_told_bytes(free)} left", f"make room in {folder}"
    if free < IMAGES_LEAST_BYTES:
        yield wrong("images", said, mend)
    elif free < IMAGES_BYTES:
        yield warning("images", said, mend)
    else:
        yield ok("images", said)


def check_open_files(settings: Settings) -> Findings:
    """The limit of this shell; a service has its own."""
    limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    needed = OTHER_FILES + FILES_PER_SLOT * settings.slots
    said = f"a process may open {limit} files, a worker of {settings.slots} slots needs {needed}"
    if limit != resource.RLIM_INFINITY and limit < needed:
        mend = f"ulimit -n {needed}, or LimitNOFILE={needed} in the service"
        yield wrong("files", said, mend)
    else:
        yield ok("files", said)


def check_leftovers(settings: Settings) -> Findings:
    """Folders and servers of an `imagegen demo` that was killed."""
    found = list(_leftovers())
    yield from found
    if not found:
        yield ok("leftovers", "no imagegen demo has left anything behind")


def _leftovers() -> Findings:
    folder = _temporary_folder()
    for left in sorted(folder.glob(EMBEDDED_FOLDERS)) if folder else []:
        with contextlib.suppress(OSError):  # somebody else's, or gone meanwhile
            pid = _server_in(left)
            if pid is None and time.time() - left.stat().st_mtime > STARTED_SECONDS:
                yield warning("leftovers", f"{left} is of a killed imagegen demo", f"rm -r {left}")
            elif pid is not None and _is_orphan(pid):
                said = f"PostgreSQL, pid {pid}, runs in {left} without its imagegen demo"
                yield warning("leftovers", said, f"kill -INT {pid} && rm -r {left}")


def _server_in(folder: Path) -> int | None:
    """The pid of the PostgreSQL that lives on the folder's data."""
    pid_file = folder / "data" / "postmaster.pid"
    if not pid_file.exists():
        return None
    pid = int(pid_file.read_text().split()[0])
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return None
    except PermissionError:
        pass  # it lives, as another user
    return pid


def _is_orphan(pid: int) -> bool:
    command = ["ps", "-o", "ppid=", "-p", str(pid)]
    asked = subprocess.run(  # noqa: S603 (a number is all that varies)
        command, capture_output=True, text=True, check=False, timeout=PS_SECONDS
    )
    return asked.stdout.strip() == "1"


def check_time_zone(settings: Settings) -> Findings:
    """It is of no account, and asked about again and again."""
    zone = datetime.now().astimezone().tzname()
    yield ok("time zone", f"this host's is {zone}, which changes nothing: imagegen computes in UTC")


def _temporary_folder() -> Path | None:
    """None where none can be written to."""
    try:
        return Path(tempfile.gettempdir())
    except FileNotFoundError:
        return None


def _told_bytes(count: int) -> str:
    return f"{count / GIGABYTE:.1f} GB" if count >= GIGABYTE else f"{count / MEGABYTE:.0f} MB"
