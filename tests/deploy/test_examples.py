"""The examples beside the overlays are valid, and fit the settings and the objects of the base."""

import kubernetes_validate
import pytest
import yaml

from deploy.manifests import KUBERNETES, Manifest, named, of_kind, rendered, settings
from deploy.test_rendered import KUBERNETES_VERSIONS

FILES = sorted((KUBERNETES / "examples").iterdir())
OBJECTS = [item for file in FILES for item in yaml.safe_load_all(file.read_text())]
BASE = rendered("hpa-prometheus-adapter")
NGINX = "nginx.ingress.kubernetes.io/"

every_object = pytest.mark.parametrize("item", OBJECTS, ids=lambda item: item["metadata"]["name"])


@every_object
def test_every_example_is_valid(item: Manifest):
    """Strict schemas take each object that Kubernetes itself knows."""
    assert item["metadata"]["namespace"] == "assay"
    if item["kind"] == "HTTPRoute":
        assert item["apiVersion"] == "gateway.networking.k8s.io/v1"
        return
    for version in KUBERNETES_VERSIONS:
        assert kubernetes_validate.validate(item, version, strict=True) == version


@pytest.mark.parametrize("kind", ["Ingress", "HTTPRoute"])
def test_gateways_lead_to_the_service(kind: str):
    """Each backend is the service of the API, at a port that it has."""
    (port,) = named(BASE, "Service", "assay")["spec"]["ports"]
    for item in of_kind(OBJECTS, kind):
        for backend in backends(item):
            assert backend in (
                {"name": "assay", "port": {"name": port["name"]}},
                {"name": "assay", "port": port["port"]},
            )


def test_gateways_wait_longer_than_assay_and_take_its_largest_body():
    """Otherwise callers get a 504 or a 413 of the gateway, which no problem document explains."""
    server = settings(BASE)["server"]
    longest_s = server["body_timeout_s"] + server["request_timeout_ms"] / 1000
    plain, batches = (item["metadata"]["annotations"] for item in of_kind(OBJECTS, "Ingress"))
    assert int(plain[f"{NGINX}proxy-body-size"].removesuffix("m")) << 20 >= server["max_body_bytes"]
    assert float(plain[f"{NGINX}proxy-read-timeout"]) >= longest_s
    assert batches[f"{NGINX}proxy-body-size"] == "0"
    assert batches[f"{NGINX}proxy-request-buffering"] == "off"
    assert batches[f"{NGINX}proxy-buffering"] == "off"
    (route,) = of_kind(OBJECTS, "HTTPRoute")
    for rule in route["spec"]["rules"]:
        streamed = rule.get("matches") == [{"path": {"type": "PathPrefix", "value": "/v1/batches"}}]
        timeout = rule["timeouts"]["request"].removesuffix("s")
        assert float(timeout) == 0 if streamed else float(timeout) >= longest_s


def test_policies_open_ports_of_the_pods():
    """Each example is an addition for Assay's pods, and never opens everything."""
    for policy in of_kind(OBJECTS, "NetworkPolicy"):
        spec = policy["spec"]
        own = (
            "assay-otel-collector"
            if policy["metadata"]["name"] == "assay-otel-collector"
            else "assay"
        )
        assert spec["podSelector"] == {"matchLabels": {"app.kubernetes.io/name": own}}
        for rule in [*spec.get("ingress", []), *spec.get("egress", [])]:
            assert rule["ports"]
            assert rule.get("from") or rule.get("to")


def backends(item: Manifest) -> list[Manifest]:
    if item["kind"] == "HTTPRoute":
        return [backend for rule in item["spec"]["rules"] for backend in rule["backendRefs"]]
    return [
        path["backend"]["service"]
        for rule in item["spec"]["rules"]
        for path in rule["http"]["paths"]
    ]
