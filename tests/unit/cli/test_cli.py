"""The command line: help, bad usage, and settings that are missing or wrong."""

import subprocess
import sys

import click
import pytest

from imagegen import app, startup
from imagegen.cli import cli
from imagegen.cli.db import db
from imagegen.cli.tokens import tokens
from imagegen.config.settings import Settings, all_settings
from tests.support.command_line import CONFIGURATION, DATABASE_URL, ENOUGH, TOKEN, USAGE, imagegen

COMMANDS = [
    (),
    *((name,) for name in cli.commands),
    *(("db", name) for name in db.commands),
    *(("tokens", name) for name in tokens.commands),
]


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("option", ["-h", "--help"])
def test_every_command_has_help(command: tuple[str, ...], option: str) -> None:
    result = imagegen(*command, option)

    assert result.exit_code == 0
    assert result.stdout.startswith(f"Usage: {' '.join(['imagegen', *command])}")


@pytest.mark.parametrize("command", COMMANDS)
def test_every_help_has_an_example(command: tuple[str, ...]) -> None:
    shown = imagegen(*command, "--help").stdout

    assert f"Example: {' '.join(['imagegen', *command])}" in shown


@pytest.mark.parametrize("name", cli.commands)
def test_the_list_of_commands_shows_the_summary_of_each(name: str) -> None:
    _, command, _ = cli.resolve_command(click.Context(cli), [name])

    assert command
    assert command.name == name
    for width in (30, 60):
        assert cli.commands[name].get_short_help_str(width) == command.get_short_help_str(width)


def test_the_list_of_commands_imports_none_of_them() -> None:
    program = """
import sys
from imagegen.cli import cli
cli(["--help"], standalone_mode=False)
print(sorted(name for name in sys.modules if name.startswith("imagegen.")), file=sys.stderr)
"""
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )

    helpers = ["core_dumps", "interrupts", "streams"]
    assert done.stderr == f"{['imagegen.cli', *(f'imagegen.cli.{name}' for name in helpers)]}\n"


@pytest.mark.parametrize("group", [(), ("db",), ("tokens",)])
def test_no_summary_of_a_command_breaks_off(group: tuple[str, ...]) -> None:
    assert "..." not in imagegen(*group, "--help").stdout.partition("Commands:")[2]


def test_the_help_names_every_setting_its_variable_and_its_default() -> None:
    shown = "".join(imagegen("supervise", "--help").stdout.split())

    for spec in all_settings():
        assert spec.option in shown
        assert spec.variable in shown
        assert spec.default is None or f"default:{''.join(spec.default.split())}]" in shown


@pytest.mark.parametrize(
    "arguments", [("no-such-command",), ("supervise", "--no-such-option"), ("config", "extra")]
)
def test_bad_usage_is_told_with_exit_code_2(arguments: tuple[str, ...]) -> None:
    result = imagegen(*arguments, **ENOUGH)

    assert result.exit_code == USAGE
    assert "no-such" in result.stderr or "extra" in result.stderr


@pytest.mark.parametrize("revision", ["", "@", "head@"])
@pytest.mark.parametrize("command", ["upgrade", "downgrade"])
def test_what_cannot_be_a_revision_is_one_line_with_an_example(command: str, revision: str) -> None:
    result = imagegen("db", command, revision, **ENOUGH)

    assert result.exit_code == USAGE
    assert result.stderr == (
        f"imagegen: REVISION must be head, base, or one such as 0003, not {revision!r}\n"
    )


@pytest.mark.parametrize(
    "option",
    [
        ("audit", "--since"),
        ("spend", "--since"),
        ("tokens", "list", "--older"),
        ("tokens", "list", "--newer"),
        ("tokens", "retry", "--failed-since"),
    ],
)
def test_a_number_alone_is_no_duration_as_it_may_be_a_year(option: tuple[str, ...]) -> None:
    result = imagegen(*option, "2026", **ENOUGH)

    assert result.exit_code == USAGE
    assert result.stderr == (
        f"imagegen: {option[-1]} must be a duration such as 24h or 30d,"
        " or a date such as 2026-11-01, not '2026'\n"
    )


