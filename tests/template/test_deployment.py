"""What is deployed follows the consumption, and keeps what Kubernetes and Prometheus ask for."""

from __future__ import annotations

import copy
import json
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import tools
import yaml
from generated import Render

BIN = Path(sys.executable).parent
VERSION = "1.33"  # of Kubernetes' schemas
CONSUMPTIONS = ["batch", "online", "both"]
ENVIRONMENTS = ["dev", "stage", "prod"]
SERVING = {
    "Deployment",
    "Service",
    "HorizontalPodAutoscaler",
    "PodDisruptionBudget",
    "NetworkPolicy",
}
BATCH = {"CronJob", "PersistentVolumeClaim"}
KINDS = {"online": SERVING, "batch": BATCH, "both": SERVING | BATCH}
LONG = "a2-b_c" + "x" * 44  # the longest name that a project may have
PROMTOOL = shutil.which("promtool")

kustomized = pytest.mark.skipif(
    not tools.kubectl(), reason="building manifests needs kubectl or npm"
)


@pytest.fixture(params=CONSUMPTIONS)
def consumption(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def project(render: Render, consumption: str) -> Path:
    return render({"project_name": "demo", "consumption": consumption})


def build(project: Path, environment: str) -> list[dict[str, Any]]:
    """An environment's manifests, as kubectl would apply them."""
    overlay = project / "deployment/k8s/overlays" / environment
    command = [tools.kubectl(), "kustomize", str(overlay)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return list(yaml.safe_load_all(done.stdout))


def validate(manifests: list[dict[str, Any]], folder: Path) -> str:
    """What the published schemas have against manifests, "" if nothing."""
    path = folder / "manifests.yaml"
    path.write_text(yaml.safe_dump_all(manifests), encoding="utf-8")
    command = [BIN / "kubernetes-validate", "--strict", "--quiet", "-k", VERSION, path]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return "" if done.returncode == 0 else done.stdout + done.stderr


def pods(manifests: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    for manifest in manifests:
        spec = manifest["spec"].get("jobTemplate", manifest)["spec"]
        if "template" in spec:
            yield spec["template"]["spec"]


def breaches(pod: dict[str, Any]) -> list[str]:
    """What the profile "restricted" of the pod security standards has against a pod.

    https://kubernetes.io/docs/concepts/security/pod-security-standards/#restricted
    """
    found = []
    security = pod.get("securityContext", {})
    if not security.get("runAsNonRoot") or security.get("runAsUser") == 0:
        found.append("runs as root")
    if security.get("seccompProfile", {}).get("type") not in {"RuntimeDefault", "Localhost"}:
        found.append("seccomp")
    if any(pod.get(name) for name in ("hostNetwork", "hostPID", "hostIPC")):
        found.append("host namespaces")
    known = {"configMap", "csi", "downwardAPI", "emptyDir", "ephemeral", "persistentVolumeClaim"}
    found += [
        "volumes" for volume in pod.get("volumes", []) if not volume.keys() - {"name"} <= known
    ]
    for container in [*pod["containers"], *pod.get("initContainers", [])]:
        own = container.get("securityContext", {})
        if own.get("allowPrivilegeEscalation") is not False or own.get("privileged"):
            found.append("privilege escalation")
        if own.get("capabilities", {}).get("drop") != ["ALL"] or own["capabilities"].get("add"):
            found.append("capabilities")
    return found


# Kubernetes


@kustomized
@pytest.mark.parametrize("environment", ENVIRONMENTS)
def test_manifests_keep_the_published_schemas(
    project: Path, consumption: str, environment: str, tmp_path: Path
) -> None:
    manifests = build(project, environment)
    assert {manifest["kind"] for manifest in manifests} == KINDS[consumption]
    assert {manifest["metadata"]["namespace"] for manifest in manifests} == {f"demo-{environment}"}
    assert validate(manifests, tmp_path) == ""


@kustomized
def test_a_typo_in_a_manifest_is_noticed(render: Render, tmp_path: Path) -> None:
    manifests = build(render({"project_name": "demo"}), "prod")
    [pod, _] = pods(manifests)
    pod["containers"][0]["readinesProbe"] = pod["containers"][0].pop("readinessProbe")
    assert "readinesProbe" in validate(manifests, tmp_path)


@kustomized
def test_pods_are_restricted(project: Path) -> None:
    for pod in pods(build(project, "prod")):
        assert breaches(pod) == []
        assert pod["automountServiceAccountToken"] is False
        for container in pod["containers"]:
            assert container["securityContext"]["readOnlyRootFilesystem"] is True
            assert {*container["resources"]["requests"], *container["resources"]["limits"]} == {
                "cpu",
                "memory",
            }
            assert {"name": "tmp", "mountPath": "/tmp"} in container["volumeMounts"]


@kustomized
@pytest.mark.parametrize(
    ("path", "value", "breach"),
    [
        (["securityContext", "runAsNonRoot"], False, "runs as root"),
        (["securityContext", "seccompProfile"], {"type": "Unconfined"}, "seccomp"),
        (
            ["containers", 0, "securityContext", "allowPrivilegeEscalation"],
            True,
            "privilege escalation",
        ),
        (
            ["containers", 0, "securityContext", "capabilities"],
            {"drop": ["NET_RAW"]},
            "capabilities",
        ),
        (["volumes", 0], {"name": "tmp", "hostPath": {"path": "/"}}, "volumes"),
        (["hostNetwork"], True, "host namespaces"),
    ],
)
def test_a_pod_that_is_not_restricted_is_noticed(
    render: Render, path: list[Any], value: Any, breach: str
) -> None:
    for pod in pods(build(render({"project_name": "demo"}), "prod")):
        broken = copy.deepcopy(pod)
        place: Any = broken
        for key in path[:-1]:
            place = place[key]
        place[path[-1]] = value
        assert breaches(broken) == [breach]


@kustomized
def test_serving_is_probed_spread_and_scaled(render: Render) -> None:
    project = render({"project_name": "demo", "consumption": "online"})
    manifests = {manifest["kind"]: manifest for manifest in build(project, "prod")}
    [pod] = pods(list(manifests.values()))
    [container] = pod["containers"]
    probes = {
        name: container[f"{name}Probe"]["httpGet"]["path"]
        for name in ("startup", "readiness", "liveness")
    }
    assert probes == {"startup": "/health", "readiness": "/ready", "liveness": "/health"}
    assert pod["terminationGracePeriodSeconds"] > 7 + 20, "it drains, then finishes what has begun"
    assert pod["topologySpreadConstraints"][0]["topologyKey"] == "kubernetes.io/hostname"
    scaler = manifests["HorizontalPodAutoscaler"]["spec"]
    assert scaler["scaleTargetRef"]["name"] == manifests["Deployment"]["metadata"]["name"]
    assert 2 <= scaler["minReplicas"] < scaler["maxReplicas"]
    assert "replicas" not in manifests["Deployment"]["spec"], "the autoscaler says how many"


@kustomized
def test_pods_name_the_commit_that_they_came_from(project: Path, tmp_path: Path) -> None:
    """As `deploy` puts it and `deploy --changed` reads it: of the pods, not of what makes them."""
    overlay = shutil.copytree(project / "deployment/k8s", tmp_path / "k8s") / "overlays/prod"
    path = overlay / "kustomization.yaml"
    content = yaml.safe_load(path.read_text(encoding="utf-8"))
    content["commonAnnotations"] = {"commit": "3f2a91c"}
    path.write_text(yaml.safe_dump(content), encoding="utf-8")
    done = subprocess.run(
        [tools.kubectl(), "kustomize", str(overlay)], capture_output=True, text=True, check=True
    )
    manifests = list(yaml.safe_load_all(done.stdout))
    templates = [m["spec"].get("jobTemplate", m)["spec"].get("template") for m in manifests]
    named = [template["metadata"]["annotations"]["commit"] for template in templates if template]
    assert named == ["3f2a91c"] * len(list(pods(manifests)))
    assert named


@kustomized
def test_selectors_find_the_pods_that_serve_and_no_others(render: Render) -> None:
    manifests = {m["kind"]: m["spec"] for m in build(render({"project_name": "demo"}), "prod")}
    serving = manifests["Deployment"]["template"]["metadata"]["labels"]
    batch = manifests["CronJob"]["jobTemplate"]["spec"]["template"]["metadata"]["labels"]
    for selector in (
        manifests["Deployment"]["selector"]["matchLabels"],
        manifests["Service"]["selector"],
        manifests["PodDisruptionBudget"]["selector"]["matchLabels"],
        manifests["NetworkPolicy"]["podSelector"]["matchLabels"],
    ):
        assert selector.items() <= serving.items()
        assert not selector.items() <= batch.items()


@kustomized
def test_names_fit_into_kubernetes(render: Render) -> None:
    for manifest in build(render({"project_name": LONG}), "stage"):
        name, space = manifest["metadata"]["name"], manifest["metadata"]["namespace"]
        assert re.fullmatch(r"[a-z0-9]([a-z0-9-]*[a-z0-9])?", name)
        assert len(name) <= (52 if manifest["kind"] == "CronJob" else 63)
        assert len(space) <= 63


@kustomized
def test_deploy_names_the_image_without_an_edit(render: Render, tmp_path: Path) -> None:
    """What the project's command writes: an overlay's overlay, in a folder elsewhere."""
    project = render({"project_name": "demo"})
    overlay = tmp_path / "deployment/k8s/overlays/prod"
    shutil.copytree(project / "deployment/k8s", tmp_path / "project/k8s")
    overlay.mkdir(parents=True)
    images = [{"name": "app", "newName": "localhost:5000/team/app", "newTag": "8c21f0-abc"}]
    content = {"resources": ["../../../../project/k8s/overlays/prod"], "images": images}
    (overlay / "kustomization.yaml").write_text(json.dumps(content))
    for pod in pods(build(tmp_path, "prod")):
        assert pod["containers"][0]["image"] == "localhost:5000/team/app:8c21f0-abc"


# Compose and Prometheus


def compose(project: Path) -> dict[str, Any]:
    path = project / "deployment/compose.yaml"
    return dict(yaml.safe_load(path.read_text(encoding="utf-8")))


def test_compose_keeps_the_specification(project: Path) -> None:
    check = [BIN / "check-jsonschema", "--builtin-schema", "vendor.compose-spec"]
    command = [*check, project / "deployment/compose.yaml"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_compose_closes_what_it_runs(project: Path, consumption: str) -> None:
    services = compose(project)["services"]
    assert services.keys() == ({"app"} if consumption == "batch" else {"app", "prometheus"})
    for service in services.values():
        assert service["read_only"] is True
        assert service["cap_drop"] == ["ALL"]
        assert service["security_opt"] == ["no-new-privileges:true"]
        assert all(port.startswith("127.0.0.1:") for port in service.get("ports", []))
        assert (
            re.search(r":v\d+\.\d+\.\d+$", service["image"])
            if "image" in service
            else service["build"]
        )


def test_runbook_has_a_line_for_each_alert(project: Path, consumption: str) -> None:
    runbook = (project / "deployment/RUNBOOK.md").read_text(encoding="utf-8")
    named = set(re.findall(r"^\| ([A-Z]\w+) \|", runbook, re.MULTILINE))
    assert named == (
        set() if consumption == "batch" else {rule["alert"] for rule in rules(project)}
    )


def rules(project: Path) -> list[dict[str, Any]]:
    text = compose(project)["configs"]["rules"]["content"]
    [group] = yaml.safe_load(text)["groups"]
    return list(group["rules"])


def test_a_model_is_old_when_a_round_is_overdue(render: Render) -> None:
    project = render({"project_name": "demo"})
    limits = yaml.safe_load((project / "deployment/monitoring.yaml").read_text(encoding="utf-8"))
    [rule] = [rule for rule in rules(project) if rule["alert"] == "OldModel"]
    assert rule["expr"].endswith(f"> {limits['max_age_days']} * 86400")


# An alert, series that must ring it after an hour, and some that must not.
CASES = [
    ("AppDown", {'up{job="app"}': "0x60"}, {'up{job="app"}': "1x60"}),
    (
        "ServerErrors",
        {
            'http_requests_total{status="200"}': "0+97x60",
            'http_requests_total{status="500"}': "0+3x60",
        },
        {
            'http_requests_total{status="200"}': "0+100x60",
            'http_requests_total{status="422"}': "0+50x60",
        },
    ),
    (
        "SlowPredictions",
        {
            'predict_seconds_bucket{le="0.5"}': "0+90x60",
            'predict_seconds_bucket{le="1"}': "0+100x60",
            'predict_seconds_bucket{le="+Inf"}': "0+100x60",
        },
        {
            'predict_seconds_bucket{le="0.5"}': "0+99x60",
            'predict_seconds_bucket{le="+Inf"}': "0+100x60",
        },
    ),
    (
        "RefusedRows",
        {"predicted_rows_total": "0+90x60", 'refused_rows_total{column="age"}': "0+10x60"},
        {"predicted_rows_total": "0+99x60", 'refused_rows_total{column="age"}': "0+1x60"},
    ),
    (
        "OldModel",
        {"model_promoted_timestamp_seconds": f"{-46 * 86400}x120"},
        {"model_promoted_timestamp_seconds": "0x120"},
    ),
]


def test_every_alert_has_its_cases(render: Render) -> None:
    project = render({"project_name": "demo"})
    assert [rule["alert"] for rule in rules(project)] == [name for name, _, _ in CASES]


@pytest.mark.slow
@pytest.mark.skipif(not PROMTOOL, reason="checking Prometheus' rules needs promtool")
def test_alerts_ring_when_they_should_and_only_then(render: Render, tmp_path: Path) -> None:
    project = render({"project_name": "demo"})
    for name, config in compose(project)["configs"].items():
        text = config["content"].replace("/etc/prometheus/", "")
        (tmp_path / f"{name}.yaml").write_text(text, encoding="utf-8")
    said = {rule["alert"]: rule for rule in rules(project)}
    tests = []
    for name, ringing, quiet in CASES:
        for series, rings in ((ringing, True), (quiet, False)):
            rule = said[name]
            labels = {"job": "app"} if name == "AppDown" else {}
            alert = {"exp_labels": labels | rule["labels"], "exp_annotations": rule["annotations"]}
            tests.append(
                {
                    "interval": "1m",
                    "input_series": [
                        {"series": key, "values": value} for key, value in series.items()
                    ],
                    "alert_rule_test": [
                        {"eval_time": "90m" if name == "OldModel" else "60m", "alertname": name}
                        | {"exp_alerts": [alert] if rings else []}
                    ],
                }
            )
    (tmp_path / "tests.yaml").write_text(
        yaml.safe_dump({"rule_files": ["rules.yaml"], "tests": tests})
    )
    for command in (["check", "config", "scrape.yaml"], ["test", "rules", "tests.yaml"]):
        done = subprocess.run(
            [str(PROMTOOL), *command], cwd=tmp_path, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stdout + done.stderr
