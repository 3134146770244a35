"""What the doctor makes of a model, of this host, and of checks that break or hang."""

import json
import os
import re
import resource
import shutil
import subprocess
import tempfile
import threading
import time
from email.utils import formatdate
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from imagegen.doctor import Finding, Level, examination, examine, host
from imagegen.doctor.findings import Findings, ok
from imagegen.doctor.model import check_model, judge, parse_inputs
from imagegen.doctor.provider import check_provider
from imagegen.settings import Settings, load
from tests.unit.canned import canned, with_body

# As Replicate describes an input with choices.
SCHEMA = {
    "components": {
        "schemas": {
            "Input": {
                "type": "object",
                "required": ["prompt", "style"],
                "properties": {
                    "prompt": {"type": "string", "title": "Prompt"},
                    "seed": {"type": "integer", "title": "Seed", "nullable": True},
                    "small_seed": {"type": "integer", "minimum": 0, "maximum": 65535},
                    "style": {"allOf": [{"$ref": "#/components/schemas/style"}], "default": "oil"},
                    "guidance": {"type": "number", "minimum": 0, "maximum": 10},
                    "go_fast": {"type": "boolean"},
                },
            },
            "style": {"enum": ["oil", "ink"], "type": "string", "title": "style"},
        }
    }
}
FITTING = {"style": "ink", "guidance": 3, "go_fast": True}


def settings(**environment: str) -> Settings:
    required = {"DATABASE_URL": "postgresql://host/db", "REPLICATE_API_TOKEN": "token"}
    return load(required | environment, {})


def levels(findings: Findings) -> list[tuple[Level, str]]:
    return [(finding.level, finding.check) for finding in findings]


def problems(model_input: dict[str, Any], marker: str | None = "seed") -> list[str]:
    inputs = parse_inputs(SCHEMA)
    assert inputs is not None
    return [each.said for each in judge(inputs, model_input, marker) if each.level is Level.WRONG]


# The model's inputs.


@pytest.mark.parametrize("marker", ["seed", None])
def test_inputs_that_fit_are_named(marker: str | None) -> None:
    assert problems(FITTING, marker) == []


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"colour": "red"}, "the model has no input colour"),
        ({"style": "wood"}, "style must be one of oil, ink, not 'wood'"),
        ({"guidance": 11}, "guidance must be at most 10, not 11"),
        ({"guidance": -1}, "guidance must be at least 0, not -1"),
        ({"guidance": "much"}, "guidance must be a value of type number, not 'much'"),
        ({"guidance": True}, "guidance must be a value of type number, not True"),
        ({"go_fast": 1}, "go_fast must be a value of type boolean, not 1"),
    ],
)
def test_an_input_that_does_not_fit_is_told_with_what_it_must_be(
    change: dict[str, Any], told: str
) -> None:
    assert problems(FITTING | change) == [told]


@pytest.mark.parametrize(
    ("marker", "told"),
    [
        ("noise", "the model has no input noise to know a prediction by"),
        ("go_fast", "go_fast must be a value of type boolean, but imagegen puts numbers up to"),
        ("small_seed", "small_seed must be at most 65535, but imagegen puts numbers up to"),
    ],
)
def test_a_marker_that_cannot_hold_a_seed_is_told(marker: str, told: str) -> None:
    (problem,) = problems(FITTING, marker)

    assert problem.startswith(told)


def test_an_input_that_the_model_cannot_do_without_is_told() -> None:
    assert problems({}) == ["the model needs style"]


def test_a_model_that_takes_no_prompt_is_told() -> None:
    inputs = parse_inputs(
        {"components": {"schemas": {"Input": {"properties": {"image": {"type": "string"}}}}}}
    )
    assert inputs is not None

    (found,) = judge(inputs, {}, None)

    assert found.said == "the model has no input prompt"


@pytest.mark.parametrize("schema", [None, [], {}, {"components": {"schemas": {"Input": 1}}}])
def test_a_schema_without_inputs_is_none(schema: object) -> None:
    assert parse_inputs(schema) is None


# Replicate's clock.


def test_a_host_whose_clock_differs_from_replicates_is_told() -> None:
    date = formatdate(time.time() - 600, usegmt=True)
    body = json.dumps({"username": "somebody"}).encode()
    with canned(with_body(body, 200, f"date: {date}")) as server:
        *_, credentials, clock = check_provider(settings(REPLICATE_BASE_URL=server.url))

    assert credentials.level is Level.OK
    assert clock.level is Level.WARNING
    assert re.fullmatch("this host's clock is 60[0-9] s ahead of Replicate's", clock.said)
    assert clock.mend == "set the clocks by NTP: timedatectl set-ntp true"


# The model's version.


def answered(answer: tuple[int, object], model: str) -> list[Finding]:
    status, body = answer
    with canned(with_body(json.dumps(body).encode(), status)) as server:
        found = check_model(settings(REPLICATE_BASE_URL=server.url, REPLICATE_MODEL_VERSION=model))
        return list(found)


