"""What deploy/ says of imagegen is true of this imagegen: its settings, its times, its files."""

import configparser
import fnmatch
import re
import shlex
import subprocess
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

from imagegen.config.settings import Settings, Spec, all_settings
from imagegen.errors import CONFIGURATION
from imagegen.supervisor import child, supervisor
from tests.support.settings import load

TOP = Path(__file__).parents[3]
DEPLOY = TOP / "deploy"
KUBERNETES = DEPLOY / "kubernetes"
README = (DEPLOY / "README.md").read_text(encoding="utf-8")
RULES = DEPLOY / "prometheus" / "imagegen.rules.yml"
ENV_EXAMPLE = (DEPLOY / "imagegen.env.example").read_text(encoding="utf-8")
DOCKERFILE = (DEPLOY / "docker" / "Dockerfile").read_text(encoding="utf-8")
PLACEHOLDERS = {
    "DATABASE_URL": "postgresql://imagegen:change-me@localhost:5432/imagegen",
    "REPLICATE_API_TOKEN": "r8_change-me",
}
DEFAULTS = load(PLACEHOLDERS, {})
LONGEST_STOP_SECONDS = DEFAULTS.grace_seconds + supervisor.STOP_MARGIN_SECONDS


def seconds(text: str) -> float:
    assert text.endswith("s")
    return float(text.removesuffix("s"))


def documents(path: Path) -> list[dict[str, Any]]:
    return list(yaml.safe_load_all(path.read_text(encoding="utf-8")))


# imagegen.env.example


def env_lines(spec: Spec[Any]) -> str:
    name, default = spec.variable, spec.default
    value = f"{name}={PLACEHOLDERS[name]}" if name in PLACEHOLDERS else f"#{name}="
    return f"# {spec.help}\n{value}{'' if default is None else shlex.quote(default)}\n"


def sourced(text: str, folder: Path) -> dict[str, str]:
    """The variables that a shell reads from an env file."""
    file = folder / "imagegen.env"
    file.write_text(text, encoding="utf-8")
    script = 'set -eua; . "$1"; env -0'
    shell = subprocess.run(
        ["sh", "-c", script, "sh", str(file)], env={}, capture_output=True, text=True, check=True
    )
    pairs = [pair.partition("=") for pair in shell.stdout.split("\0")]
    ours = {spec.variable for spec in all_settings()}
    return {name: value for name, _, value in pairs if name in ours}


def as_it_stands(text: str) -> dict[str, str]:
    """The variables that Docker and kubectl read from an env file: nothing is a quote to them."""
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    return {name: value for name, _, value in (line.partition("=") for line in lines)}


def test_the_example_lists_every_setting_with_its_default() -> None:
    head, blank, body = ENV_EXAMPLE.partition("\n\n")

    assert all(line.startswith("#") for line in head.splitlines())
    assert blank
    assert body == "\n".join(env_lines(spec) for spec in all_settings())


def test_the_example_means_the_same_to_a_shell_and_to_docker(tmp_path: Path) -> None:
    assert sourced(ENV_EXAMPLE, tmp_path) == as_it_stands(ENV_EXAMPLE) == PLACEHOLDERS


def test_what_the_example_shows_as_a_default_may_be_set(tmp_path: Path) -> None:
    everything = re.sub(r"^#(?=\w+=)", "", ENV_EXAMPLE, flags=re.MULTILINE)
    given = sourced(everything, tmp_path)

    assert len(given) == len(all_settings())
    assert settings_of(load(given, {})) == settings_of(DEFAULTS)


def settings_of(settings: Settings) -> dict[str, object]:
    return {item.name: getattr(settings, item.name) for item in all_settings()}


# systemd


@pytest.fixture(scope="module")
def service() -> configparser.SectionProxy:
    unit = configparser.ConfigParser(interpolation=None, strict=False)
    unit.optionxform = str  # type: ignore[assignment, method-assign]
    unit.read(DEPLOY / "systemd" / "imagegen.service")
    return unit["Service"]


def test_systemd_waits_for_a_stop_longer_than_it_lasts(
    service: configparser.SectionProxy,
) -> None:
    assert service["KillMode"] == "mixed"
    assert seconds(service["TimeoutStopSec"]) > LONGEST_STOP_SECONDS


