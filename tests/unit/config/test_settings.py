"""Settings: each that is missing or wrong is reported in one line, before anything starts."""

from collections.abc import Mapping
from pathlib import Path

import pytest

from imagegen.config import Settings, read, settings
from tests.support.settings import load

ENOUGH = {
    "DATABASE_URL": "postgresql://user:pass-word@host:5432/tokens",
    "REPLICATE_API_TOKEN": "r8_secret",
}
A_VERSION = "0123456789abcdef" * 4


def with_environment(**more: str) -> Settings:
    return load(ENOUGH | more, {})


def complaints(environment: Mapping[str, str], **options: str) -> list[str]:
    """The lines that the user sees."""
    _, problems = read(environment, options)
    return [str(problem) for problem in problems]


def test_a_database_and_a_token_are_all_that_must_be_given() -> None:
    loaded = with_environment()

    assert loaded.model == "black-forest-labs/flux-schnell"
    assert loaded.replicate_base_url == "https://api.replicate.com"
    assert loaded.poll_interval_seconds == 1.0
    assert loaded.slots == 10
    assert loaded.default_prompt is None


def test_each_missing_setting_has_a_line_of_its_own() -> None:
    database, token = complaints({})

    assert database.startswith("DATABASE_URL is missing: PostgreSQL")
    assert token.startswith("REPLICATE_API_TOKEN is missing: Replicate's API token")


def test_all_wrong_settings_are_reported_at_once() -> None:
    lines = complaints(ENOUGH | {"WORKER_BATCH_SIZE": "0", "IMAGEGEN_LOG_LEVEL": "loud"})

    assert lines == [
        "WORKER_BATCH_SIZE must be a whole number from 1 to 100, not '0'",
        "IMAGEGEN_LOG_LEVEL must be one of debug, info, warning, error, not 'loud'",
    ]


def test_an_option_wins_over_the_environment() -> None:
    loaded = load(ENOUGH | {"WORKER_BATCH_SIZE": "3"}, {"slots": "4"})

    assert loaded.slots == 4


@pytest.mark.parametrize(
    ("given", "seconds"),
    [("90", 90.0), ("90s", 90.0), ("1.5m", 90.0), (" 24h ", 86_400.0), ("7d", 604_800.0)],
)
def test_a_duration_may_have_a_unit(given: str, seconds: float) -> None:
    loaded = with_environment(IMAGEGEN_GIVE_UP_AFTER_SECONDS=given)

    assert loaded.give_up_after_seconds == seconds


@pytest.mark.parametrize(("given", "seconds"), [("10m", 600), ("0.5m", 30), ("90", 90)])
def test_replicate_gets_whole_seconds_whatever_the_unit(given: str, seconds: int) -> None:
    loaded = with_environment(IMAGEGEN_CANCEL_AFTER_SECONDS=given)

    assert repr(loaded.cancel_after_seconds) == repr(seconds)


def test_a_folder_for_images_must_be_there(tmp_path: Path) -> None:
    assert with_environment(IMAGEGEN_KEEP_IMAGES=str(tmp_path)).keep_images == tmp_path
    (complaint,) = complaints(ENOUGH | {"IMAGEGEN_KEEP_IMAGES": str(tmp_path / "none")})
    assert complaint.startswith("IMAGEGEN_KEEP_IMAGES must be a folder that is there")


def test_a_folder_without_a_name_is_not_the_working_directory() -> None:
    assert complaints(ENOUGH, keep_images="") == [
        "--keep-images must be a folder that is there and can be written to, not ''"
    ]
    assert with_environment(IMAGEGEN_KEEP_IMAGES="").keep_images is None


def test_a_wrong_option_is_named_as_it_was_written() -> None:
    assert complaints(ENOUGH, lease_seconds="soon") == [
        "--lease must be a duration from 1s to 10m, not 'soon'"
    ]


def test_an_empty_variable_is_one_that_was_not_set() -> None:
    loaded = with_environment(WORKER_BATCH_SIZE="", DEFAULT_PROMPT="")

    assert (loaded.slots, loaded.default_prompt) == (10, None)
    assert complaints(ENOUGH | {"REPLICATE_API_TOKEN": ""})[0].endswith("Replicate's API token.")


