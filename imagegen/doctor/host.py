"""Checks of this host: prompts, ports, folders, limits."""

import os
import resource
import shutil
import tempfile
from contextlib import closing
from datetime import datetime
from http.client import HTTPConnection, HTTPException
from pathlib import Path

from imagegen import owned_folders
from imagegen.config import S3Location, Settings, s3_client
from imagegen.doctor.report import Findings, ok, warning, wrong
from imagegen.errors import CannotStartError
from imagegen.operator.status import NoSupervisorError, read_workers
from imagegen.text import plural
from imagegen.web import listen

MEGABYTE = 1024 * 1024
GIGABYTE = 1024 * MEGABYTE
# An image has 100 kB to 2 MB: room for several hundred, and for at least a few.
IMAGES_BYTES = GIGABYTE
IMAGES_LEAST_BYTES = 50 * MEGABYTE
# In a slot: a connection to Replicate, one that fetches an image, and the file of the copy.
FILES_PER_SLOT = 3
# In a worker without its slots: the pool, the listener, pipes, metrics, logs.
OTHER_FILES = 40
ANSWER_SECONDS = 5.0
FORBIDDEN = 403
# One or two words do not describe an image.
FEWEST_WORDS = 3


def check_prompts(settings: Settings) -> Findings:
    """Check the prompts that are sent instead of an author's own."""
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
    """Check that a supervisor listens on the port, or could."""
    host, port = settings.metrics_host, settings.metrics_port
    address = f"{host}:{port}"
    try:
        listen(host, port).close()
    except CannotStartError as error:
        try:
            workers = len(read_workers(host, port))
        except (NoSupervisorError, UnicodeError):  # the latter: the host's name is not valid
            yield wrong("metrics", error.message, error.fix)
        else:
            message = f"a supervisor serves them on {address}, with {plural(workers, 'worker')}"
            yield ok("metrics", message)
    else:
        yield ok("metrics", f"{address} is free" if port else "a free port is taken at each start")


def check_temporary_folder(settings: Settings) -> Findings:
    """Check the folder for temporary files. Only `imagegen demo` needs it."""
    fix = "export TMPDIR=…, a folder that can be written to"
    given, folder = os.environ.get("TMPDIR"), _temporary_folder()
    if folder is None:
        message = "no folder for temporary files can be written to: there can be no demo"
        yield warning("tmpdir", message, fix)
    elif given and not (Path(given).is_dir() and folder.samefile(given)):
        yield wrong("tmpdir", f"TMPDIR, {given}, cannot be written to: {folder} is used", fix)
    else:
        free = shutil.disk_usage(folder).free
        yield ok("tmpdir", f"{folder} can be written to, {_size(free)} are free")


def check_images_folder(settings: Settings) -> Findings:
    """Check the folder or bucket for copies of the images, if copies are kept."""
    folder = settings.keep_images
    if folder is None:
        yield ok("images", "no copies are kept (IMAGEGEN_KEEP_IMAGES is not set)")
        return
    if isinstance(folder, S3Location):
        yield from _check_bucket(folder)
        return
    try:
        tempfile.TemporaryFile(dir=folder).close()
        free = shutil.disk_usage(folder).free
    except OSError as error:
        fix = f"let this user write to it: chown {os.geteuid()} {folder}"
        yield wrong("images", f"{folder} cannot be written to: {error.strerror}", fix)
        return
    message, fix = f"{folder} has {_size(free)} left", f"make room in {folder}"
    if free < IMAGES_LEAST_BYTES:
        yield wrong("images", message, fix)
    elif free < IMAGES_BYTES:
        yield warning("images", message, fix)
    else:
        yield ok("images", message)


def check_images_port(settings: Settings) -> Findings:
    """Check that a supervisor serves the copies on their own port, or could, if one is set."""
    host, port = settings.images_host, settings.images_port
    if port is None:
        return
    address = f"{host}:{port}"
    try:
        listen(host, port, "images").close()
    except CannotStartError as error:
        if _serves_images(host, port):
            yield ok("images port", f"a supervisor serves copies on {address}")
        else:
            yield wrong("images port", error.message, error.fix)
    else:
        yield ok("images port", f"{address} is free" if port else "a free one at each start")


def _serves_images(host: str, port: int) -> bool:
    try:
        with closing(HTTPConnection(host, port, timeout=ANSWER_SECONDS)) as connection:
            connection.request("HEAD", "/images/")
            return connection.getresponse().headers["Server"] == "imagegen"
    except (OSError, HTTPException, UnicodeError):  # the latter: the host's name is not valid
        return False


def _check_bucket(location: S3Location) -> Findings:
    """Check that the bucket is there. It is not checked whether objects may be written to it."""
    from botocore.exceptions import BotoCoreError, ClientError  # noqa: PLC0415 (may be missing)

    try:
        s3_client(ANSWER_SECONDS, ANSWER_SECONDS).head_bucket(Bucket=location.bucket)
    except ClientError as error:
        status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode")
        if status == FORBIDDEN:
            may = "let this role list the bucket (s3:ListBucket), so that it can be checked"
            yield warning("images", f"{location} cannot be checked: access is denied (403)", may)
            return
        yield wrong("images", f"{location} cannot be used: {error}", f"make {location.bucket}")
    except (BotoCoreError, ValueError) as error:
        fix = "set AWS_ENDPOINT_URL, AWS_ACCESS_KEY_ID and so on, as for the AWS tools"
        yield wrong("images", f"{location} cannot be used: {error}", fix)
    else:
        yield ok("images", f"copies go to {location}, and its bucket answers")


def check_open_files(settings: Settings) -> Findings:
    """Check the limit of open files, which is this shell's: a service has its own."""
    limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    needed = OTHER_FILES + FILES_PER_SLOT * settings.slots
    message = f"a process may open {limit} files, a worker of {settings.slots} slots needs {needed}"
    if limit != resource.RLIM_INFINITY and limit < needed:
        fix = f"ulimit -n {needed}, or LimitNOFILE={needed} in the service"
        yield wrong("files", message, fix)
    else:
        yield ok("files", message)


def check_leftovers(settings: Settings) -> Findings:
    """Look for folders of killed demos. The next demo of the same user removes them."""
    parent = _temporary_folder()
    stale = list(owned_folders.stale(parent, owned_folders.EMBEDDED_POSTGRES)) if parent else []
    for folder in stale:
        yield warning("leftovers", f"{folder} is of a killed imagegen demo", f"rm -r {folder}")
    if not stale:
        yield ok("leftovers", "no imagegen demo has left anything behind")


def check_time_zone(settings: Settings) -> Findings:
    """Report the time zone, because operators ask about it: it changes nothing."""
    zone = datetime.now().astimezone().tzname()
    yield ok("time zone", f"this host's is {zone}, which changes nothing: imagegen computes in UTC")


def _temporary_folder() -> Path | None:
    """Return the folder for temporary files; None if none can be written to."""
    try:
        return Path(tempfile.gettempdir())
    except FileNotFoundError:
        return None


def _size(count: int) -> str:
    return f"{count / GIGABYTE:.1f} GB" if count >= GIGABYTE else f"{count / MEGABYTE:.0f} MB"