def test_systemd_starts_imagegen_again_unless_a_setting_is_wrong(
    service: configparser.SectionProxy,
) -> None:
    assert service["Restart"] == "always"
    assert service["RestartPreventExitStatus"] == str(CONFIGURATION)


def test_systemd_loses_patience_only_after_several_signs_of_life_were_missed(
    service: configparser.SectionProxy,
) -> None:
    assert (service["Type"], service["NotifyAccess"]) == ("notify", "main")
    assert seconds(service["WatchdogSec"]) > DEFAULTS.watchdog_seconds


def test_systemd_gives_a_worker_the_time_to_begin_that_the_supervisor_gives(
    service: configparser.SectionProxy,
) -> None:
    assert seconds(service["TimeoutStartSec"]) > supervisor.BOOT_SECONDS


def test_doctor_finds_the_folder_for_copies_before_systemd_has_made_it(
    service: configparser.SectionProxy,
) -> None:
    made = README.index(f"sudo mkdir -p /var/lib/{service['StateDirectory']}\n")

    assert made < README.index("/opt/imagegen/bin/imagegen doctor")


# Docker


def test_what_the_dockerfile_copies_is_there_and_not_ignored() -> None:
    ignored = (TOP / ".dockerignore").read_text(encoding="utf-8").splitlines()
    kept = [line.removeprefix("!") for line in ignored if line.startswith("!")]
    copied = [
        path
        for sources in re.findall(r"^COPY (?!--from)(.+) \S+$", DOCKERFILE, re.MULTILINE)
        for path in sources.split()
    ]

    assert "*" in ignored
    assert copied
    for path in copied:
        assert (TOP / path).exists()
        assert any(fnmatch.fnmatch(path, pattern) for pattern in kept)


def test_the_base_of_the_image_changes_only_when_somebody_names_another() -> None:
    assert re.search(r"^ARG BASE=python:3\.\d+\.\d+-slim-[a-z]+$", DOCKERFILE, re.MULTILINE)


@pytest.fixture(scope="module")
def compose() -> dict[str, Any]:
    return documents(DEPLOY / "docker" / "compose.yaml")[0]


def test_compose_lets_nobody_in_from_outside(compose: dict[str, Any]) -> None:
    ports = [port for service in compose["services"].values() for port in service.get("ports", [])]

    assert ports
    assert all(port.startswith("127.0.0.1:") for port in ports)


def test_compose_migrates_before_imagegen_starts_and_lets_it_stop_gently(
    compose: dict[str, Any],
) -> None:
    imagegen = compose["services"]["imagegen"]

    assert imagegen["depends_on"] == {"migrate": {"condition": "service_completed_successfully"}}
    assert compose["services"]["migrate"]["command"] == ["db", "upgrade"]
    assert seconds(imagegen["stop_grace_period"]) > LONGEST_STOP_SECONDS


def test_compose_shows_imagegen_no_password_but_that_in_its_database_url(
    compose: dict[str, Any],
) -> None:
    services = compose["services"]
    told = {name: service.get("environment", {}) for name, service in services.items()}

    assert services["imagegen"]["env_file"] == "imagegen.env"
    assert {name for name, service in services.items() if "env_file" in service} == {"imagegen"}
    for name in ("imagegen", "migrate"):
        assert [key for key, value in told[name].items() if "PASSWORD" in value] == ["DATABASE_URL"]


# Kubernetes


@pytest.fixture(scope="module")
def manifests() -> dict[str, dict[str, Any]]:
    """By kind."""
    found = [each for path in sorted(KUBERNETES.glob("*.yaml")) for each in documents(path)]
    assert len({each["kind"] for each in found}) == len(found)
    return {each["kind"]: each for each in found}


def pod_of(manifest: dict[str, Any]) -> dict[str, Any]:
    return dict(manifest["spec"]["template"]["spec"])


def labels_of(manifest: dict[str, Any]) -> dict[str, str]:
    return dict(manifest["spec"]["template"]["metadata"]["labels"])


def test_kustomize_takes_every_manifest_and_the_image_of_this_version(
    manifests: dict[str, dict[str, Any]],
) -> None:
    files = {path.name for path in KUBERNETES.glob("*.yaml")} - {"kustomization.yaml"}
    project = tomllib.loads((TOP / "pyproject.toml").read_text(encoding="utf-8"))["project"]

    assert sorted(manifests["Kustomization"]["resources"]) == sorted(files)
    assert manifests["Kustomization"]["images"][0]["newTag"] == project["version"]