@pytest.mark.parametrize(
    ("variable", "wrong", "message"),
    [
        ("POLL_INTERVAL_SECONDS", "0", "a duration from 0.05s to 1m, not '0'"),
        ("POLL_INTERVAL_SECONDS", "61", "a duration from 0.05s to 1m, not '61'"),
        ("POLL_INTERVAL_SECONDS", "5m", "a duration from 0.05s to 1m, not '5m'"),
        ("POLL_INTERVAL_SECONDS", "nan", "a duration from 0.05s to 1m, not 'nan'"),
        ("IMAGEGEN_GRACE_SECONDS", "inf", "a duration from 0s to 1h, not 'inf'"),
        ("IMAGEGEN_GIVE_UP_AFTER_SECONDS", "2y", "a duration from 1s to 365d, not '2y'"),
        ("IMAGEGEN_CANCEL_AFTER_SECONDS", "1h", "a duration from 5s to 30m, not '1h'"),
        ("IMAGEGEN_CANCEL_AFTER_SECONDS", "7.5", "whole seconds, not '7.5'"),
        ("IMAGEGEN_PROCS", "1.5", "a whole number from 1 to 64, not '1.5'"),
        ("IMAGEGEN_PROCS", "9" * 5000, f"a whole number from 1 to 64, not '{'9' * 60}…'"),
        ("IMAGEGEN_METRICS_PORT", "65536", "a whole number from 0 to 65535, not '65536'"),
        ("IMAGEGEN_LOG_FORMAT", "xml", "one of auto, json, text, not 'xml'"),
        ("FALLBACK_CENSORED_PROMPT", " ", "a prompt of 1 to 1000 characters, not a blank one"),
        ("FALLBACK_CENSORED_PROMPT", "\u200b\u200d", "1000 characters, not a blank one"),
        ("DEFAULT_PROMPT", "x" * 1001, "a prompt of 1 to 1000 characters, not 1001"),
        ("REPLICATE_MODEL_VERSION", "flux", "owner/name, owner/name:version or a version"),
        ("REPLICATE_MODEL_VERSION", "../v1/account", "owner/name, owner/name:version or"),
        ("REPLICATE_MODEL_VERSION", "a/b:latest", "owner/name, owner/name:version or a version"),
        ("REPLICATE_MODEL_VERSION", A_VERSION[:-1], "owner/name, owner/name:version or a version"),
        ("IMAGEGEN_MODEL_INPUT", "[]", "a JSON object such as"),
        ("IMAGEGEN_MODEL_INPUT", "{", "a JSON object such as"),
        ("IMAGEGEN_MODEL_INPUT", '{"seed": 1}', "a JSON object without seed"),
        ("IMAGEGEN_MODEL_INPUT", '{"seed": 1, "prompt": ""}', "without prompt and seed"),
        ("REPLICATE_BASE_URL", "http://api.replicate.com", "an https URL (http only on localhost)"),
        ("REPLICATE_BASE_URL", "ftp://localhost", "an https URL (http only on localhost)"),
        ("REPLICATE_BASE_URL", "api.replicate.com", "an https URL (http only on localhost)"),
        ("REPLICATE_BASE_URL", "https://[1", "an https URL (http only on localhost)"),
        ("REPLICATE_BASE_URL", "https://user:word@host", "without a user, query or fragment"),
        ("REPLICATE_BASE_URL", "https://user@host", "without a user, query or fragment"),
        ("REPLICATE_BASE_URL", "https://host/?token=1", "without a user, query or fragment"),
        ("REPLICATE_BASE_URL", "https://host/#here", "without a user, query or fragment"),
        ("REPLICATE_BASE_URL", "https://host:port", "an https URL (http only on localhost)"),
        ("REPLICATE_BASE_URL", "https://host:65536", "an https URL (http only on localhost)"),
    ],
)
def test_a_wrong_value_is_reported_with_what_it_must_be(
    variable: str, wrong: str, message: str
) -> None:
    [line] = complaints(ENOUGH | {variable: wrong})

    assert line.startswith(f"{variable} must be ")
    assert message in line


@pytest.mark.parametrize(
    "url",
    [
        "mysql://u:pass-word@h/d",
        "host=h password=pass-word",
        "postgresql://u:pass-word@h:port/d",
        "postgresql://u:pass-word@h:65536/d",
        f"postgresql://u:pass-word@h:{'9' * 5000}/d",
    ],
)
def test_a_wrong_database_url_is_reported_without_its_password(url: str) -> None:
    [line] = complaints(ENOUGH | {"DATABASE_URL": url})

    assert line.startswith("DATABASE_URL must be a PostgreSQL URL such as postgresql://")
    assert "pass-word" not in line


