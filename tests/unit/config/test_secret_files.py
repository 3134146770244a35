"""Secrets in files: what is read, and what is said of a file that cannot be."""

from pathlib import Path

import pytest

from imagegen.config.secret_files import MOST_BYTES
from tests.support.command_line import CONFIGURATION, DATABASE_URL, TOKEN, imagegen
from tests.support.settings import ENOUGH, complaints, load


def of_file(file: Path, **more: str) -> dict[str, str]:
    """An environment whose API token is in this file."""
    return {"DATABASE_URL": DATABASE_URL, "REPLICATE_API_TOKEN_FILE": str(file), **more}


@pytest.mark.parametrize("text", [TOKEN, f"{TOKEN}\n", f"{TOKEN}\r\n"])
def test_a_secret_is_read_from_the_file_that_is_named(tmp_path: Path, text: str) -> None:
    file = tmp_path / "token"
    file.write_bytes(text.encode())

    assert load(of_file(file), {}).replicate_api_token == TOKEN


def test_the_database_url_may_be_in_a_file_and_an_option_wins(tmp_path: Path) -> None:
    file = tmp_path / "url"
    file.write_text(f"{DATABASE_URL}\n")
    environment = {"DATABASE_URL_FILE": str(file), "REPLICATE_API_TOKEN": TOKEN}

    assert load(environment, {}).database_url == DATABASE_URL
    other = "postgresql://other/name"
    assert load(environment, {"database_url": other}).database_url == other


def test_a_secret_that_is_given_twice_is_an_error(tmp_path: Path) -> None:
    assert complaints(of_file(tmp_path / "token", REPLICATE_API_TOKEN=TOKEN)) == [
        "REPLICATE_API_TOKEN_FILE and REPLICATE_API_TOKEN are both set: keep one of them"
    ]


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (
            None,
            "must name a file that can be read, and '{file}' cannot (No such file or directory)",
        ),
        (b"", "must name a file with a secret in it, and '{file}' is empty"),
        (b" \n", "must name a file with a secret in it, and '{file}' is empty"),
        (b"\xff", "must name a file of text, and '{file}' is none"),
        (b"x" * (MOST_BYTES + 1), "must name a file of one secret, and '{file}' is too long"),
        (b"two words", "must hold a Replicate API token: one word of ASCII characters"),
    ],
)
def test_a_file_without_a_secret_is_told_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: bytes | None, why: str
) -> None:
    monkeypatch.chdir(tmp_path)
    if content is not None:
        Path("token").write_bytes(content)

    told = complaints(of_file(Path("token")))

    assert told == [f"REPLICATE_API_TOKEN_FILE {why.format(file='token')}"]


def test_a_path_that_looks_like_a_secret_is_not_repeated() -> None:
    [told] = complaints(of_file(Path("r8_secret")))

    assert "r8_secret" not in told


def test_config_says_that_a_secret_is_from_a_file_and_does_not_show_it(tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text(TOKEN)

    shown = imagegen("config", **of_file(file))
    missing = imagegen("config", **of_file(tmp_path / "none"))

    assert "REPLICATE_API_TOKEN              [hidden]  (file)" in shown.stdout
    assert TOKEN not in shown.output
    assert missing.exit_code == CONFIGURATION
    assert "(wrong)  (file)" in missing.stdout


@pytest.mark.parametrize(
    ("url", "warns"), [(DATABASE_URL, True), ("postgresql://user@127.0.0.1:1/tokens", False)]
)
def test_a_password_among_the_options_causes_a_warning(url: str, warns: bool) -> None:
    url = url.replace("host:5432", "127.0.0.1:1")
    told = imagegen("db", "current", "--database-url", url, **ENOUGH).stderr

    warning = (
        "imagegen: --database-url shows a secret to all users of this host (in `ps`):"
        " set DATABASE_URL or DATABASE_URL_FILE instead"
    )
    assert (warning in told) == warns