def test_kubernetes_waits_for_a_stop_longer_than_it_lasts(
    manifests: dict[str, dict[str, Any]],
) -> None:
    assert pod_of(manifests["Deployment"])["terminationGracePeriodSeconds"] > LONGEST_STOP_SECONDS


def test_pods_are_selected_by_labels_that_the_migration_lacks(
    manifests: dict[str, dict[str, Any]],
) -> None:
    labels = labels_of(manifests["Deployment"])

    for kind in ("Deployment", "PodDisruptionBudget", "PodMonitor"):
        assert manifests[kind]["spec"]["selector"]["matchLabels"] == labels
    assert labels_of(manifests["Job"]) != labels


def test_kubernetes_leaves_a_dead_exporter_to_the_supervisor(
    manifests: dict[str, dict[str, Any]],
) -> None:
    probe = pod_of(manifests["Deployment"])["containers"][0]["livenessProbe"]
    replaced_seconds = (
        DEFAULTS.watchdog_seconds
        + child.STACKS_SECONDS
        + child.MAX_RESTART_DELAY_SECONDS
        + supervisor.BOOT_SECONDS
    )

    assert probe["failureThreshold"] * probe["periodSeconds"] > 2 * replaced_seconds


def test_prometheus_operator_names_the_job_as_the_alerts_do(
    manifests: dict[str, dict[str, Any]],
) -> None:
    (prometheus,) = documents(DEPLOY / "prometheus" / "prometheus.yml")
    monitor = manifests["PodMonitor"]["spec"]

    job = labels_of(manifests["Deployment"])[monitor["jobLabel"]]
    assert job == prometheus["scrape_configs"][0]["job_name"]
    assert f'up{{job="{job}"}} == 0' in RULES.read_text(encoding="utf-8")


def test_prometheus_operator_gets_the_alerts_as_they_are() -> None:
    monitoring = (KUBERNETES / "monitoring.yaml").read_text(encoding="utf-8").splitlines()
    command = "\n".join(line[4:] for line in monitoring if line.startswith("#   "))
    assert command.endswith("| kubectl apply -f -")

    made = subprocess.run(
        ["sh", "-euc", command.replace("kubectl apply -f -", "cat")],
        cwd=TOP,
        capture_output=True,
        check=True,
    )

    rule = yaml.safe_load(made.stdout)
    assert (rule["kind"], rule["metadata"]) == ("PrometheusRule", {"name": "imagegen"})
    assert [rule["spec"]] == documents(RULES)


@pytest.mark.parametrize("kind", ["Deployment", "Job"])
def test_pods_may_do_nothing_that_imagegen_does_not_need(
    manifests: dict[str, dict[str, Any]], kind: str
) -> None:
    pod = pod_of(manifests[kind])
    user = pod["securityContext"]

    assert user["runAsNonRoot"]
    assert f"USER {user['runAsUser']}:{user['runAsGroup']}\n" in DOCKERFILE
    for container in [*pod.get("initContainers", []), *pod["containers"]]:
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }


def test_all_the_pods_that_keda_may_start_keep_to_what_the_account_allows(
    manifests: dict[str, dict[str, Any]],
) -> None:
    literals = manifests["Kustomization"]["configMapGenerator"][0]["literals"]
    share = dict(literal.split("=") for literal in literals)
    most = manifests["ScaledObject"]["spec"]["maxReplicaCount"]

    assert int(share["IMAGEGEN_CREATE_RATE"]) * most <= DEFAULTS.create_rate
    assert int(share["IMAGEGEN_POLL_BUDGET"]) * most <= DEFAULTS.poll_budget


def test_keda_counts_with_as_many_slots_as_a_pod_has(
    manifests: dict[str, dict[str, Any]],
) -> None:
    arguments = pod_of(manifests["Deployment"])["containers"][0]["args"]
    procs = int(arguments[arguments.index("--procs") + 1])
    trigger = manifests["ScaledObject"]["spec"]["triggers"][0]

    assert trigger["metadata"]["targetQueryValue"] == str(procs * DEFAULTS.slots)
