"""What the value of a setting may be: durations, numbers, models, inputs, URLs, prompts."""

from pathlib import Path

import pytest

from tests.support.settings import ENOUGH, complaints, with_environment

ANY_ERROR = "'Internal error. Please try again!'"
A_VERSION = "0123456789abcdef" * 4


@pytest.mark.parametrize(
    ("given", "seconds"),
    [("90", 90.0), ("90s", 90.0), ("1.5m", 90.0), (" 24h ", 86_400.0), ("7d", 604_800.0)],
)
def test_a_duration_may_have_a_unit(given: str, seconds: float) -> None:
    loaded = with_environment(IMAGEGEN_GIVE_UP_AFTER_SECONDS=given)

    assert loaded.give_up_after_seconds == seconds


@pytest.mark.parametrize(("given", "seconds"), [("10m", 600), ("0.5m", 30), ("90", 90)])
def test_replicate_is_told_whole_seconds_whatever_the_unit(given: str, seconds: int) -> None:
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


@pytest.mark.parametrize(
    ("variable", "wrong", "said"),
    [
        ("POLL_INTERVAL_SECONDS", "0", "a duration from 0.05s to 1m, not '0'"),
        ("POLL_INTERVAL_SECONDS", "61", "a duration from 0.05s to 1m, not '61'"),
        ("POLL_INTERVAL_SECONDS", "5m", "a duration from 0.05s to 1m, not '5m'"),
        ("POLL_INTERVAL_SECONDS", "nan", "a duration from 0.05s to 1m, not 'nan'"),
        (
            "IMAGEGEN_SETTLE_SECONDS",
            "59",
            "a duration from 1m to 30m, not '59': in less, a request that was given up may still"
            " arrive",
        ),
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
        ("REPLICATE_MODEL_VERSION", "flux", "owner/name, owner/name:version, a version"),
        ("REPLICATE_MODEL_VERSION", "../v1/account", "owner/name, owner/name:version, a version"),
        ("REPLICATE_MODEL_VERSION", "deployments/a", "or deployments/owner/name, not"),
        ("REPLICATE_MODEL_VERSION", f"deployments/a/b:{A_VERSION}", "or deployments/owner/name"),
        ("IMAGEGEN_MARKER_INPUT", "prompt", "the name of an input such as seed or user_id, or"),
        ("IMAGEGEN_MARKER_INPUT", "user_id:string", "the name of an input such as seed"),
        ("REPLICATE_MODEL_VERSION", "a/b:latest", "owner/name, owner/name:version, a version"),
        ("REPLICATE_MODEL_VERSION", A_VERSION[:-1], "owner/name, owner/name:version, a version"),
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
def test_a_wrong_value_is_told_with_what_it_must_be(variable: str, wrong: str, said: str) -> None:
    [line] = complaints(ENOUGH | {variable: wrong})

    assert line.startswith(f"{variable} must be ")
    assert said in line


@pytest.mark.parametrize("token", ["r8_two words", "r8_one\nr8_two", "r8_schlüssel"])
def test_a_wrong_api_token_is_told_without_repeating_it(token: str) -> None:
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
    [
        *("owner/name", "black-forest-labs/flux-1.1-pro", f"owner/name:{A_VERSION}", A_VERSION),
        "deployments/owner/name",
    ],
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


@pytest.mark.parametrize(
    ("marker", "taken"),
    [("noise", "noise and prompt"), ("noise:text", "noise and prompt"), ("none", "prompt")],
)
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
def test_model_inputs_that_could_never_be_sent_are_told_before_anything_starts(
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


# Patterns of errors.


@pytest.mark.parametrize(
    ("given", "matches"),
    [
        ("keeper says no", "The Keeper says NO"),
        ("blocked by acme|code 77", "error: code 77"),
        (r"refused .* by .* guard|denied.+law|\[7\]", "DENIED by some law"),
        ("violates (?:our|their)? law", "it violates  law"),
        ("a{3}b{2}c{1}d{2}", "aaabbcdd"),
        ("[*+{}()|]{2}", "(*"),
        (r"\(a\)\+\*\{", "(a)+*{"),
    ],
)
def test_words_of_refusals_are_a_pattern_in_any_case_of_letters(given: str, matches: str) -> None:
    pattern = with_environment(IMAGEGEN_CONTENT_POLICY_WORDS=given).content_policy_words

    assert pattern is not None
    assert pattern.search(matches)
    assert with_environment().content_policy_words is None


@pytest.mark.parametrize(
    ("given", "why"),
    [
        ("(", "not '(': missing ), unterminated subpattern at position 0"),
        ("*", "not '*': nothing to repeat at position 0"),
        ("a{99999999999}", "not 'a{99999999999}': the repetition number is too large"),
        ("(a+)+$", "without a group that is repeated, not '(a+)+$'"),
        ("(?:a|a)*b", "without a group that is repeated, not '(?:a|a)*b'"),
        ("(a*){30}", "without a group that is repeated, not '(a*){30}'"),
        (r"(a+) \1", r"without a group that is repeated, not '(a+) \\1'"),
        (".*.*.*x", "with at most 2 of *, + and {} in it, not '.*.*.*x'"),
        ("a|b+c+(d|e)f{0,9}", "with at most 2 of *, + and {} in it, not 'a|b+c+(d|e)f{0,9}'"),
        ("foo|", f"that does not match every error, as 'foo|' does: it matches {ANY_ERROR}"),
        (".", f"that does not match every error, as '.' does: it matches {ANY_ERROR}"),
        ("again", f"that does not match every error, as 'again' does: it matches {ANY_ERROR}"),
    ],
)
def test_a_pattern_that_is_none_or_slow_or_matches_everything_is_refused(
    given: str, why: str
) -> None:
    (complaint,) = complaints(ENOUGH | {"IMAGEGEN_CONTENT_POLICY_WORDS": given})

    expected = "IMAGEGEN_CONTENT_POLICY_WORDS must be a regular expression such as"
    assert complaint.startswith(expected)
    assert complaint.endswith(why)


@pytest.mark.parametrize("wrong", ["s3cret", "a password\nof two lines"])
def test_a_page_password_is_long_enough_and_never_repeated(wrong: str) -> None:
    [line] = complaints(ENOUGH | {"IMAGEGEN_PAGE_PASSWORD": wrong})

    assert line == ("IMAGEGEN_PAGE_PASSWORD must be a password of at least 8 printable characters")


def test_the_page_password_is_hidden_wherever_it_might_be_shown() -> None:
    given = with_environment(IMAGEGEN_PAGE_PASSWORD="a-page-password")

    assert "a-page-password" in given.secrets
