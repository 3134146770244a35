"""The real `imagegen supervise` as a process of the demo, and the refusals in its log."""

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
# The shell's settings that --live uses: the account, and the model with its inputs.
LIVE_SETTINGS = [
    "replicate_api_token", "replicate_base_url", "model", "model_input", "marker_input"
]  # fmt: skip
# Only --live uses them. The sandbox has no TLS, so a mistake in them must not stop the demo.
TLS_VARIABLES = ("SSL_CERT_FILE", "SSL_CERT_DIR", "HTTPS_PROXY", "https_proxy")


class SuperviseProcess:
    """Runs `imagegen supervise` as a child that dies with this process, with its log in a file."""

    def __init__(self, environment: Mapping[str, str], log_file: Path) -> None:
        self._log_file = log_file
        with log_file.open("wb") as log:
            self._process = subprocess.Popen(  # noqa: S603 (our own program)
                [sys.executable, "-m", "imagegen", "supervise", "--procs", str(PROCS)],
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
        """Return why nothing new is requested of Replicate now; None while requests are sent."""
        return newest_refusal(self._log())

    def _log(self) -> list[str]:
        return self._log_file.read_text(errors="replace").splitlines()


def newest_refusal(log: list[str]) -> str | None:
    """Return from a log why the gate that closed last is closed; None if all gates are open."""
    closed: dict[str, str] = {}  # by worker; the last entry is of the gate that closed last
    for line in log:
        if '"gate.' not in line:
            continue
        try:
            fields = json.loads(line)
        except ValueError:  # the last line is still being written
            continue
        closed.pop(fields["worker"], None)
        if fields["event"] == "gate.closed":
            reason = [fields["reason"], fields.get("error")]
            closed[fields["worker"]] = ": ".join(part for part in reason if part)
    return next(reversed(closed.values()), None)


def live_settings(environment: Mapping[str, str]) -> dict[str, str]:
    """Return the variables that --live uses, of those that are set."""
    live = [spec for spec in all_settings() if spec.name in LIVE_SETTINGS]
    names = {name for spec in live for name in (spec.variable, spec.file_variable)}
    names |= set(TLS_VARIABLES)
    return {name: value for name, value in environment.items() if value and name in names}


def without_settings(environment: Mapping[str, str]) -> dict[str, str]:
    """Return the shell's environment without settings, which may be production's.

    Their limits would slow the demo down, and its images would go into their folder.
    """
    of_settings = [name for spec in all_settings() for name in (spec.variable, spec.file_variable)]
    excluded = {*TLS_VARIABLES, *of_settings}
    return {name: value for name, value in environment.items() if name not in excluded}
