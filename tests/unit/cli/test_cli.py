"""The command line: help, bad usage, and settings that are missing or wrong."""

import json
import subprocess
import sys

import click
import pytest
from click.testing import CliRunner, Result

from imagegen import app
from imagegen.cli import cli
from imagegen.cli.db import db
from imagegen.cli.tokens import tokens
from imagegen.config.settings import Settings, all_settings

DATABASE_URL = "postgresql://user:pass%2Fword@host:5432/tokens"
TOKEN = "r8_0123456789"
ENOUGH = {"DATABASE_URL": DATABASE_URL, "REPLICATE_API_TOKEN": TOKEN}
USAGE, CONFIGURATION = 2, 78


def imagegen(*arguments: str, **environment: str) -> Result:
    """Run a command in an environment without any other setting."""
    unset: dict[str, str | None] = {spec.variable: None for spec in all_settings()}
    return CliRunner().invoke(cli, arguments, prog_name="imagegen", env=unset | environment)


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

    assert done.stderr == "['imagegen.cli', 'imagegen.cli.streams']\n"


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
def test_bad_usage_has_exit_code_2(arguments: tuple[str, ...]) -> None:
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
def test_a_mistyped_kind_of_error_is_answered_with_the_known_ones(command: str) -> None:
    result = imagegen("tokens", command, "--error-kind", "transeint", **ENOUGH)

    assert result.exit_code == USAGE
    assert "'transient'" in result.stderr
    assert "'throttled'" in result.stderr


def test_the_version_is_shown() -> None:
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
    for part in ("_configure_logs", "_check_database", "_run_until_stopped"):
        monkeypatch.setattr(app, part, lambda *_: None)

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


def test_a_database_that_is_away_is_reported_in_one_line_without_its_password() -> None:
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


# imagegen config


def test_config_shows_every_setting_and_where_it_comes_from() -> None:
    result = imagegen("config", "--slots", "4", **ENOUGH, POLL_INTERVAL_SECONDS="2")
    lines = {line.split()[0]: line for line in result.stdout.splitlines()}

    assert result.exit_code == 0
    assert lines.keys() == {spec.variable for spec in all_settings()}
    assert lines["WORKER_BATCH_SIZE"].split()[1:] == ["4", "(option)"]
    assert lines["POLL_INTERVAL_SECONDS"].split()[1:] == ["2", "(environment)"]
    assert lines["IMAGEGEN_PROCS"].split()[1:] == ["2", "(default)"]
    assert lines["DEFAULT_PROMPT"].split()[1:] == ["(not", "set)", "(default)"]


def configured(**environment: str) -> dict[str, str]:
    """What `config` shows of each setting."""
    lines = imagegen("config", **environment).stdout.splitlines()
    return {line[:33].strip(): line[33:].rpartition("  (")[0] for line in lines}


def test_config_shows_values_that_can_be_given_back() -> None:
    shown = configured(**ENOUGH, IMAGEGEN_MARKER_INPUT="none", POLL_INTERVAL_SECONDS="0.5")
    given = {name: text for name, text in shown.items() if text != "(not set)"}

    assert given["IMAGEGEN_REPLACE_LOST"] == "no"
    assert given["IMAGEGEN_GIVE_UP_AFTER_SECONDS"] == "86400"
    assert configured(**given | ENOUGH) == shown


@pytest.mark.parametrize("form", [(), ("--json",)])
def test_config_shows_no_secret(form: tuple[str, ...]) -> None:
    result = imagegen("config", *form, **ENOUGH)

    assert "word=[hidden]" in result.stdout
    assert TOKEN not in result.output
    assert "pass/word" not in result.output
    assert "pass%2Fword" not in result.output


@pytest.mark.parametrize(
    ("url", "parts"),
    [
        (DATABASE_URL, "user=user password=[hidden] host=host port=5432 dbname=tokens"),
        ("postgresql://user:pa#ss@host/db", "user=user password=[hidden] host=host dbname=db"),
        ("postgresql://one:1,two:2/db", "host=one,two port=1,2 dbname=db"),
        ("postgresql://host/db?sslpassword=key", "host=host dbname=db sslpassword=[hidden]"),
    ],
)
def test_config_shows_the_database_as_libpq_reads_it_without_its_passwords(
    url: str, parts: str
) -> None:
    environment = ENOUGH | {"DATABASE_URL": url}
    shown = json.loads(imagegen("config", "--json", **environment).stdout)

    assert set(shown["DATABASE_URL"]["value"].split()) == set(parts.split())


def test_config_shows_the_models_inputs_as_they_are_given() -> None:
    given = '{"aspect_ratio": "1:1", "go_fast": true}'
    result = imagegen("config", **ENOUGH, IMAGEGEN_MODEL_INPUT=given)

    assert f"{given}  (environment)" in result.stdout


def test_config_as_json_is_one_object() -> None:
    given = {"IMAGEGEN_REPLACE_LOST": "yes"}
    shown = json.loads(imagegen("config", "--json", "--slots", "4", **ENOUGH, **given).stdout)

    assert shown.keys() == {spec.variable for spec in all_settings()}
    assert shown["WORKER_BATCH_SIZE"] == {"value": 4, "source": "option"}
    assert shown["IMAGEGEN_REPLACE_LOST"] == {"value": True, "source": "environment"}
    assert shown["IMAGEGEN_MODEL_INPUT"] == {"value": {}, "source": "default"}
    assert shown["DEFAULT_PROMPT"] == {"value": None, "source": "default"}


@pytest.mark.parametrize("form", [(), ("--json",)])
def test_config_warns_of_a_misspelt_setting(form: tuple[str, ...]) -> None:
    result = imagegen("config", *form, **ENOUGH, IMAGEGEN_DAILY_LIMT="5")

    assert result.exit_code == 0
    assert result.stderr == (
        "imagegen: IMAGEGEN_DAILY_LIMT is no setting: did you mean IMAGEGEN_DAILY_LIMIT?\n"
    )


def test_a_start_without_a_setting_names_a_similar_variable() -> None:
    result = imagegen("worker", REPLICATE_API_TOKEN=TOKEN, IMAGEGEN_DATABASE_URL=DATABASE_URL)

    assert result.exit_code == CONFIGURATION
    assert [line.partition(": ")[2] for line in result.stderr.splitlines()[1:]] == [
        "IMAGEGEN_DATABASE_URL is no setting: did you mean DATABASE_URL?"
    ]


def test_config_reports_what_is_wrong_and_still_shows_the_rest() -> None:
    result = imagegen("config", **ENOUGH, IMAGEGEN_PROCS="many")

    assert result.exit_code == CONFIGURATION
    assert result.stderr == (
        "imagegen: IMAGEGEN_PROCS must be a whole number from 1 to 64, not 'many'\n"
    )
    assert "(wrong)  (environment)" in result.stdout
