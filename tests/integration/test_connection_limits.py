"""PostgreSQL may admit too few connections: that is reported, and probes still have theirs."""

import json
import uuid
from dataclasses import replace

import psycopg
import pytest

from tests.support.judge import judge
from tests.support.processes import Site
from tests.support.sandbox import Sandbox

pytestmark = pytest.mark.direct

PASSWORD = "a-role-of-its-own"
TOKENS = 20
LIMIT = 6
NEEDED = 11
MESSAGE = f"{NEEDED} connections are needed, and PostgreSQL admits {LIMIT}"


def as_role(site: Site, limit: int) -> tuple[Site, str]:
    """Return a site whose role may have `limit` connections, and the role."""
    role = f"role_{uuid.uuid4().hex}"
    site.query(f"CREATE ROLE {role} LOGIN PASSWORD '{PASSWORD}' CONNECTION LIMIT {limit}")
    site.query(f"GRANT ALL ON ALL TABLES IN SCHEMA public TO {role}")
    limited = replace(site)
    limited.log_in_as(role, PASSWORD)
    return limited, role


def finding(site: Site) -> dict[str, str]:
    found: list[dict[str, str]] = json.loads(site.run("doctor", "--json").stdout)["findings"]
    [connections] = [each for each in found if each["check"] == "connections"]
    return connections


def test_the_start_and_the_doctor_say_how_many_are_missing_and_probes_have_theirs(
    site: Site, sandbox: Sandbox
) -> None:
    limited, role = as_role(site, LIMIT)
    fix = f"ALTER ROLE {role} CONNECTION LIMIT 13; or lower IMAGEGEN_PROCS"
    said = finding(limited)
    assert (said["level"], said["said"], said["mend"]) == ("warning", MESSAGE, fix)
    with limited.supervisor() as program:
        site.mint(*(f"picture {n}" for n in range(TOKENS)))
        while "detected" in site.statuses():
            assert program.readiness() == (200, "ok\n")
        assert site.wait_until_done() == {"uploading": TOKENS}
        [warning] = program.events("database.connections.few")

    assert (warning["level"], warning["drawback"], warning["mend"]) == ("warning", MESSAGE, fix)
    judge(site, sandbox)


def test_enough_connections_are_no_warning(site: Site) -> None:
    limited, _ = as_role(site, NEEDED)

    assert finding(limited)["said"] == f"PostgreSQL admits the {NEEDED} that are needed"


def test_the_limits_of_the_database_and_the_server_count_too(site: Site) -> None:
    limited, _ = as_role(site, -1)
    limits = "SELECT current_database(), current_setting('max_connections')::integer"
    ((name, most),) = site.query(limits)
    site.query(f"ALTER DATABASE {name} CONNECTION LIMIT {LIMIT}")
    said = finding(limited)
    assert (said["said"], said["mend"].partition(";")[0]) == (
        MESSAGE, f"ALTER DATABASE {name} CONNECTION LIMIT 13",
    )  # fmt: skip
    site.query(f"ALTER DATABASE {name} CONNECTION LIMIT -1")
    limited.settings["IMAGEGEN_PROCS"] = "64"
    reserved = 3

    said = finding(limited)
    assert said["said"] == f"321 connections are needed, and PostgreSQL admits {most - reserved}"
    assert "max_connections" in said["mend"]


def test_a_superuser_has_the_servers_limit_alone(site: Site) -> None:
    with psycopg.connect(site.database_url, autocommit=True) as connection:
        name = connection.info.dbname
        connection.execute(f"ALTER DATABASE {name} CONNECTION LIMIT {LIMIT}")

    assert finding(site)["level"] == "ok"