@pytest.mark.parametrize("command", ["list", "retry"])
def test_a_mistyped_kind_of_error_is_told_with_those_that_there_are(command: str) -> None:
    result = imagegen("tokens", command, "--error-kind", "transeint", **ENOUGH)

    assert result.exit_code == USAGE
    assert "'transient'" in result.stderr
    assert "'throttled'" in result.stderr


def test_the_version_is_told() -> None:
    assert imagegen("--version").stdout.startswith("imagegen, version ")


@pytest.mark.parametrize("command", ["supervise", "worker"])
def test_nothing_starts_without_its_settings(command: str) -> None:
    result = imagegen(command)

    assert result.exit_code == CONFIGURATION
    assert [line.split(": ")[:2] for line in result.stderr.splitlines()] == [
        ["imagegen", "DATABASE_URL is missing"],
        ["imagegen", "REPLICATE_API_TOKEN is missing"],
    ]
    assert result.stdout == ""


@pytest.mark.parametrize("option", ["--procs", "--watchdog", "--metrics-host", "--metrics-port"])
def test_a_worker_in_the_foreground_takes_no_option_of_a_supervisor(option: str) -> None:
    assert option not in imagegen("worker", "--help").stdout
    assert imagegen("worker", option, "1", **ENOUGH).exit_code == USAGE


def test_a_worker_in_the_foreground_has_all_of_the_accounts_rates(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    made: list[Settings] = []
    monkeypatch.setattr(app, "Worker", lambda settings, **_: made.append(settings))
    monkeypatch.setattr(startup, "prepare", lambda *_: None)
    monkeypatch.setattr(app, "_run_until_stopped", lambda *_, **__: None)

    of_a_supervisor = {"IMAGEGEN_PROCS": "4", "IMAGEGEN_METRICS_PORT": "nowhere"}
    result = imagegen("worker", **ENOUGH, **of_a_supervisor)

    assert (result.exit_code, result.stderr) == (0, "")
    assert [settings.procs for settings in made] == [1]


def test_a_missing_token_never_falls_back_to_the_sandbox() -> None:
    result = imagegen("worker", DATABASE_URL=DATABASE_URL, REPLICATE_BASE_URL="http://localhost:1")

    assert result.exit_code == CONFIGURATION
    assert result.stderr.startswith("imagegen: REPLICATE_API_TOKEN is missing")


def test_the_database_commands_need_the_database_alone() -> None:
    result = imagegen("db", "current", REPLICATE_API_TOKEN="two words")

    assert result.exit_code == CONFIGURATION
    assert [line.split()[1] for line in result.stderr.splitlines()] == ["DATABASE_URL"]


def test_a_database_that_is_away_is_told_in_one_line_without_its_password() -> None:
    url = "postgresql://user:pass%2Fword@127.0.0.1:1/tokens"
    result = imagegen("db", "current", DATABASE_URL=url)

    assert result.exit_code == 1
    assert len(result.stderr.splitlines()) == 1
    assert result.stderr.startswith("imagegen: cannot use the database of DATABASE_URL: ")
    assert "word" not in result.stderr


@pytest.mark.parametrize("command", [("tokens", "list"), ("config",), ("supervise",)])
def test_no_part_of_a_password_with_an_at_sign_is_shown_as_a_host(command: tuple[str, ...]) -> None:
    url = "postgresql://imagegen:s3cr@t!pass@127.0.0.1/x"
    result = imagegen(*command, DATABASE_URL=url, REPLICATE_API_TOKEN=TOKEN)

    assert result.exit_code == CONFIGURATION
    assert "write @ as %40" in result.stderr
    assert len(result.stderr.splitlines()) == 1
    assert "t!pass" not in result.output


def test_a_start_without_a_setting_says_under_which_name_it_was_given() -> None:
    result = imagegen("worker", REPLICATE_API_TOKEN=TOKEN, IMAGEGEN_DATABASE_URL=DATABASE_URL)

    assert result.exit_code == CONFIGURATION
    assert [line.partition(": ")[2] for line in result.stderr.splitlines()[1:]] == [
        "IMAGEGEN_DATABASE_URL is no setting: did you mean DATABASE_URL?"
    ]


def test_an_audit_of_what_the_list_may_not_show_yet_is_refused() -> None:
    result = imagegen("audit", "--since", "4m", **ENOUGH)

    assert result.exit_code == USAGE
    assert result.stderr == "imagegen: --since must be over 300 s ago: the list may lag\n"
