"""What the doctor makes of a model, of the way to Replicate, and of checks that break or hang."""

import json
import re
import threading
import time
from collections.abc import Callable
from email.utils import formatdate
from typing import Any

import pytest

from imagegen.config.settings import Settings
from imagegen.doctor import Finding, Level, examine, host, runner
from imagegen.doctor.model import check_model, judge, parse_inputs
from imagegen.doctor.replicate import check_replicate
from imagegen.doctor.report import Findings, ok
from imagegen.replicate import Marker
from tests.support.canned_server import canned, with_body
from tests.support.settings import load

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
    return [
        each.message
        for each in judge(inputs, model_input, Marker.of_setting(marker))
        if each.level is Level.WRONG
    ]


# The model's inputs.


@pytest.mark.parametrize("marker", ["seed", None])
def test_inputs_that_fit_are_named(marker: str | None) -> None:
    assert problems(FITTING, marker) == []


@pytest.mark.parametrize(
    ("change", "message"),
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
def test_an_input_that_does_not_fit_is_reported_with_what_it_must_be(
    change: dict[str, Any], message: str
) -> None:
    assert problems(FITTING | change) == [message]


@pytest.mark.parametrize(
    ("marker", "message"),
    [
        ("noise", "the model has no input noise to know a prediction by"),
        ("go_fast", "go_fast must be a value of type boolean, but imagegen puts texts there"),
        ("go_fast:integer", "go_fast must be a value of type boolean, but imagegen puts numbers"),
        ("seed:text", "seed must be a value of type integer, but imagegen puts texts there"),
        ("small_seed", "small_seed must be at most 65535, but imagegen puts numbers up to"),
    ],
)
def test_a_marker_that_cannot_hold_a_seed_is_reported(marker: str, message: str) -> None:
    (problem,) = problems(FITTING, marker)

    assert problem.startswith(message)


@pytest.mark.parametrize(
    ("inputs", "proposed"),
    [
        ({"seed": {"type": "integer"}, "user_id": {"type": "string"}}, "seed"),
        ({"seed": {"type": "integer", "maximum": 9}, "user_id": {"type": "string"}}, "user_id"),
        ({"seed_value": {"type": "integer"}}, "seed_value:integer"),
        ({"user": {"type": "string"}}, "user"),
        ({"user": {"type": "string", "enum": ["me"]}}, None),
        ({"style": {"type": "string"}}, None),
    ],
)
def test_a_model_without_a_marker_is_warned_of_and_its_best_input_proposed(
    inputs: dict[str, Any], proposed: str | None
) -> None:
    properties = {"prompt": {"type": "string"}, **inputs}
    parsed = parse_inputs({"components": {"schemas": {"Input": {"properties": properties}}}})
    assert parsed is not None

    _, found = judge(parsed, {}, None)

    assert (found.level, found.check) == (Level.WARNING, "marker")
    assert "in rare cases an image is paid for twice" in found.message
    assert found.fix == (proposed and f"IMAGEGEN_MARKER_INPUT={proposed}")


def test_an_input_that_the_model_cannot_do_without_is_reported() -> None:
    assert problems({}) == ["the model needs style"]


def test_a_model_that_takes_no_prompt_is_reported() -> None:
    inputs = parse_inputs(
        {"components": {"schemas": {"Input": {"properties": {"image": {"type": "string"}}}}}}
    )
    assert inputs is not None

    (found,) = judge(inputs, {}, None)

    assert found.message == "the model has no input prompt"


@pytest.mark.parametrize("schema", [None, [], {}, {"components": {"schemas": {"Input": 1}}}])
def test_a_schema_without_inputs_is_none(schema: object) -> None:
    assert parse_inputs(schema) is None


# Replicate's clock.


def test_a_host_whose_clock_differs_from_replicates_is_reported() -> None:
    date = formatdate(time.time() - 600, usegmt=True)
    body = json.dumps({"username": "somebody"}).encode()
    with canned(with_body(body, 200, f"date: {date}")) as server:
        *_, credentials, clock = check_replicate(settings(REPLICATE_BASE_URL=server.url))

    assert credentials.level is Level.OK
    assert clock.level is Level.WARNING
    assert re.fullmatch("this host's clock is 60[0-9] s ahead of Replicate's", clock.message)
    assert clock.fix == "set the clocks by NTP: timedatectl set-ntp true"


# The model's version.

UNAUTHENTICATED: dict[str, object] = {"title": "Unauthenticated", "detail": "no", "status": 401}


def answered(answer: tuple[int, dict[str, object]], model: str) -> list[Finding]:
    """What is made of an answer that is given to each question, that of the account as well."""
    status, body = answer[0], {"username": "somebody"} | answer[1]
    with canned(with_body(json.dumps(body).encode(), status)) as server:
        found = check_model(settings(REPLICATE_BASE_URL=server.url, REPLICATE_MODEL_VERSION=model))
        return list(found)


@pytest.mark.parametrize(
    ("answer", "model", "expected"),
    [
        ((404, {}), "a/b", (Level.WARNING, "not checked: what answers there is not Replicate's")),
        (
            (401, UNAUTHENTICATED),
            "a/b",
            (Level.WARNING, "not checked: Replicate refuses the token"),
        ),
        ((403, {}), "a/b", (Level.WARNING, "not checked: what answers there is not Replicate's")),
        ((200, {}), "f" * 64, (Level.WARNING, "not checked: Replicate tells nothing of a")),
        ((200, {"is_official": False}), "a/b", (Level.WRONG, "a/b is no official model: it")),
        ((200, {"is_official": True}), "a/b", (Level.OK, "a/b is there")),
        ((200, {}), f"a/b:{'f' * 64}", (Level.OK, "a/b:ffff")),
    ],
)
def test_what_replicate_answers_about_a_model_is_reported(
    answer: tuple[int, dict[str, object]], model: str, expected: tuple[Level, str]
) -> None:
    first = answered(answer, model)[0]

    assert (first.level, first.check, first.message[: len(expected[1])]) == (
        expected[0],
        "model",
        expected[1],
    )


# Checks that break or hang.


def only(
    monkeypatch: pytest.MonkeyPatch,
    *checks: runner.Check,
    on_wait: Callable[[str], None] = lambda _: None,
) -> list[Finding]:
    """What is found by these checks alone."""
    monkeypatch.setattr(runner, "CHECKS", checks)
    environment = {"DATABASE_URL": "postgresql://host/db", "REPLICATE_API_TOKEN": "canary"}
    return list(examine(environment, {}, on_wait))[1:]


def breaks(_: Settings) -> Findings:
    yield ok("first", "well")
    raise RuntimeError("of canary and others")


def test_a_check_that_breaks_is_a_finding_and_shows_no_secret(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    first, broken, last = only(
        monkeypatch,
        runner.Check("broken", breaks),
        runner.Check("last", host.check_time_zone),
    )

    assert (first.check, broken.check, last.check) == ("first", "broken", "time zone")
    assert broken.level is Level.WRONG
    assert broken.message == "the check broke: RuntimeError: of [hidden] and others"


def test_a_check_that_hangs_is_named_while_it_is_waited_for_and_not_for_long(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    released = threading.Event()

    def hangs(_: Settings) -> Findings:
        yield ok("first", "well")
        released.wait()

    monkeypatch.setattr(runner, "CHECK_SECONDS", 0.1)
    waited_for: list[str] = []
    first, hanging, last = only(
        monkeypatch,
        runner.Check("hanging", hangs),
        runner.Check("last", host.check_time_zone),
        on_wait=waited_for.append,
    )
    released.set()

    assert (first.check, hanging.check, last.check) == ("first", "hanging", "time zone")
    assert hanging.message == "no end of the check after 0 s"
    assert waited_for[0] == "hanging"


def test_a_misspelt_setting_is_a_warning(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runner, "CHECKS", ())
    found = list(examine({"IMAGEGEN_DAILY_LIMT": "5"}, {}))

    assert [each.message for each in found if each.level is Level.WARNING] == [
        "IMAGEGEN_DAILY_LIMT is no setting: did you mean IMAGEGEN_DAILY_LIMIT?"
    ]


def test_a_wrong_option_is_fixed_by_the_option() -> None:
    found = examine({"IMAGEGEN_LEASE_SECONDS": "20"}, {"lease_seconds": "0"})

    assert [each.fix for each in found if "lease" in each.message] == ["give another --lease"]
