"""`imagegen config`: every setting, its value, where it comes from, and what is wrong with it."""

import json

import pytest

from imagegen.config.settings import all_settings
from tests.support.command_line import CONFIGURATION, DATABASE_URL, ENOUGH, TOKEN, imagegen


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
    ("url", "words"),
    [
        (DATABASE_URL, "user=user password=[hidden] host=host port=5432 dbname=tokens"),
        ("postgresql://user:pa#ss@host/db", "user=user password=[hidden] host=host dbname=db"),
        ("postgresql://one:1,two:2/db", "host=one,two port=1,2 dbname=db"),
        ("postgresql://host/db?sslpassword=key", "host=host dbname=db sslpassword=[hidden]"),
    ],
)
def test_config_shows_the_database_as_libpq_reads_it_without_its_passwords(
    url: str, words: str
) -> None:
    environment = ENOUGH | {"DATABASE_URL": url}
    shown = json.loads(imagegen("config", "--json", **environment).stdout)

    assert set(shown["DATABASE_URL"]["value"].split()) == set(words.split())


def test_config_shows_the_models_inputs_as_they_are_given() -> None:
    given = '{"aspect_ratio": "1:1", "go_fast": true}'
    result = imagegen("config", **ENOUGH, IMAGEGEN_MODEL_INPUT=given)

    assert f"{given}  (environment)" in result.stdout


def test_config_shows_the_words_of_refusals_as_they_are_given() -> None:
    given = r"keeper says \w+|code 77"
    environment = ENOUGH | {"IMAGEGEN_CONTENT_POLICY_WORDS": given}
    shown = json.loads(imagegen("config", "--json", **environment).stdout)

    assert configured(**environment)["IMAGEGEN_CONTENT_POLICY_WORDS"] == given
    assert shown["IMAGEGEN_CONTENT_POLICY_WORDS"]["value"] == given


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


def test_config_tells_what_is_wrong_and_still_shows_the_rest() -> None:
    result = imagegen("config", **ENOUGH, IMAGEGEN_PROCS="many")

    assert result.exit_code == CONFIGURATION
    assert result.stderr == (
        "imagegen: IMAGEGEN_PROCS must be a whole number from 1 to 64, not 'many'\n"
    )
    assert "(wrong)  (environment)" in result.stdout
