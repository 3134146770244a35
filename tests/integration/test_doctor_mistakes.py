"""`imagegen doctor` names what is wrong, with the fix, whatever else is wrong."""

import json
import socket
import uuid
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any
from urllib.parse import urlsplit

import pytest

from tests.integration.test_migrations import GLISK_SCHEMA
from tests.support.processes import Site
from tests.support.sandbox import Fault, Sandbox

CANARY = "canary-51d7-secret"
# Something that is wrong with a site until the stack is closed.
Mistake = Callable[[Site, Sandbox, ExitStack], None]


def findings(site: Site, code: int) -> list[dict[str, Any]]:
    done = site.run("doctor", "--json")
    assert (done.returncode, done.stderr) == (code, "")
    assert CANARY not in done.stdout
    found: list[dict[str, Any]] = json.loads(done.stdout)["findings"]
    return found


def a_socket(stack: ExitStack, *, listens: bool) -> int:
    """The port of a socket that answers nothing."""
    made = stack.enter_context(socket.socket())
    made.bind(("127.0.0.1", 0))
    if listens:
        made.listen()
    return int(made.getsockname()[1])


def database_down(site: Site, _: Sandbox, stack: ExitStack) -> None:
    site.database_url = f"postgresql://me:{CANARY}@127.0.0.1:{a_socket(stack, listens=False)}/db"


def wrong_password(site: Site, *_: object) -> None:
    site.log_in_as(None, CANARY)


def tls_that_the_server_does_not_speak(site: Site, *_: object) -> None:
    site.database_url = f"{site.database_url.partition('?')[0]}?sslmode=require"


def an_sslmode_that_there_is_not(site: Site, *_: object) -> None:
    site.database_url = f"{site.database_url.partition('?')[0]}?sslmode=always"


def not_migrated(site: Site, *_: object) -> None:
    assert site.run("db", "downgrade", "base").returncode == 0


def an_older_revision(site: Site, *_: object) -> None:
    site.query("UPDATE imagegen_alembic_version SET version_num = '0001'")


def a_newer_revision(site: Site, *_: object) -> None:
    site.query("UPDATE imagegen_alembic_version SET version_num = '9999'")


def a_role_without_update(site: Site, *_: object) -> None:
    role = f"doctor_{uuid.uuid4().hex}"
    site.query(f"CREATE ROLE {role} LOGIN PASSWORD '{CANARY}'")
    site.query(f"GRANT SELECT ON ALL TABLES IN SCHEMA public TO {role}")
    own = "generations, imagegen_servers, imagegen_duplicates, imagegen_audits"
    site.query(f"GRANT INSERT, UPDATE ON {own} TO {role}")
    site.log_in_as(role, CANARY)


def a_column_that_was_dropped(site: Site, *_: object) -> None:
    site.query("ALTER TABLE authors DROP COLUMN prompt_text")


def a_column_of_the_ledger_that_was_dropped(site: Site, *_: object) -> None:
    site.query("ALTER TABLE generations DROP COLUMN image_path")


def a_status_that_is_missing(site: Site, *_: object) -> None:
    assert site.run("db", "downgrade", "base").returncode == 0
    site.query(GLISK_SCHEMA.read_text())
    site.upgrade()
    site.query("ALTER TYPE tokenstatus RENAME VALUE 'UPLOADING' TO 'UPLOADED'")


def a_database_that_is_read_only(site: Site, *_: object) -> None:
    name = urlsplit(site.database_url).path.removeprefix("/")
    site.query(f"ALTER DATABASE {name} SET default_transaction_read_only = on")


def another_clock(site: Site, *_: object) -> None:
    name = urlsplit(site.database_url).path.removeprefix("/")
    site.query(
        """CREATE FUNCTION public.clock_timestamp() RETURNS timestamptz LANGUAGE sql
           AS $$ SELECT pg_catalog.clock_timestamp() + interval '5 min' $$"""
    )
    site.query(f"ALTER DATABASE {name} SET search_path = public, pg_catalog")


def wrong_token(site: Site, *_: object) -> None:
    site.settings["REPLICATE_API_TOKEN"] = CANARY


def replicate_away(_: Site, sandbox: Sandbox, __: ExitStack) -> None:
    sandbox.stop()


def unknown_host(site: Site, *_: object) -> None:
    site.settings["REPLICATE_BASE_URL"] = "https://replicate.invalid"


def no_tls(site: Site, sandbox: Sandbox, _: ExitStack) -> None:
    site.settings["REPLICATE_BASE_URL"] = sandbox.url.replace("http:", "https:")


def no_certificates(site: Site, *_: object) -> None:
    site.settings["SSL_CERT_FILE"] = "/etc/passwd"


def no_folder_of_certificates(site: Site, *_: object) -> None:
    site.settings["SSL_CERT_DIR"] = "/nowhere"


def another_api(_: Site, sandbox: Sandbox, __: ExitStack) -> None:
    sandbox.faults.add(Fault.answers(404, operation=None))


def a_firewall(_: Site, sandbox: Sandbox, __: ExitStack) -> None:
    sandbox.faults.add(Fault.answers_html(403, operation=None))


def unknown_model(_: Site, sandbox: Sandbox, __: ExitStack) -> None:
    sandbox.faults.add(Fault.answers(404, operation="model"))


def unknown_version(site: Site, sandbox: Sandbox, _: ExitStack) -> None:
    site.settings["REPLICATE_MODEL_VERSION"] = f"black-forest-labs/flux-schnell:{'f' * 64}"
    sandbox.faults.add(Fault.answers(404, operation="version"))


