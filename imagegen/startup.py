"""The first steps of a start: configure the logs, warn, and check the database."""

import os
from collections.abc import Iterable

from imagegen import database, logs
from imagegen.config import WITHOUT_MARKER, Settings, unknown_variables
from imagegen.database import EXPORTER_CONNECTIONS, WORKER_CONNECTIONS, preflight
from imagegen.errors import CannotStartError
from imagegen.logs import log

ASK_DOCTOR = "imagegen doctor looks for one in the model's inputs (IMAGEGEN_MARKER_INPUT)"


def prepare(settings: Settings, role: str, exposed: Iterable[str] = ()) -> None:
    """Configure the logs, warn, and check the database. `exposed`: a line for each secret that
    others can see. Raises CannotStartError or one of database.AWAY."""
    configure_logs(settings, role)
    _warn_of_unknown_variables()
    if settings.marker_input is None:
        log.warning("marker.none", extra={"drawback": WITHOUT_MARKER, "mend": ASK_DOCTOR})
    for line in exposed:
        log.warning("setting.exposed", extra={"error": line})
    workers, others = (1, 0) if role == "worker" else (settings.procs, EXPORTER_CONNECTIONS)
    _check_database(settings, workers * WORKER_CONNECTIONS + others)


def configure_logs(settings: Settings, role: str) -> None:
    logs.configure(settings.log_format, settings.log_level, settings.secrets, role)


def _warn_of_unknown_variables() -> None:
    for line in unknown_variables(os.environ):
        log.warning("setting.unknown", extra={"error": line})


def _check_database(settings: Settings, connections: int) -> None:
    """Log warnings about the database. Raises CannotStartError or one of database.AWAY."""
    with database.connect_bounded(
        settings.database_url, "imagegen", database.AnswerLimit()
    ) as connection:
        problems = preflight.problems(
            connection, settings.configured_prompts, connections=connections
        )
    for problem in problems:
        if not problem.prevents_start:
            match problem.check:
                case "encoding":
                    event = "database.encoding"
                case "connections":
                    event = "database.connections.few"
                case "indexes":
                    event = "database.indexes"
                case "columns":
                    event = "database.obstacle"
                case _:
                    event = "database.tables"
            log.warning(event, extra={"drawback": problem.message, "mend": problem.fix})
    fatal = [problem for problem in problems if problem.prevents_start]
    # Only problems of the first check: without privileges, for instance, no revision can be read.
    if first := [problem for problem in fatal if problem.check == fatal[0].check]:
        message = "; ".join(problem.message for problem in first)
        raise CannotStartError(message, " ".join(dict.fromkeys(each.fix for each in first)))
