"""The chart installs what the overlays install. Other tests of manifests take its output, too."""

from __future__ import annotations

import copy
import re
import subprocess
from pathlib import Path

import pytest
import yaml

import assay
from deploy.manifests import (
    CHART,
    HELM,
    KUBERNETES,
    RELEASES,
    Manifest,
    containers,
    helm_template,
    named,
    of_kind,
    pod_of,
    rendered,
    workloads,
)

pytestmark = pytest.mark.skipif(
    HELM is None, reason="helm is not here: the chart is not rendered, compared or validated"
)

OF_HELM = {
    "app.kubernetes.io/instance",
    "app.kubernetes.io/managed-by",
    "app.kubernetes.io/part-of",
    "helm.sh/chart",
}
EXAMPLES = KUBERNETES / "examples"


def comparable(objects: list[Manifest]) -> dict[tuple[str, str], Manifest]:
    """The objects by kind and name, without what each of the two programs does in its own way."""
    found = {}
    for item in copy.deepcopy(objects):
        if item["kind"] == "Namespace":  # helm install --create-namespace
            continue
        meta = item["metadata"]
        meta["name"] = re.sub(r"^(assay-config)-\w+$|^(assay-migrate)-1$", r"\1\2", meta["name"])
        for label in OF_HELM & meta.get("labels", {}).keys():
            del meta["labels"][label]
        if not meta.get("labels", True):
            del meta["labels"]
        for workload in workloads([item]):
            template = workload["spec"]["template"]
            template["metadata"].pop("annotations", None)
            for volume in template["spec"].get("volumes", []):
                if "configMap" in volume:
                    volume["configMap"]["name"] = "assay-config"
        found[item["kind"], meta["name"]] = item
    return found


@pytest.mark.parametrize(
    ("release", "overlay"),
    [("helm", "hpa-prometheus-adapter"), ("helm-keda", "keda"), ("helm-dev", "dev")],
)
def test_a_release_is_an_overlay(release: str, overlay: str):
    """Object by object and member by member, but for labels of Helm, a hash and the namespace."""
    ours, theirs = comparable(rendered(release)), comparable(rendered(overlay))
    assert ours.keys() == theirs.keys()
    for key, item in ours.items():
        assert item == theirs[key], key


@pytest.mark.parametrize(("gateway", "file"), [("ingress", "ingress"), ("httpRoute", "http-route")])
def test_a_gateway_is_the_example(gateway: str, file: str):
    """With the example's own host and gateway, the chart makes the example."""
    objects = yaml.safe_load_all((EXAMPLES / f"{file}.yaml").read_text())
    made = helm_template("--namespace=assay", f"--set=gateway={gateway}").stdout
    release = comparable(list(yaml.safe_load_all(made)))
    for key, item in comparable(list(objects)).items():
        assert release[key] == item


def test_values_reach_the_objects():
    """Each value is where it belongs, and nothing speaks of the default namespace."""
    objects = rendered("helm-other")
    assert {item["metadata"]["namespace"] for item in objects} == {"other"}
    assert 'namespace="assay"' not in str(objects)
    assert 'namespace="other"' in str(of_kind(objects, "ScaledObject"))
    for workload in workloads(objects):
        pod, (container,) = pod_of(workload), containers(pod_of(workload))
        assert container["image"] == f"registry.example:5000/team/assay:{assay.__version__}"
        assert pod["imagePullSecrets"] == [{"name": "registry"}]
        assert pod["nodeSelector"] == {"kubernetes.io/arch": "arm64"}
        assert pod["priorityClassName"] == "important"
        assert pod["tolerations"] == [{"key": "judges", "operator": "Exists"}]
        assert {"name": "HTTPS_PROXY", "value": "http://proxy.example:3128"} in container["env"]
        assert "/etc/ssl/own" in {mount["mountPath"] for mount in container["volumeMounts"]}
        secrets = {v["secret"]["secretName"] for v in pod["volumes"] if "secret" in v}
        assert "my-records" in secrets
        template = workload["spec"]["template"]["metadata"]
        assert template["labels"]["azure.workload.identity/use"] == "true"
        assert template["annotations"]["example.com/team"] == "evals"
    api = named(objects, "Deployment", "assay-api")
    resources = pod_of(api)["containers"][0]["resources"]
    assert (resources["requests"]["cpu"], resources["limits"]["cpu"]) == ("2", "3")
    scaler = named(objects, "ScaledObject", "assay-api")["spec"]
    assert (scaler["minReplicaCount"], scaler["maxReplicaCount"]) == (3, 12)
    for account in of_kind(objects, "ServiceAccount"):
        assert account["metadata"]["annotations"].keys() == {"eks.amazonaws.com/role-arn"}
    (route,) = of_kind(objects, "HTTPRoute")
    assert route["spec"]["hostnames"] == ["judge.example"]
    assert route["spec"]["parentRefs"] == [{"name": "shared", "namespace": "gateways"}]