def unknown_input(site: Site, *_: object) -> None:
    site.settings["IMAGEGEN_MODEL_INPUT"] = '{"aspect_ration": "1:1"}'


def value_outside_the_choices(site: Site, *_: object) -> None:
    site.settings["IMAGEGEN_MODEL_INPUT"] = '{"aspect_ratio": "7:5"}'


def unknown_marker(site: Site, *_: object) -> None:
    site.settings["IMAGEGEN_MARKER_INPUT"] = "noise"


def metrics_port_taken(site: Site, sandbox: Sandbox, _: ExitStack) -> None:
    site.settings["IMAGEGEN_METRICS_PORT"] = str(sandbox.port)


def unknown_metrics_host(site: Site, *_: object) -> None:
    site.settings["IMAGEGEN_METRICS_HOST"] = "a" * 70


def no_folder_for_images(site: Site, *_: object) -> None:
    site.settings["IMAGEGEN_KEEP_IMAGES"] = str(site.folder / "nowhere")


def tmpdir_not_writable(site: Site, *_: object) -> None:
    site.settings["TMPDIR"] = "/proc"  # root itself can make no file there


MISTAKES: list[tuple[Mistake, str, str, str]] = [
    (database_down, "database", "Connection refused", "start PostgreSQL"),
    (wrong_password, "database", "password authentication failed", "right user and password"),
    (tls_that_the_server_does_not_speak, "database", "does not support SSL", "sslmode=prefer"),
    (an_sslmode_that_there_is_not, "database", "invalid sslmode value", "take another sslmode"),
    (not_migrated, "migrations", "the database is not migrated", "imagegen db upgrade"),
    (an_older_revision, "migrations", "is at revision 0001", "imagegen db upgrade"),
    (a_newer_revision, "migrations", "is at revision 9999", "install the imagegen that"),
    (a_role_without_update, "permissions", " may not UPDATE on tokens_s0", "GRANT UPDATE ON tok"),
    (a_column_that_was_dropped, "tables", "authors lacks the column prompt_text", "undo what"),
    (a_column_of_the_ledger_that_was_dropped, "tables", '"image_path"', "run `imagegen db up"),
    (a_status_that_is_missing, "tables", "of type tokenstatus, lacks uploading", "ADD VALUE"),
    (a_database_that_is_read_only, "database", "default_transaction_read_only", "= off"),
    (another_clock, "clock", "PostgreSQL's clock is 300.0 s ahead of this host's", "NTP"),
    (wrong_token, "credentials", "Replicate refuses the token (HTTP 401)", "REPLICATE_API_TOKEN"),
    (replicate_away, "replicate", "Connection refused", "REPLICATE_BASE_URL"),
    (unknown_host, "replicate", "no address is known of replicate.invalid", "name server"),
    (no_tls, "replicate", "no TLS with 127.0.0.1:", "put the right port into REPLICATE_BASE_URL"),
    (no_certificates, "certificates", "'/etc/passwd', which holds no certificate", "PEM format"),
    (no_folder_of_certificates, "certificates", "SSL_CERT_DIR names '/nowhere'", "unset it"),
    (another_api, "credentials", "not Replicate's API (HTTP 404)", "correct REPLICATE_BASE_URL"),
    (a_firewall, "credentials", "not Replicate's API (HTTP 403)", "let requests pass at what"),
    (unknown_model, "model", "knows no model black-forest-labs/flux-schnell", "REPLICATE_MODEL_V"),
    (unknown_version, "model", "flux-schnell has no version ffff", "REPLICATE_MODEL_VERSION=black"),
    (unknown_input, "inputs", "the model has no input aspect_ration", "aspect_ratio, disable"),
    (value_outside_the_choices, "inputs", "aspect_ratio must be one of 1:1, 16:9", "put it right"),
    (unknown_marker, "inputs", "the model has no input noise", "IMAGEGEN_MARKER_INPUT=seed"),
    (metrics_port_taken, "metrics", "Address already in use", "choose another --metrics-port"),
    (unknown_metrics_host, "metrics", "no host has such a name", "IMAGEGEN_METRICS_HOST"),
    (no_folder_for_images, "settings", "IMAGEGEN_KEEP_IMAGES must be a folder that is", "export"),
    (tmpdir_not_writable, "tmpdir", "TMPDIR, /proc, cannot be written to", "export TMPDIR="),
]  # fmt: skip
# A pooler logs in by itself, and keeps sessions from before.
DIRECT = {wrong_password, tls_that_the_server_does_not_speak, a_role_without_update,
          a_database_that_is_read_only, another_clock}  # fmt: skip


@pytest.mark.parametrize(
    ("mistake", "expected"),
    [
        pytest.param(
            mistake, expected, id=mistake.__name__,
            marks=[pytest.mark.direct] if mistake in DIRECT else [],
        )
        for mistake, *expected in MISTAKES
    ],
)  # fmt: skip
def test_a_mistake_is_named_with_its_fix_and_nothing_else_is_wrong(
    site: Site, sandbox: Sandbox, mistake: Mistake, expected: list[str]
) -> None:
    with ExitStack() as stack:
        mistake(site, sandbox, stack)

        found = findings(site, code=1)

    (wrong,) = [finding for finding in found if finding["level"] == "wrong"]
    check, said, fix = expected
    assert wrong["check"] == check
    assert said in wrong["said"]
    assert fix in wrong["mend"]
    others = {finding["check"] for finding in found}
    assert others >= {"settings", "database", "replicate", "model", "metrics", "tmpdir"}
