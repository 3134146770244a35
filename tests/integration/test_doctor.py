"""`imagegen doctor` checks everything, says what it does not check, and ends soon."""

import sys
import time
from contextlib import ExitStack
from urllib.parse import urlsplit

from tests.integration.test_demo import written_to_terminal
from tests.integration.test_doctor_mistakes import CANARY, a_socket, findings
from tests.support.pooler import through_pooler
from tests.support.processes import Site
from tests.support.sandbox import Fault, Sandbox

CHECKS = {
    "settings", "certificates", "database", "clock", "wake-up", "migrations", "permissions",
    "tables", "replicate", "credentials", "model", "inputs", "prompts", "metrics", "tmpdir",
    "images", "files", "leftovers", "time zone", "connections",
}  # fmt: skip


def test_where_all_is_well_every_check_says_so_and_a_pooler_is_a_hint(site: Site) -> None:
    found = findings(site, code=0)

    assert {finding["check"] for finding in found} == CHECKS
    hints = {finding["check"] for finding in found if finding["level"] != "ok"}
    assert hints == ({"wake-up"} if through_pooler() else set())


def test_a_pinned_version_is_found_and_its_inputs_are_judged(site: Site) -> None:
    model = f"black-forest-labs/flux-schnell:{'f' * 64}"
    site.settings["REPLICATE_MODEL_VERSION"] = model

    said = [each["said"] for each in findings(site, code=0) if each["check"] in {"model", "inputs"}]

    assert said == [f"{model} is there", "the model takes prompt, seed"]


def test_the_lines_for_a_person_end_with_a_count(site: Site) -> None:
    site.settings["REPLICATE_API_TOKEN"] = CANARY

    done = site.run("doctor")
    lines = done.stdout.splitlines()

    assert done.returncode == 1
    assert lines[0].startswith("ok       settings     ")
    at = lines.index("wrong    credentials  Replicate refuses the token (HTTP 401)")
    assert lines[at + 1].strip().startswith("put a valid token into REPLICATE_API_TOKEN")
    assert lines[-1].endswith(" wrong")
    assert CANARY not in done.stdout + done.stderr


def test_checks_that_need_a_missing_setting_are_reported_as_not_done(site: Site) -> None:
    site.settings |= {"DATABASE_URL": "", "REPLICATE_API_TOKEN": f"{CANARY} two words"}

    found = findings(site, code=1)

    warnings = {(each["check"], each["said"]) for each in found if each["level"] == "warning"}
    assert warnings == {
        ("database", "not checked without DATABASE_URL"),
        ("replicate", "not checked without REPLICATE_API_TOKEN"),
        ("model", "not checked without REPLICATE_API_TOKEN"),
    }
    assert [each["said"].split()[0] for each in found if each["level"] == "wrong"] == [
        "DATABASE_URL",
        "REPLICATE_API_TOKEN",
    ]


def test_on_a_terminal_it_shows_what_it_waits_for_and_takes_it_away_again(
    site: Site, sandbox: Sandbox
) -> None:
    sandbox.faults.add(Fault.late(1.0, operation="account"))

    command = [sys.executable, "-m", "imagegen", "doctor"]
    code, written = written_to_terminal(command, site.environment)

    assert code == 0
    assert "waiting for replicate" in written
    # What comes after a carriage return is written over what stood there.
    last = [line.rstrip("\r").rpartition("\r")[2] for line in written.split("\n")]
    assert not any("waiting" in line for line in last)


def test_a_running_supervisor_is_no_mistake(site: Site) -> None:
    with site.supervisor() as program:
        port = urlsplit(program.metrics_url()).port
        site.settings["IMAGEGEN_METRICS_PORT"] = str(port)
        found = findings(site, code=0)

    (metrics,) = [each["said"] for each in found if each["check"] == "metrics"]
    assert metrics == f"a supervisor serves them on 127.0.0.1:{port}, with 2 workers"


def test_it_ends_soon_where_nothing_gives_an_answer(site: Site, sandbox: Sandbox) -> None:
    sandbox.faults.add(Fault.black_hole(operation=None))
    with ExitStack() as stack:
        site.database_url = f"postgresql://me@127.0.0.1:{a_socket(stack, listens=True)}/db"
        began = time.monotonic()
        found = findings(site, code=1)

    assert time.monotonic() - began < 20
    wrong = {each["check"]: each["said"] for each in found if each["level"] == "wrong"}
    assert wrong.keys() == {"database", "credentials"}
    assert "timeout expired" in wrong["database"]


def test_the_folder_of_a_killed_demo_is_named(site: Site) -> None:
    left = site.folder / "imagegen-postgres-abc"
    left.mkdir()
    (left / "lock").touch()  # nobody holds it

    found = findings(site, code=0)

    (leftover,) = [each for each in found if each["check"] == "leftovers"]
    assert (leftover["level"], leftover["mend"]) == ("warning", f"rm -r {left}")
