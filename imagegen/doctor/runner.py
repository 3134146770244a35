"""Runs all checks at the same time: one that fails or hangs does not stop the others."""

import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from itertools import chain
from typing import Any

from imagegen.config import Problem, Settings, all_settings, read, secrets_in, unknown_variables
from imagegen.doctor import host, replicate
from imagegen.doctor.costs import check_costs
from imagegen.doctor.database import check_database
from imagegen.doctor.model import check_model
from imagegen.doctor.report import Finding, Findings, ok, warning, wrong
from imagegen.redaction import Redactor

# Connecting ends after 5 s and a statement after 10 s. This limit is for steps without one, such as
# resolving a name.
CHECK_SECONDS = 20.0


@dataclass(frozen=True)
class Check:
    name: str
    run: Callable[[Settings], Findings]
    needs: tuple[str, ...] = ()  # the settings that it reads


MODEL = ("replicate_base_url", "replicate_api_token", "model", "model_input", "marker_input")
CHECKS = (
    Check("certificates", replicate.check_certificates),
    Check("database", check_database, ("database_url", "procs")),
    Check("replicate", replicate.check_replicate, ("replicate_base_url", "replicate_api_token")),
    Check("model", check_model, MODEL),
    Check("costs", check_costs, ("price", "model", "model_input", "cancel_after_seconds")),
    Check("prompts", host.check_prompts, ("fallback_prompt", "default_prompt")),
    Check("metrics", host.check_metrics_port, ("metrics_host", "metrics_port")),
    Check("tmpdir", host.check_temporary_folder),
    Check("images", host.check_images_folder, ("keep_images",)),
    Check("images port", host.check_images_port, ("images_host", "images_port")),
    Check("files", host.check_open_files, ("slots",)),
    Check("leftovers", host.check_leftovers),
    Check("time zone", host.check_time_zone),
)


def examine(
    environment: Mapping[str, str],
    options: Mapping[str, str | None],
    on_wait: Callable[[str], None] = lambda check: None,
) -> Findings:
    """Yield all findings, without secrets. Takes at most 20 s.

    Calls `on_wait` with the name of each check that has not ended when its findings are due.
    """
    values, problems = read(environment, options)
    redact = Redactor(secrets_in(values))
    of_settings = _judge_settings(problems, unknown_variables(environment))
    for finding in chain(of_settings, _run_checks(values, problems, on_wait)):
        fix = finding.fix and redact(finding.fix)
        yield replace(finding, message=redact(finding.message), fix=fix)


def _judge_settings(problems: list[Problem], unknown: list[str]) -> Findings:
    for problem in problems:
        source = problem.source
        fix = f"give another {source}" if source.startswith("--") else f"export {source}=…"
        yield wrong("settings", str(problem), fix)
    if not problems:
        yield ok("settings", "each one is set, or has a default, and is as it must be")
    for line in unknown:
        yield warning("settings", line)


def _run_checks(
    values: dict[str, Any], problems: list[Problem], on_wait: Callable[[str], None]
) -> Findings:
    """Start all checks whose settings are all usable; yield their findings check by check."""
    unusable = {problem.name: problem.source for problem in problems}
    # No check that runs reads these settings.
    unread = {spec.name: spec.placeholder for spec in all_settings() if spec.name in unusable}
    settings = Settings(**values | unread)
    deadline = time.monotonic() + CHECK_SECONDS
    running = [_start(check, settings) for check in CHECKS if not unusable.keys() & check.needs]
    for thread, found in running:
        if thread.is_alive():
            on_wait(thread.name)
        thread.join(max(deadline - time.monotonic(), 0.0))
        hangs = thread.is_alive()
        yield from list(found)
        if hangs:
            message = f"no end of the check after {CHECK_SECONDS:.0f} s"
            yield wrong(thread.name, message, "look for what hangs: name server, network, disk")
    for check in CHECKS:
        if missing := [unusable[name] for name in check.needs if name in unusable]:
            yield warning(check.name, f"not checked without {' and '.join(missing)}")


def _start(check: Check, settings: Settings) -> tuple[threading.Thread, list[Finding]]:
    """Run a check in a thread. Return the thread, and the list to which it adds its findings.

    The thread is a daemon, unlike an executor's, so that the program can end while a check hangs.
    """
    found: list[Finding] = []

    def run() -> None:
        try:
            for finding in check.run(settings):
                found.append(finding)
        except Exception as error:  # noqa: BLE001 (the outermost handler of a check)
            message = f"the check broke: {type(error).__name__}: {error}"
            found.append(wrong(check.name, message, "report this as a bug of imagegen"))

    thread = threading.Thread(target=run, name=check.name, daemon=True)
    thread.start()
    return thread, found
