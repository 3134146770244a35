"""Every check, each in its own time: what is wrong or hangs does not stop the others."""

import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from imagegen.config import Problem, Settings, all_settings, read, secrets_in, unknown_variables
from imagegen.doctor import host, replicate
from imagegen.doctor.database import check_database
from imagegen.doctor.leftovers import check_leftovers
from imagegen.doctor.model import check_model
from imagegen.doctor.report import Finding, Findings, ok, warning, wrong
from imagegen.redaction import Redactor

# Connecting gives up after 5 s and a statement after 10 s: this is for what has no end of its own,
# as a look-up of a name.
CHECK_SECONDS = 20.0


@dataclass(frozen=True)
class Check:
    name: str
    run: Callable[[Settings], Findings]
    needs: tuple[str, ...] = ()  # settings without which it cannot be made


MODEL = ("replicate_base_url", "replicate_api_token", "model", "model_input", "marker_input")
CHECKS = (
    Check("certificates", replicate.check_certificates),
    Check("database", check_database, ("database_url",)),
    Check("replicate", replicate.check_provider, ("replicate_base_url", "replicate_api_token")),
    Check("model", check_model, MODEL),
    Check("prompts", host.check_prompts, ("fallback_prompt", "default_prompt")),
    Check("metrics", host.check_metrics_port, ("metrics_host", "metrics_port")),
    Check("tmpdir", host.check_temporary_folder, ("procs",)),
    Check("images", host.check_images_folder, ("keep_images",)),
    Check("files", host.check_open_files, ("slots",)),
    Check("leftovers", check_leftovers),
    Check("time zone", host.check_time_zone),
)


def examine(
    environment: Mapping[str, str],
    options: Mapping[str, str | None],
    waits_for: Callable[[str], None] = lambda check: None,
) -> Findings:
    """Everything that there is to find, without a secret in it; takes 20 s at most. `waits_for`
    is told of each check that has not ended when it is its turn."""
    values, problems = read(environment, options)
    redact = Redactor(secrets_in(values))
    found = _examine(values, problems, unknown_variables(environment), waits_for)
    for finding in found:
        yield replace(
            finding, said=redact(finding.said), mend=finding.mend and redact(finding.mend)
        )


def _examine(
    values: dict[str, Any],
    problems: list[Problem],
    unknown: list[str],
    waits_for: Callable[[str], None],
) -> Findings:
    unusable = {problem.name: problem.source for problem in problems}
    for problem in problems:
        source = problem.source
        mend = f"give another {source}" if source.startswith("--") else f"export {source}=…"
        yield wrong("settings", str(problem), mend)
    if not unusable:
        yield ok("settings", "each one is set, or has a default, and is as it must be")
    for line in unknown:
        yield warning("settings", line)
    # No check that is made needs these.
    unneeded = {spec.name: spec.placeholder for spec in all_settings() if spec.name in unusable}
    settings = Settings(**values | unneeded)
    running = [_Running(check, settings) for check in CHECKS if not unusable.keys() & check.needs]
    deadline = time.monotonic() + CHECK_SECONDS
    for each in running:
        if each.is_alive():
            waits_for(each.name)
        yield from each.findings(deadline)
    for check in CHECKS:
        if lacks := [unusable[name] for name in check.needs if name in unusable]:
            yield warning(check.name, f"not checked without {' and '.join(lacks)}")


class _Running(threading.Thread):
    """A check under way. One that hangs ends with the program."""

    def __init__(self, check: Check, settings: Settings) -> None:
        super().__init__(name=check.name, daemon=True)
        self._check = check
        self._settings = settings
        self._found: list[Finding] = []
        self.start()

    def run(self) -> None:
        try:
            for finding in self._check.run(self._settings):
                self._found.append(finding)
        except Exception as error:  # noqa: BLE001
            # The outermost handler of a check: that it breaks is a finding like any other.
            said = f"the check broke: {type(error).__name__}: {error}"
            self._found.append(wrong(self._check.name, said, "report this as a bug of imagegen"))

    def findings(self, deadline: float) -> Findings:
        """What it has found by then (monotonic)."""
        self.join(max(deadline - time.monotonic(), 0.0))
        yield from list(self._found)
        if self.is_alive():
            said = f"no end of the check after {CHECK_SECONDS:.0f} s"
            yield wrong(self._check.name, said, "look for what hangs: name server, network, disk")