@pytest.mark.parametrize(
    ("password", "escapes"),
    [
        ("s3cr@t!pass", "@ as %40"),
        ("s3cr/t!pass", "/ as %2F"),
        ("s3cr%t!pass", "% as %25"),
        ("s3cr t!pass", "a blank as %20"),
        ("s3cr@t/pass", "/ as %2F and @ as %40"),
        ("s3cr/t?pass", "/ as %2F and ? as %3F"),
        ("s3cr@t?pass", "? as %3F and @ as %40"),
        ("5432/t#pass", "# as %23 and / as %2F"),
    ],
)
@pytest.mark.parametrize("place", ["127.0.0.1/x", "one:1,two:2/x?sslmode=require"])
def test_the_character_that_cuts_a_password_short_is_named_with_its_escape(
    password: str, escapes: str, place: str
) -> None:
    [line] = complaints(ENOUGH | {"DATABASE_URL": f"postgresql://user:{password}@{place}"})

    assert line == (
        "DATABASE_URL must be a PostgreSQL URL such as postgresql://user:password@host:5432/database"
        f"; inside its user, password or database write {escapes}"
    )


def test_a_parameter_that_libpq_does_not_know_is_named() -> None:
    url = "postgresql://user:pass-word@host/db?sslmode=require&bogus=1"
    [line] = complaints(ENOUGH | {"DATABASE_URL": url})

    assert line.endswith(", without the parameter 'bogus': libpq knows none of this name")
    assert "pass-word" not in line


def test_what_may_be_the_rest_of_a_password_is_not_named_as_a_parameter() -> None:
    [line] = complaints(ENOUGH | {"DATABASE_URL": "postgresql://host/db?password=pass&word=1"})

    assert "word=" not in line
    assert "'word'" not in line


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://user:pass-word@host/tokens?application_name=me@home",
        "postgresql://us%40er:p%40ss%2Fw%25rd@host/tokens",
        "postgresql://user:pass-word@one:5432,two:5433/tokens?target_session_attrs=read-write",
        "postgresql://user:pass-word@one,two/tokens",
        "postgresql:///tokens?host=/run/postgresql",
        "postgres://user:pass#wo?rd@host/tokens",
    ],
)
def test_every_url_that_libpq_reads_is_accepted(url: str) -> None:
    assert with_environment(DATABASE_URL=f" {url}\n").database_url == url


@pytest.mark.parametrize("token", ["r8_two words", "r8_one\nr8_two", "r8_schlüssel"])
def test_a_wrong_api_token_is_reported_without_repeating_it(token: str) -> None:
    [line] = complaints(ENOUGH | {"REPLICATE_API_TOKEN": token})

    assert line.startswith("REPLICATE_API_TOKEN must be a Replicate API token")
    assert "r8_" not in line


@pytest.mark.parametrize("variable", ["REPLICATE_MODEL_VERSION", "IMAGEGEN_KEEP_IMAGES"])
@pytest.mark.parametrize("secret", ["r8_secret", "postgresql://user:pass-word@host/tokens"])
def test_a_secret_in_the_wrong_variable_is_not_repeated(variable: str, secret: str) -> None:
    [line] = complaints(ENOUGH | {variable: secret})

    assert line.endswith(", not what looks like a token or a password")


def test_a_token_read_from_a_file_loses_its_line_end() -> None:
    assert with_environment(REPLICATE_API_TOKEN="r8_secret\n").replicate_api_token == "r8_secret"


@pytest.mark.parametrize(
    "model",
    ["owner/name", "black-forest-labs/flux-1.1-pro", f"owner/name:{A_VERSION}", A_VERSION],
)
def test_a_model_is_named_with_or_without_its_version(model: str) -> None:
    assert with_environment(REPLICATE_MODEL_VERSION=f" {model} ").model == model


def test_more_inputs_for_the_model_are_a_json_object() -> None:
    loaded = with_environment(IMAGEGEN_MODEL_INPUT='{"aspect_ratio": "1:1"}')

    assert loaded.model_input == {"aspect_ratio": "1:1"}


def test_an_input_is_the_users_own_unless_the_marker_is_sent_in_it() -> None:
    seeded = {"IMAGEGEN_MODEL_INPUT": '{"seed": 5}'}

    assert with_environment(**seeded, IMAGEGEN_MARKER_INPUT="none").model_input == {"seed": 5}
    assert with_environment(**seeded, IMAGEGEN_MARKER_INPUT="noise").model_input == {"seed": 5}