def test_parts_can_be_left_out():
    """Without an operator and without policies, nothing of theirs is there."""
    options = ("--set=monitoring=false", "--set=networkPolicies=false")
    kinds = {item["kind"] for item in yaml.safe_load_all(helm_template(*options).stdout)}
    assert not kinds & {"PodMonitor", "PrometheusRule", "NetworkPolicy"}
    assert {"Deployment", "HorizontalPodAutoscaler", "PodDisruptionBudget"} <= kinds


def test_a_collector_is_there_on_demand_and_the_pods_know_it():
    """It has its own image, and Assay's pods the address of its service."""
    objects = list(yaml.safe_load_all(helm_template("--set=otelCollector=true").stdout))
    collector = named(objects, "Deployment", "assay-otel-collector")
    assert pod_of(collector)["containers"][0]["image"].startswith("otel/")
    port = named(objects, "Service", "assay-otel-collector")["spec"]["ports"][0]["port"]
    endpoint = {
        "name": "OTEL_EXPORTER_OTLP_ENDPOINT",
        "value": f"http://assay-otel-collector:{port}",
    }
    for name in ("assay-api", "assay-worker"):
        assert endpoint in pod_of(named(objects, "Deployment", name))["containers"][0]["env"]
    plain = yaml.safe_load_all(helm_template().stdout)
    assert not [item for item in plain if "otel" in item["metadata"]["name"]]


@pytest.mark.parametrize(
    ("option", "complaint"),
    [
        ("--set=autoscaller=keda", "additional properties 'autoscaller' not allowed"),
        ("--set=autoscaler=vpa", "value must be one of 'hpa', 'keda', 'none'"),
        ("--set=image.tag=latest", "/image/tag"),
        ("--set=api.pods_min=0", "/api/pods_min"),
        ("--set=api.pods_max=50", "pods_max must be at least api.pods_max + worker.pods_max = 60"),
    ],
)
def test_bad_values_are_refused(option: str, complaint: str):
    """Nothing is rendered, and the message names the value."""
    result = helm_template(option)
    assert result.returncode != 0
    assert not result.stdout
    assert complaint in result.stderr


def test_the_chart_is_packaged_whole(tmp_path: Path):
    """The package holds copies of what the chart links to, and renders the same."""
    helm = str(HELM)
    command = [helm, "package", str(CHART), f"--destination={tmp_path}"]
    subprocess.run(command, check=True, capture_output=True)
    (package,) = tmp_path.iterdir()
    assert package.name == f"assay-{assay.__version__}.tgz"
    command = [helm, "template", "assay", str(package), *RELEASES["helm"]]
    unpacked = subprocess.run(command, check=True, capture_output=True, text=True)
    assert list(yaml.safe_load_all(unpacked.stdout)) == rendered("helm")


def test_the_chart_has_no_faults_of_form():
    """helm's own linter finds nothing, with its strictest settings."""
    command = [str(HELM), "lint", "--strict", str(CHART)]
    result = subprocess.run(command, check=False, capture_output=True, text=True)
    assert result.returncode == 0, result.stdout
