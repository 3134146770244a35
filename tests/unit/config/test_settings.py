"""Settings: what is missing or wrong is told in one line each, before anything starts."""

import pytest

from imagegen.config import all_settings, unknown_variables
from tests.support.settings import ENOUGH, complaints, load, with_environment


def test_a_database_and_a_token_are_all_that_must_be_given() -> None:
    loaded = with_environment()

    assert loaded.model == "black-forest-labs/flux-schnell"
    assert loaded.replicate_base_url == "https://api.replicate.com"
    assert loaded.poll_interval_seconds == 1.0
    assert loaded.slots == 10
    assert loaded.default_prompt is None


def test_each_missing_setting_is_told_in_a_line_of_its_own() -> None:
    database, token = complaints({})

    assert database.startswith("DATABASE_URL is missing: PostgreSQL")
    assert token.startswith("REPLICATE_API_TOKEN is missing: Replicate's API token")


def test_every_wrong_setting_is_told_at_once() -> None:
    lines = complaints(ENOUGH | {"WORKER_BATCH_SIZE": "0", "IMAGEGEN_LOG_LEVEL": "loud"})

    assert lines == [
        "WORKER_BATCH_SIZE must be a whole number from 1 to 100, not '0'",
        "IMAGEGEN_LOG_LEVEL must be one of debug, info, warning, error, not 'loud'",
    ]


def test_an_option_wins_over_the_environment() -> None:
    loaded = load(ENOUGH | {"WORKER_BATCH_SIZE": "3"}, {"slots": "4"})

    assert loaded.slots == 4


def test_a_wrong_option_is_named_as_it_was_written() -> None:
    assert complaints(ENOUGH, lease_seconds="soon") == [
        "--lease must be a duration from 1s to 10m, not 'soon'"
    ]


def test_an_empty_variable_is_one_that_was_not_set() -> None:
    loaded = with_environment(WORKER_BATCH_SIZE="", DEFAULT_PROMPT="")

    assert (loaded.slots, loaded.default_prompt) == (10, None)
    assert complaints(ENOUGH | {"REPLICATE_API_TOKEN": ""})[0].endswith("Replicate's API token.")


@pytest.mark.parametrize(
    ("variable", "meant"),
    [
        ("IMAGEGEN_DAILY_LIMT", "did you mean IMAGEGEN_DAILY_LIMIT?"),
        ("IMAGEGEN_daily_limit", "did you mean IMAGEGEN_DAILY_LIMIT?"),
        ("IMAGEGEN_METRIC_PORT", "did you mean IMAGEGEN_METRICS_PORT?"),
        ("IMAGEGEN_LEASE", "did you mean IMAGEGEN_LEASE_SECONDS?"),
        ("IMAGEGEN_GIVE_UP_AFTER", "did you mean IMAGEGEN_GIVE_UP_AFTER_SECONDS?"),
        ("IMAGEGEN_SLOTS", "did you mean WORKER_BATCH_SIZE?"),
        ("IMAGEGEN_DATABASE_URL", "did you mean DATABASE_URL?"),
        ("IMAGEGEN_POLL_INTERVAL_SECONDS", "did you mean POLL_INTERVAL_SECONDS?"),
        ("IMAGEGEN_UNHEARD_OF", "see `imagegen config`"),
    ],
)
def test_a_misspelt_setting_is_told_with_the_one_that_was_meant(variable: str, meant: str) -> None:
    lines = unknown_variables({variable: "secret", "IMAGEGEN_PROCS": "2", "DAILY_LIMT": "5"})

    assert lines == [f"{variable} is no setting: {meant}"]


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("IMAGEGEN_DAILY_LIMT", ""),
        ("IMAGEGEN_CRASH_AT", "posted:kill:/tmp/once"),
        ("IMAGEGEN_TEST_POSTGRES", "embedded"),
        ("IMAGEGEN_DRILL_SEED", "1"),
        ("_IMAGEGEN_COMPLETE", "bash_source"),
        ("IMAGEGEN_SERVICE_HOST", "10.0.0.1"),
        ("IMAGEGEN_SERVICE_PORT_METRICS", "9464"),
        ("IMAGEGEN_PORT", "tcp://10.0.0.1:9464"),
        ("IMAGEGEN_PORT_9464_TCP_ADDR", "10.0.0.1"),
    ],
)
def test_what_is_empty_of_the_tests_or_of_kubernetes_is_no_misspelt_setting(
    variable: str, value: str
) -> None:
    assert unknown_variables({variable: value}) == []


def test_settings_do_not_show_themselves() -> None:
    shown = f"{with_environment()!r} {with_environment()}"

    assert "r8_secret" not in shown
    assert "pass-word" not in shown


def test_the_names_of_the_plan_are_kept() -> None:
    named = {spec.variable for spec in all_settings()}

    assert named >= {
        "DATABASE_URL",
        "REPLICATE_API_TOKEN",
        "REPLICATE_MODEL_VERSION",
        "FALLBACK_CENSORED_PROMPT",
        "POLL_INTERVAL_SECONDS",
        "WORKER_BATCH_SIZE",
    }


def test_every_setting_says_what_it_is_for() -> None:
    assert all(spec.help.endswith(".") for spec in all_settings())
