"""deploy/kubernetes/: times, labels and rights of the pods, and what operators read of them."""

import os
import re
import shutil
import signal
import subprocess
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

from imagegen.supervisor import child, supervisor
from tests.support.deploy_files import (
    DEFAULTS,
    DEPLOY,
    DOCKERFILE,
    LONGEST_STOP_SECONDS,
    README,
    RULES,
    TOP,
    documents,
)
from tests.support.processes import wait_for

KUBERNETES = DEPLOY / "kubernetes"
# Measured (PSS): two workers and the exporter, and what 20 slots that keep images of 45 MB add.
AT_REST_MIB, KEEPING_IMAGES_MIB = 90, 63


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


def test_kubernetes_stops_a_pod_at_once_that_still_waits_for_its_schema(
    manifests: dict[str, dict[str, Any]], tmp_path: Path
) -> None:
    [container] = pod_of(manifests["Deployment"])["initContainers"]
    started = tmp_path / "started"
    slow = tmp_path / "imagegen"
    slow.write_text(f"#!/bin/sh\ntouch {started}\nexec sleep 30\n", encoding="utf-8")
    slow.chmod(0o755)
    path = f"{tmp_path}{os.pathsep}{os.environ['PATH']}"
    with subprocess.Popen(
        container["command"], env={"PATH": path}, start_new_session=True
    ) as shell:
        try:
            wait_for("imagegen db check", started.exists)
            shell.terminate()

            assert shell.wait(5) == 128 + signal.SIGTERM
        finally:
            os.killpg(shell.pid, signal.SIGKILL)


def test_kubernetes_has_memory_for_all_slots_that_keep_large_images(
    manifests: dict[str, dict[str, Any]],
) -> None:
    memory = pod_of(manifests["Deployment"])["containers"][0]["resources"]
    asked, most = (
        int(memory[each]["memory"].removesuffix("Mi")) for each in ("requests", "limits")
    )

    assert asked > AT_REST_MIB + KEEPING_IMAGES_MIB
    assert most > 2 * asked


def test_an_env_file_of_a_vm_does_not_move_what_the_probes_ask(
    manifests: dict[str, dict[str, Any]],
) -> None:
    container = pod_of(manifests["Deployment"])["containers"][0]
    own = {each["name"]: each["value"] for each in container["env"]}

    assert own == {
        "IMAGEGEN_METRICS_HOST": "::",
        "IMAGEGEN_METRICS_PORT": str(container["ports"][0]["containerPort"]),
    }


@pytest.mark.skipif(not shutil.which("kubectl"), reason="kubectl is not installed")
def test_images_are_kept_on_a_volume_that_all_pods_share(tmp_path: Path) -> None:
    copy = shutil.copytree(KUBERNETES, tmp_path / "kubernetes")
    kustomization = copy / "kustomization.yaml"
    text = kustomization.read_text(encoding="utf-8")
    asked = re.sub("^#components:", "components:", text, flags=re.MULTILINE)
    kustomization.write_text(asked, encoding="utf-8")

    made = subprocess.run(["kubectl", "kustomize", copy], capture_output=True, check=True)

    by_kind = {each["kind"]: each for each in yaml.safe_load_all(made.stdout)}
    pod = pod_of(by_kind["Deployment"])
    [container] = pod["containers"]
    settings = {each["name"]: each["value"] for each in container["env"]}
    mounted = {each["mountPath"]: each["name"] for each in container["volumeMounts"]}
    claims = {each["name"]: each.get("persistentVolumeClaim") for each in pod["volumes"]}
    volume = claims[mounted[settings["IMAGEGEN_KEEP_IMAGES"]]]
    assert volume == {"claimName": by_kind["PersistentVolumeClaim"]["metadata"]["name"]}
    assert by_kind["PersistentVolumeClaim"]["spec"]["accessModes"] == ["ReadWriteMany"]
    assert pod["securityContext"]["fsGroup"] == pod["securityContext"]["runAsGroup"]
    assert {"IMAGEGEN_METRICS_HOST", "/tmp"} <= settings.keys() | mounted.keys()


def test_the_guide_says_how_a_changed_secret_reaches_the_pods() -> None:
    assert "kubectl rollout restart deployment/imagegen" in README


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
