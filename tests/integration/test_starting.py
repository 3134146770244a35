"""A mistake found at the start is one clear line without secrets, before anything is forked."""

import json
import socket
import uuid
from pathlib import Path

import pytest

from imagegen.database.revision import newest_revision
from tests.support.processes import Site, wait_for
from tests.support.sandbox import Sandbox

CANARY = "canary-8c1f-secret"


def refused(site: Site, *arguments: str, code: int, command: str = "supervise") -> str:
    """The lines that a start which must fail says."""
    done = site.run(command, *arguments)
    assert done.returncode == code, done.stderr
    assert "Traceback" not in done.stderr
    assert CANARY not in done.stdout + done.stderr
    lines = [line for line in done.stderr.splitlines() if not line.startswith("{")]
    assert lines
    return "\n".join(lines)


@pytest.mark.parametrize(
    ("variable", "value", "message"),
    [
        ("DATABASE_URL", "", "DATABASE_URL is missing"),
        ("DATABASE_URL", f"mysql://me:{CANARY}@host/db", "DATABASE_URL must be a PostgreSQL URL"),
        ("DATABASE_URL", f"postgresql://me:{CANARY}@host:port/db", "must be a PostgreSQL URL"),
        ("REPLICATE_API_TOKEN", "", "REPLICATE_API_TOKEN is missing"),
        ("REPLICATE_API_TOKEN", f"{CANARY} two", "REPLICATE_API_TOKEN must be a Replicate API"),
        ("REPLICATE_MODEL_VERSION", "flux schnell", "REPLICATE_MODEL_VERSION must be owner/name"),
        ("IMAGEGEN_MODEL_INPUT", "[1]", "IMAGEGEN_MODEL_INPUT must be a JSON object"),
        ("POLL_INTERVAL_SECONDS", "often", "POLL_INTERVAL_SECONDS must be a duration"),
        ("WORKER_BATCH_SIZE", "0", "WORKER_BATCH_SIZE must be a whole number from 1 to 100"),
        ("REPLICATE_BASE_URL", "http://example.com", "REPLICATE_BASE_URL must be an https URL"),
    ],
)
def test_a_missing_or_wrong_setting_is_named(
    site: Site, variable: str, value: str, message: str
) -> None:
    site.settings[variable] = value

    assert message in refused(site, code=78)


@pytest.mark.parametrize("command", ["supervise", "worker"])
def test_a_misspelt_setting_is_a_warning_in_the_log_of_the_start(site: Site, command: str) -> None:
    site.settings |= {"IMAGEGEN_DAILY_LIMT": "5", "SSL_CERT_FILE": "/nowhere"}  # that ends it
    done = site.run(command)

    [warning] = [json.loads(line) for line in done.stderr.splitlines() if line.startswith("{")]
    assert (warning["event"], warning["level"]) == ("setting.unknown", "warning")
    assert warning["error"] == (
        "IMAGEGEN_DAILY_LIMT is no setting: did you mean IMAGEGEN_DAILY_LIMIT?"
    )


def test_every_wrong_setting_has_its_line(site: Site) -> None:
    site.settings |= {"DATABASE_URL": "", "REPLICATE_API_TOKEN": "", "IMAGEGEN_PROCS": "many"}

    assert len(refused(site, code=78).splitlines()) == 3


def test_a_missing_token_never_falls_back_to_the_sandbox(site: Site, sandbox: Sandbox) -> None:
    site.settings["REPLICATE_API_TOKEN"] = ""

    refused(site, code=78)

    assert not sandbox.ledger


def test_a_wrong_option_is_named_as_the_user_wrote_it(site: Site) -> None:
    assert "--procs must be a whole number" in refused(site, "--procs", "zero", code=78)


def test_a_database_that_is_down_is_reported_in_one_line(site: Site) -> None:
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        port = nobody.getsockname()[1]
        site.database_url = f"postgresql://me:{CANARY}@127.0.0.1:{port}/imagegen"

        message = refused(site, code=1)

    assert message.startswith("imagegen: cannot use the database of DATABASE_URL: ")
    assert len(message.splitlines()) == 1


@pytest.mark.direct
def test_a_wrong_password_is_reported_in_one_line(site: Site) -> None:
    site.log_in_as(None, CANARY)

    assert "password authentication failed" in refused(site, code=1)


def test_a_database_that_is_not_migrated_is_reported_with_the_fix(empty_site: Site) -> None:
    message = refused(empty_site, code=1)

    assert message == "imagegen: the database is not migrated: run `imagegen db upgrade`"


@pytest.mark.parametrize("command", ["supervise", "worker"])
@pytest.mark.parametrize(
    ("variable", "path", "message"),
    [
        ("SSL_CERT_FILE", "/nowhere/ca.pem", "cannot be read (No such file or directory)"),
        ("SSL_CERT_FILE", "/etc", "cannot be read (Is a directory)"),
        ("SSL_CERT_FILE", "/etc/passwd", "holds no certificate"),
        ("SSL_CERT_DIR", "/nowhere", "is no folder that can be read"),
    ],
)
def test_certificates_that_cannot_be_used_are_reported_in_one_line(
    site: Site, command: str, variable: str, path: str, message: str
) -> None:
    site.settings[variable] = path

    line = refused(site, command=command, code=1)

    assert line.startswith(
        f"imagegen: {variable} names '{path}', which {message}: unset it, or name"
    )
    assert len(line.splitlines()) == 1


