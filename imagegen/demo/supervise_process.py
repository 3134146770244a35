"""The real `imagegen supervise` as a process of the demo, and what its log says."""

import json
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from imagegen.config import all_settings
from imagegen.supervisor import dies_with_this_process

PROCS = 2
STOP_SECONDS = 30.0
LOG_TAIL_LINES = 15
# Of the shell's settings, all that --live takes over: the account, and the model with its inputs.
LIVE_SETTINGS = [
    "replicate_api_token", "replicate_base_url", "model", "model_input", "marker_input"
]  # fmt: skip
# What TLS trusts: the sandbox has no TLS, so a mistake in them does not concern the demo.
CERTIFICATES = ("SSL_CERT_FILE", "SSL_CERT_DIR")


class SuperviseProcess:
    """A child of this process, with which it dies. Its log goes into a file."""

    def __init__(self, environment: Mapping[str, str], log_file: Path) -> None:
        self._log_file = log_file
        command = [sys.executable, "-m", "imagegen", "supervise", "--procs", str(PROCS)]
        with log_file.open("wb") as log:
            self._process = subprocess.Popen(  # noqa: S603 (our own program)
                command,
                stdin=subprocess.DEVNULL,
                stderr=log,
                env=environment,
                preexec_fn=dies_with_this_process(signal.SIGTERM),  # noqa: PLW1509
            )

    @property
    def has_ended(self) -> bool:
        return self._process.poll() is not None

    def stop(self) -> None:
        self._process.terminate()
        try:
            self._process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def end_of_log(self) -> list[str]:
        return self._log()[-LOG_TAIL_LINES:]

    def refusal(self) -> str | None:
        """Why nothing new is requested of Replicate now; None while requests are sent."""
        return newest_refusal(self._log())

    def _log(self) -> list[str]:
        return self._log_file.read_text(errors="replace").splitlines()


def newest_refusal(log: list[str]) -> str | None:
    """Why the gate that closed last, by these lines of a log, is closed; None if all are open."""
    closed: dict[str, str] = {}  # by worker, in the order of their closing
    for line in log:
        if '"gate.' not in line:
            continue
        try:
            fields = json.loads(line)
        except ValueError:  # the last line is still being written
            continue
        closed.pop(fields["worker"], None)
        if fields["event"] == "gate.closed":
            why = [fields["reason"], fields.get("error")]
            closed[fields["worker"]] = ": ".join(part for part in why if part)
    return next(reversed(closed.values()), None)


def live_settings(environment: Mapping[str, str]) -> dict[str, str]:
    """The variables that --live takes over, as far as they are set."""
    variables = [spec.variable for spec in all_settings() if spec.name in LIVE_SETTINGS]
    names = [*variables, *CERTIFICATES]
    return {name: environment[name] for name in names if environment.get(name)}


def without_settings(environment: Mapping[str, str]) -> dict[str, str]:
    """The shell's environment without production's settings.

    Its limits would slow the demo down, and its folder for images would get the demo's.
    """
    excluded = {*CERTIFICATES, *(spec.variable for spec in all_settings())}
    return {name: value for name, value in environment.items() if name not in excluded}
