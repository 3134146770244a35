"""deploy/kubernetes/: times, labels and rights of the pods, and what operators read of them."""

import subprocess
import tomllib
from typing import Any

import pytest
import yaml

from imagegen.supervisor import child, supervisor
from tests.support.deploy_files import (
    DEFAULTS,
    DEPLOY,
    DOCKERFILE,
    LONGEST_STOP_SECONDS,
    RULES,
    TOP,
    documents,
)

KUBERNETES = DEPLOY / "kubernetes"


@pytest.fixture(scope="module")
def manifests() -> dict[str, dict[str, Any]]:
    """By kind, and those of what runs at a time by their name."""
    found = [each for path in sorted(KUBERNETES.glob("*.yaml")) for each in documents(path)]
    by_name = {
        each["metadata"]["name"] if each["kind"] == "CronJob" else each["kind"]: each
        for each in found
    }
    assert len(by_name) == len(found)
    return by_name


def pod_of(manifest: dict[str, Any]) -> dict[str, Any]:
    spec = manifest["spec"]
    return dict(spec.get("jobTemplate", manifest)["spec"]["template"]["spec"])


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


def test_nobody_but_prometheus_reaches_the_pods(manifests: dict[str, dict[str, Any]]) -> None:
    policy = manifests["NetworkPolicy"]["spec"]
    ports = pod_of(manifests["Deployment"])["containers"][0]["ports"]

    assert policy["podSelector"]["matchLabels"] == labels_of(manifests["Deployment"])
    assert policy["policyTypes"] == ["Ingress"]
    (let_in,) = policy["ingress"]
    assert let_in["ports"] == [{"port": ports[0]["name"], "protocol": "TCP"}]
    assert [list(source) for source in let_in["from"]] == [["namespaceSelector"]]


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


def test_nothing_is_pruned_until_somebody_says_so(manifests: dict[str, dict[str, Any]]) -> None:
    assert manifests["imagegen-prune"]["spec"]["suspend"] is True


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


@pytest.mark.parametrize("kind", ["Deployment", "Job", "imagegen-audit", "imagegen-prune"])
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