@pytest.mark.parametrize(
    ("answer", "model", "told"),
    [
        ((404, {}), "a/b", (Level.WRONG, "Replicate knows no model a/b")),
        ((401, {}), "a/b", (Level.WARNING, "not checked: HTTP 401")),
        ((200, {}), "f" * 64, (Level.WARNING, "not checked: Replicate tells nothing of a")),
        ((200, {"is_official": False}), "a/b", (Level.WRONG, "a/b is no official model: it")),
        ((200, {"is_official": True}), "a/b", (Level.OK, "a/b is there")),
        ((200, {}), f"a/b:{'f' * 64}", (Level.OK, "a/b:ffff")),
    ],
)
def test_what_replicate_says_of_a_model_is_told(
    answer: tuple[int, object], model: str, told: tuple[Level, str]
) -> None:
    first = answered(answer, model)[0]

    assert (first.level, first.check, first.said[: len(told[1])]) == (told[0], "model", told[1])


# This host.


def test_too_low_a_limit_of_open_files_is_told_with_the_mend(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda _: (64, 64))

    (found,) = host.check_open_files(settings(WORKER_BATCH_SIZE="20"))

    assert found.level is Level.WRONG
    assert found.said == "a process may open 64 files, a worker of 20 slots needs 100"
    assert found.mend == "ulimit -n 100, or LimitNOFILE=100 in the service"


@pytest.mark.parametrize(
    ("free", "level"), [(2**30, Level.OK), (2**29, Level.WARNING), (2**20, Level.WRONG)]
)
def test_a_folder_for_images_that_fills_up_is_told(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, free: int, level: Level
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=free))

    (found,) = host.check_images_folder(settings(IMAGEGEN_KEEP_IMAGES=str(tmp_path)))

    assert found.level is level


def test_a_folder_for_images_that_has_gone_is_told(tmp_path: Path) -> None:
    given = settings(IMAGEGEN_KEEP_IMAGES=str(tmp_path))
    tmp_path.rmdir()

    (found,) = host.check_images_folder(given)

    assert found.said == f"{tmp_path} cannot be written to: No such file or directory"


def test_no_room_for_the_metrics_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=2**20))

    (found,) = host.check_temporary_folder(settings())

    assert found.level is Level.WRONG
    assert found.said.endswith(" has 1 MB left, the metrics need 4 MB")


def test_a_host_without_any_temporary_folder_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    def none() -> str:
        raise FileNotFoundError

    monkeypatch.setattr(tempfile, "gettempdir", none)

    (found,) = host.check_temporary_folder(settings())

    assert found.level is Level.WRONG
    assert levels(host.check_leftovers(settings())) == [(Level.OK, "leftovers")]


@pytest.mark.parametrize(
    ("parent", "is_left"), [("    1\n", True), (" 4711\n", False), ("", False)]
)
def test_a_server_whose_demo_was_killed_is_told_with_its_pid(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, parent: str, is_left: bool
) -> None:
    pid, left = os.getpid(), tmp_path / "imagegen-postgres-abc"  # any process that lives
    (left / "data").mkdir(parents=True)
    (left / "data" / "postmaster.pid").write_text(f"{pid}\n/data\n")
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: SimpleNamespace(stdout=parent))

    (found,) = host.check_leftovers(settings())

    assert found.mend == (f"kill -INT {pid} && rm -r {left}" if is_left else None)


def test_a_fallback_prompt_of_a_word_is_told() -> None:
    found = list(host.check_prompts(settings(FALLBACK_CENSORED_PROMPT="art")))

    assert found[0].level is Level.WARNING


# Checks that break or hang.


def only(monkeypatch: pytest.MonkeyPatch, *checks: examination.Check) -> list[Finding]:
    """What is found by these checks alone."""
    monkeypatch.setattr(examination, "CHECKS", checks)
    environment = {"DATABASE_URL": "postgresql://host/db", "REPLICATE_API_TOKEN": "canary"}
    return list(examine(environment, {}))[1:]


def breaks(_: Settings) -> Findings:
    yield ok("first", "well")
    raise RuntimeError("of canary and others")


def test_a_check_that_breaks_is_a_finding_and_tells_no_secret(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    first, broken, last = only(
        monkeypatch,
        examination.Check("broken", breaks),
        examination.Check("last", host.check_time_zone),
    )

    assert (first.check, broken.check, last.check) == ("first", "broken", "time zone")
    assert broken.level is Level.WRONG
    assert broken.said == "the check broke: RuntimeError: of [hidden] and others"


def test_a_check_that_hangs_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    released = threading.Event()

    def hangs(_: Settings) -> Findings:
        yield ok("first", "well")
        released.wait()

    monkeypatch.setattr(examination, "CHECK_SECONDS", 0.1)
    first, hanging, last = only(
        monkeypatch,
        examination.Check("hanging", hangs),
        examination.Check("last", host.check_time_zone),
    )
    released.set()

    assert (first.check, hanging.check, last.check) == ("first", "hanging", "time zone")
    assert hanging.said == "no end of the check after 0 s"
