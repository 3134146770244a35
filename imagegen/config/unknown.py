"""Finds environment variables that are named like settings but are none."""

import re
from difflib import get_close_matches

from imagegen.config.settings import all_settings
from imagegen.config.spec import Environment

PREFIX = "IMAGEGEN_"
# Variables of tests and drills, and of a Kubernetes service or a Docker link named imagegen.
OTHER_VARIABLES = re.compile(
    r"CRASH_AT|DRILL_\w+|TEST_\w+|(\w+_)?SERVICE_(HOST|PORT(_\w+)?)|(\w+_)?PORT_\d+_\w+"
)
LINK_URL = re.compile(r"(tcp|udp|sctp)://")  # the value of IMAGEGEN_PORT that these set


def unknown_variables(environment: Environment) -> list[str]:
    """Return a line for each variable that is named like a setting but is none."""
    known = {spec.variable for spec in all_settings()}
    known |= {spec.file_variable for spec in all_settings() if spec.file_variable}
    return [
        f"{variable} is no setting: {_suggestion(variable)}"
        for variable, text in sorted(environment.items())
        if variable.startswith(PREFIX) and text and variable not in known
        if not OTHER_VARIABLES.fullmatch(variable.removeprefix(PREFIX)) and not LINK_URL.match(text)
    ]


def _suggestion(variable: str) -> str:
    """Return the end of the message about an unknown variable.

    The names of options are candidates too: --slots is the option of WORKER_BATCH_SIZE, so
    IMAGEGEN_SLOTS means that.
    """
    names: dict[str, str] = {}
    for spec in all_settings():
        option = spec.option.removeprefix("--").replace("-", "_").upper()
        names |= {spec.variable.removeprefix(PREFIX): spec.variable, option: spec.variable}
    near = get_close_matches(variable.removeprefix(PREFIX).upper(), names, n=1)
    return f"did you mean {names[near[0]]}?" if near else "see `imagegen config`"