@pytest.mark.parametrize("command", ["supervise", "worker"])
def test_a_proxy_that_cannot_be_used_is_reported_in_one_line(site: Site, command: str) -> None:
    site.settings["HTTPS_PROXY"] = f"socks5://user:{CANARY}@proxy:1080"

    line = refused(site, command=command, code=1)

    assert line == (
        "imagegen: HTTPS_PROXY names no proxy that imagegen can use: write it as http://host:port,"
        " or unset it"
    )


@pytest.mark.parametrize("command", ["supervise", "worker"])
def test_a_variable_of_replicates_sdk_that_imagegen_does_not_use_is_no_matter(
    site: Site, command: str
) -> None:
    site.settings["REPLICATE_POLL_INTERVAL"] = "often"

    with site.program(command) as program:
        program.wait_for_event("worker.started")


def test_folders_of_certificates_may_be_several(site: Site, tmp_path: Path) -> None:
    site.settings["SSL_CERT_DIR"] = f"{tmp_path}:{tmp_path}"

    with site.program("worker") as program:
        program.wait_for_event("worker.started")


@pytest.mark.direct
@pytest.mark.parametrize("command", ["supervise", "worker"])
def test_a_role_that_may_only_read_is_reported_with_the_grants_that_it_lacks(
    site: Site, command: str
) -> None:
    role = f"reader_{uuid.uuid4().hex}"
    site.query(f"CREATE ROLE {role} LOGIN PASSWORD '{CANARY}'")
    site.query(f"GRANT SELECT ON ALL TABLES IN SCHEMA public TO {role}")
    site.log_in_as(role, CANARY)

    assert refused(site, command=command, code=1) == (
        f"imagegen: {role} may not UPDATE on tokens_s0;"
        f" {role} may not INSERT, UPDATE on generations;"
        f" {role} may not INSERT, UPDATE on imagegen_servers;"
        f" {role} may not INSERT, UPDATE on imagegen_duplicates;"
        f" {role} may not INSERT on imagegen_audits:"
        f" GRANT UPDATE ON tokens_s0 TO {role};"
        f" GRANT INSERT, UPDATE ON generations TO {role};"
        f" GRANT INSERT, UPDATE ON imagegen_servers TO {role};"
        f" GRANT INSERT, UPDATE ON imagegen_duplicates TO {role};"
        f" GRANT INSERT ON imagegen_audits TO {role};"
    )


@pytest.mark.direct
def test_a_role_that_may_not_even_read_the_revision_gets_all_grants(site: Site) -> None:
    role = f"nobody_{uuid.uuid4().hex}"
    site.query(f"CREATE ROLE {role} LOGIN PASSWORD '{CANARY}'")
    site.log_in_as(role, CANARY)

    assert refused(site, code=1).endswith(
        f"GRANT SELECT ON imagegen_alembic_version TO {role};"
        f" GRANT SELECT, UPDATE ON tokens_s0 TO {role};"
        f" GRANT SELECT ON authors TO {role};"
        f" GRANT SELECT, INSERT, UPDATE ON generations TO {role};"
        f" GRANT SELECT, INSERT, UPDATE ON imagegen_servers TO {role};"
        f" GRANT SELECT, INSERT, UPDATE ON imagegen_duplicates TO {role};"
        f" GRANT SELECT, INSERT ON imagegen_audits TO {role};"
        f" GRANT SELECT ON imagegen_acts TO {role};"
    )
    doctor = site.run("doctor").stdout
    assert f"wrong    permissions  {role} may not SELECT on authors" in doctor
    assert "wrong    migrations   the revision cannot be read" in doctor


@pytest.mark.parametrize("command", [("supervise",), ("db", "check")])
def test_a_database_that_is_too_new_is_reported_with_the_fix(
    site: Site, command: tuple[str, ...]
) -> None:
    site.query("UPDATE imagegen_alembic_version SET version_num = '0099'")

    done = site.run(*command)

    assert done.returncode == 1
    assert done.stderr == (
        f"imagegen: the database is at revision 0099, imagegen needs {newest_revision()}:"
        " install the imagegen that it belongs to\n"
    )


def test_an_impossible_metrics_host_is_reported_with_the_fix(site: Site) -> None:
    message = refused(site, "--metrics-host", "a" * 70, code=1)

    assert message.endswith(
        "no host has such a name: name an address of this host in --metrics-host"
        " (IMAGEGEN_METRICS_HOST)"
    )


def test_a_metrics_port_in_use_is_reported_with_the_fix(site: Site) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]

        message = refused(site, "--metrics-port", str(port), code=1)

    assert f"cannot serve metrics on 127.0.0.1:{port}: Address already in use" in message
    assert "--metrics-port" in message


@pytest.mark.direct
def test_secrets_stay_out_of_the_log_and_the_metrics_while_everything_fails(
    site: Site, sandbox: Sandbox
) -> None:
    user = f"canary_{uuid.uuid4().hex}"
    site.query(f"CREATE ROLE {user} LOGIN SUPERUSER PASSWORD '{CANARY}'")
    site.log_in_as(user, CANARY)
    site.settings |= {"REPLICATE_API_TOKEN": f"{CANARY}-token", "IMAGEGEN_LOG_LEVEL": "debug"}
    site.mint("a picture", None)

    with site.supervisor() as program:
        program.wait_for_event("gate.closed")
        sandbox.stop()
        wait_for(
            "the provider to be unreachable",
            lambda: [e for e in program.events("token.refused") if e["reason"] == "unreachable"],
        )
        site.query(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid()"
            " AND datname = current_database()"
        )
        metrics = str(program.metrics())
        program.stop()
        log = program.log.read_text()

    config = site.run("config").stdout
    errors = str(site.query("SELECT generation_error, error_message FROM tokens_s0, generations"))
    assert CANARY not in log + metrics + config + errors