@pytest.mark.parametrize(("marker", "taken"), [("noise", "noise and prompt"), ("none", "prompt")])
def test_an_input_that_would_be_overwritten_is_refused(marker: str, taken: str) -> None:
    given = {"IMAGEGEN_MODEL_INPUT": '{"noise": 1, "prompt": "mine"}'}

    assert complaints(ENOUGH | given | {"IMAGEGEN_MARKER_INPUT": marker}) == [
        f"IMAGEGEN_MODEL_INPUT must be a JSON object without {taken}: imagegen sets these itself"
    ]


@pytest.mark.parametrize(
    "never_json",
    ['{"a": NaN}', '{"a": [-Infinity]}', r'{"a": "\ud800"}', '{"a": ' + "[" * 100_000, "{a: 1}"],
    ids=["NaN", "Infinity", "a lone surrogate", "nesting without an end", "no JSON"],
)
def test_model_inputs_that_could_never_be_sent_are_reported_before_anything_starts(
    never_json: str,
) -> None:
    [line] = complaints(ENOUGH | {"IMAGEGEN_MODEL_INPUT": never_json})

    assert line.startswith("IMAGEGEN_MODEL_INPUT must be a JSON object such as ")


@pytest.mark.parametrize("variable", ["FALLBACK_CENSORED_PROMPT", "DEFAULT_PROMPT"])
def test_a_prompt_of_the_settings_is_cleaned_as_an_authors(variable: str) -> None:
    loaded = with_environment(**{variable: " a quiet\nsea\x00 "})

    assert "a quiet sea" in (loaded.fallback_prompt, loaded.default_prompt)


@pytest.mark.parametrize(
    ("given", "used"),
    [
        ("https://proxy.example/replicate/", "https://proxy.example/replicate"),
        ("http://127.0.0.1:8080", "http://127.0.0.1:8080"),
        ("http://localhost:8080/", "http://localhost:8080"),
        ("http://[::1]:8080", "http://[::1]:8080"),
    ],
)
def test_the_api_may_be_a_proxy_or_stand_on_this_machine(given: str, used: str) -> None:
    assert with_environment(REPLICATE_BASE_URL=given).replicate_base_url == used


@pytest.mark.parametrize(
    ("url", "passwords"),
    [
        ("postgresql://user:pl41n-pw@host/db", {"pl41n-pw"}),
        ("postgresql://user:p%40ss%22@host/db", {"p%40ss%22", 'p@ss"'}),
        ("postgresql://host/db?user=u&password=pl41n-pw", {"pl41n-pw"}),
        ("postgresql://host/db?password=p%26w&sslpassword=k3y", {"p%26w", "p&w", "k3y"}),
        ("postgresql://user:pa#ss@host/db", {"pa#ss", "pa%23ss"}),
        ("postgresql://user:pa?ss@host/db", {"pa?ss", "pa%3Fss"}),
        ("postgresql://user:pl41n-pw@one:1,two:2/db", {"pl41n-pw"}),
        ("postgresql://host/db", set()),
    ],
)
def test_the_secrets_are_the_token_the_url_and_the_password_in_each_form(
    url: str, passwords: set[str]
) -> None:
    assert set(with_environment(DATABASE_URL=url).secrets) == {"r8_secret", url} | passwords


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
def test_a_misspelt_setting_is_reported_with_a_similar_one(variable: str, meant: str) -> None:
    lines = settings.unknown_variables(
        {variable: "secret", "IMAGEGEN_PROCS": "2", "DAILY_LIMT": "5"}
    )

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
    assert settings.unknown_variables({variable: value}) == []


def test_settings_do_not_show_themselves() -> None:
    shown = f"{with_environment()!r} {with_environment()}"

    assert "r8_secret" not in shown
    assert "pass-word" not in shown


def test_the_names_of_the_plan_are_kept() -> None:
    named = {spec.variable for spec in settings.all_settings()}

    assert named >= {
        "DATABASE_URL",
        "REPLICATE_API_TOKEN",
        "REPLICATE_MODEL_VERSION",
        "FALLBACK_CENSORED_PROMPT",
        "POLL_INTERVAL_SECONDS",
        "WORKER_BATCH_SIZE",
    }


def test_every_setting_has_a_help() -> None:
    assert all(spec.help.endswith(".") for spec in settings.all_settings())
