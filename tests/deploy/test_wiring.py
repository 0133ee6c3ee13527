"""What refers to each other fits: selectors, ports, autoscalers, budgets, network policies."""

import hashlib
import re

import pytest
import yaml
from promql_parser import VectorSelector

from deploy.manifests import (
    INSTALLATIONS,
    KUBERNETES,
    ROOT,
    SCALED,
    Manifest,
    containers,
    named,
    of_kind,
    pod_of,
    rendered,
    selects,
    settings,
    workloads,
)
from deploy.queries import Query, nodes

every_overlay = pytest.mark.parametrize("overlay", INSTALLATIONS)


def labels_of(workload: Manifest) -> Manifest:
    return workload["spec"]["template"]["metadata"]["labels"]


def port_names(workload: Manifest) -> set[str]:
    return {
        port["name"]
        for container in containers(pod_of(workload))
        for port in container.get("ports", [])
    }


@every_overlay
def test_workloads_select_their_own_pods_only(overlay):
    """Each selector matches its own pods only."""
    found = workloads(rendered(overlay))
    for workload in found:
        if workload["kind"] == "Job":  # it gets a selector of its own
            continue
        takes = [item for item in found if selects(workload["spec"]["selector"], labels_of(item))]
        assert takes == [workload]


@every_overlay
def test_services_reach_ports_that_exist(overlay):
    """Each service selects pods, and each of them has the port it names."""
    objects = rendered(overlay)
    for service in of_kind(objects, "Service"):
        behind = [
            item
            for item in workloads(objects)
            if selects(service["spec"]["selector"], labels_of(item))
        ]
        assert behind, service["metadata"]["name"]
        wanted = {port["targetPort"] for port in service["spec"]["ports"]}
        assert all(wanted <= port_names(workload) for workload in behind)


@every_overlay
def test_the_api_service_never_exposes_metrics(overlay):
    """Health and metrics are not on the address that callers use, and workers are not behind it."""
    objects = rendered(overlay)
    service = named(objects, "Service", "assay")
    assert [port["targetPort"] for port in service["spec"]["ports"]] == ["http"]
    assert service["spec"]["selector"]["app.kubernetes.io/component"] == "api"
    assert named(objects, "Service", "assay-metrics")["spec"]["clusterIP"] == "None"


@every_overlay
def test_container_ports_are_those_of_the_settings(overlay):
    """The ports in the pod are the ports in its assay.toml."""
    objects = rendered(overlay)
    server = settings(objects)["server"]
    api = pod_of(named(objects, "Deployment", "assay-api"))["containers"][0]
    ports = {port["name"]: port["containerPort"] for port in api["ports"]}
    assert ports == {"http": server["port"], "metrics": server["metrics_port"]}


@every_overlay
def test_only_the_small_cluster_says_how_many(overlay):
    """A Deployment under an autoscaler has no replicas of its own: an apply would reset them."""
    objects = rendered(overlay)
    scaled = {
        item["spec"]["scaleTargetRef"]["name"]
        for item in of_kind(objects, "HorizontalPodAutoscaler", "ScaledObject")
    }
    deployments = of_kind(objects, "Deployment")
    assert scaled == (
        {item["metadata"]["name"] for item in deployments} if overlay in SCALED else set()
    )
    for item in deployments:
        assert ("replicas" in item["spec"]) == (item["metadata"]["name"] not in scaled)


@pytest.mark.parametrize("overlay", SCALED)
def test_budgets_leave_room_for_a_drain(overlay):
    """Each Deployment has a budget of its own, and never fewer than two pods."""
    objects = rendered(overlay)
    for workload in of_kind(objects, "Deployment"):
        budgets = [
            item
            for item in of_kind(objects, "PodDisruptionBudget")
            if selects(item["spec"]["selector"], labels_of(workload))
        ]
        assert len(budgets) == 1
        assert budgets[0]["spec"]["maxUnavailable"] == 1
    for scaler in of_kind(objects, "HorizontalPodAutoscaler", "ScaledObject"):
        spec = scaler["spec"]
        assert spec.get("minReplicas", spec.get("minReplicaCount")) >= 2


def test_the_api_scales_on_what_more_pods_can_mend():
    """Local slots, bytes in flight and CPU; nothing that a provider's quota can raise."""
    spec = named(rendered("hpa-prometheus-adapter"), "HorizontalPodAutoscaler", "assay-api")["spec"]
    pods = {
        metric["pods"]["metric"]["name"]: metric["pods"]["target"]
        for metric in spec["metrics"]
        if metric["type"] == "Pods"
    }
    assert pods == {
        "assay_slot_utilization_ratio": {"type": "AverageValue", "averageValue": "650m"},
        "assay_inflight_bytes_ratio": {"type": "AverageValue", "averageValue": "600m"},
    }
    (cpu,) = [
        metric["containerResource"] for metric in spec["metrics"] if "containerResource" in metric
    ]
    assert (cpu["container"], cpu["target"]["averageUtilization"]) == ("assay", 70)


@pytest.mark.parametrize("overlay", SCALED)
def test_the_quota_is_divided_by_the_most_pods_that_there_can_be(overlay):
    """Without Redis each pod takes its part; a smaller number would exceed the quota."""
    objects = rendered(overlay)
    scalers = [*of_kind(objects, "HorizontalPodAutoscaler"), *of_kind(objects, "ScaledObject")]
    most = sum(
        scaler["spec"].get("maxReplicas") or scaler["spec"]["maxReplicaCount"] for scaler in scalers
    )
    assert settings(objects)["quota"]["pods_max"] == most


@pytest.mark.parametrize("component", ["api", "worker"])
def test_keda_and_the_plain_autoscaler_agree(component):
    """Both overlays have the same bounds, targets and behaviour."""
    plain = named(
        rendered("hpa-prometheus-adapter"), "HorizontalPodAutoscaler", f"assay-{component}"
    )["spec"]
    keda = named(rendered("keda"), "ScaledObject", f"assay-{component}")["spec"]
    assert keda["advanced"]["horizontalPodAutoscalerConfig"]["behavior"] == plain["behavior"]
    assert keda["minReplicaCount"] == plain["minReplicas"]
    assert keda["maxReplicaCount"] == plain["maxReplicas"]
    assert [threshold(trigger) for trigger in keda["triggers"]] == [
        target_of(metric) for metric in plain["metrics"]
    ]


SYNC_S = 15
"""How often the controller decides: --horizontal-pod-autoscaler-sync-period."""


@pytest.mark.parametrize("component", ["api", "worker"])
def test_no_period_up_is_as_long_as_the_time_between_two_decisions(component):
    """Else a decision that comes a moment early counts the last change, and does nothing."""
    scaler = named(
        rendered("hpa-prometheus-adapter"), "HorizontalPodAutoscaler", f"assay-{component}"
    )
    for policy in scaler["spec"]["behavior"]["scaleUp"]["policies"]:
        assert policy["periodSeconds"] < SYNC_S


def test_the_page_asks_for_a_keda_that_knows_the_fallback():
    """Before 2.17, `fallback.behavior` is an unknown field."""
    page = (ROOT / "docs" / "deploy.md").read_text()
    minor = re.search(r"KEDA 2\.(\d+) or newer", page)
    assert minor is not None
    assert int(minor[1]) >= 17
    for scaler in of_kind(rendered("keda"), "ScaledObject"):
        assert "behavior" in scaler["spec"]["fallback"]


def test_keda_takes_no_answer_for_no_load():
    """An empty answer counts as a failure, and a failure never means fewer pods."""
    for scaler in of_kind(rendered("keda"), "ScaledObject"):
        assert scaler["spec"]["fallback"]["behavior"] == "currentReplicasIfHigher"
        for trigger in scaler["spec"]["triggers"]:
            if trigger["type"] == "prometheus":
                assert trigger["metricType"] == "AverageValue"
                assert trigger["metadata"]["ignoreNullValues"] == "false"


def test_keda_looks_at_the_pods_of_the_api_only():
    """Workers export the same ratios; theirs must not make the API grow."""
    api = named(rendered("keda"), "ScaledObject", "assay-api")["spec"]
    for trigger in api["triggers"]:
        for node in nodes(Query(trigger["type"], trigger["metadata"].get("query", "1"))):
            if isinstance(node, VectorSelector):
                pods = [
                    matcher.value for matcher in node.matchers.matchers if matcher.name == "pod"
                ]
                assert pods == ["assay-api-.+"]


@every_overlay
def test_nothing_is_let_in_or_out_unasked(overlay):
    """A default-deny policy stands, and only the gateway and Prometheus reach Assay's pods."""
    objects = rendered(overlay)
    deny = named(objects, "NetworkPolicy", "default-deny")["spec"]
    assert deny == {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}
    api = labels_of(named(objects, "Deployment", "assay-api"))
    opened = {
        port["port"]: rule["from"]
        for policy in of_kind(objects, "NetworkPolicy")
        if selects(policy["spec"]["podSelector"], api)
        for rule in policy["spec"].get("ingress", [])
        for port in rule["ports"]
    }
    assert opened.keys() == {"http", "metrics"}
    assert all("namespaceSelector" in source for sources in opened.values() for source in sources)


@every_overlay
def test_what_goes_out_is_dns_redis_judges_https_and_otlp(overlay):
    """No other port; 443 into the cluster for judges only, never to a metadata address."""
    objects = rendered(overlay)
    api = labels_of(named(objects, "Deployment", "assay-api"))
    rules = [
        rule
        for policy in of_kind(objects, "NetworkPolicy")
        if selects(policy["spec"]["podSelector"], api)
        for rule in policy["spec"].get("egress", [])
    ]
    assert all(rule["to"] and rule["ports"] for rule in rules)
    (judges,) = [
        rule
        for rule in rules
        if rule["to"] == [{"namespaceSelector": {"matchLabels": {"assay.dev/judge": "true"}}}]
    ]
    assert {port["port"] for port in judges["ports"]} == {80, 443, 8000, 8080, 11434}
    rules.remove(judges)
    assert {p["port"] for rule in rules for p in rule["ports"]} <= {
        *(53, 6379, 6380, 5432, 443, 4318),
        "redis",
    }
    (dns,) = [rule for rule in rules if {"port": 53, "protocol": "UDP"} in rule["ports"]]
    assert {"ipBlock": {"cidr": "169.254.20.10/32"}} in dns["to"]
    (https,) = [rule for rule in rules if rule["ports"] == [{"port": 443}]]
    v4 = next(
        target["ipBlock"] for target in https["to"] if target["ipBlock"]["cidr"] == "0.0.0.0/0"
    )
    assert {"169.254.0.0/16", "10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16"} <= set(v4["except"])


@pytest.mark.parametrize("overlay", SCALED)
def test_every_pod_is_scraped(overlay):
    """The PodMonitor selects the API and the workers, at a port they have."""
    objects = rendered(overlay)
    (monitor,) = of_kind(objects, "PodMonitor")
    for workload in of_kind(objects, "Deployment"):
        assert selects(monitor["spec"]["selector"], labels_of(workload))
        for endpoint in monitor["spec"]["podMetricsEndpoints"]:
            assert endpoint["port"] in port_names(workload)


@every_overlay
def test_a_changed_configuration_rolls_the_pods(overlay):
    """The pods mount the ConfigMap, and carry a hash of its content: in its name with kustomize,
    as an annotation with Helm."""
    objects = rendered(overlay)
    (config,) = [e for e in of_kind(objects, "ConfigMap") if "assay.toml" in e["data"]]
    name, text = config["metadata"]["name"], config["data"]["assay.toml"]
    for workload in of_kind(objects, "Deployment"):
        volumes = pod_of(workload)["volumes"]
        mounted = [volume["configMap"]["name"] for volume in volumes if "configMap" in volume]
        assert mounted[0] == name
        annotations = workload["spec"]["template"]["metadata"].get("annotations", {})
        digest = hashlib.sha256(text.encode()).hexdigest()
        assert name.startswith("assay-config-") or annotations["checksum/config"] == digest


def test_the_adapter_serves_what_the_autoscalers_ask_for():
    """Each custom and external metric of the HPAs is made by a rule of the adapter's values."""
    overlay = KUBERNETES / "overlays" / "hpa-prometheus-adapter"
    rules = yaml.safe_load((overlay / "adapter-values.yaml").read_text())["rules"]
    for scaler in of_kind(rendered(overlay.name), "HorizontalPodAutoscaler"):
        for metric in scaler["spec"]["metrics"]:
            if metric["type"] == "Pods":
                name, served = metric["pods"]["metric"]["name"], rules["custom"]
            elif metric["type"] == "External":
                name, served = metric["external"]["metric"]["name"], rules["external"]
            else:
                continue
            assert any(name in rule["seriesQuery"] for rule in served), name


def threshold(trigger: Manifest) -> float:
    meta = trigger["metadata"]
    return float(meta.get("threshold") or meta["value"])


def target_of(metric: Manifest) -> float:
    kind = metric["type"][0].lower() + metric["type"][1:]
    target = metric[kind]["target"]
    value = str(target.get("averageValue", target.get("averageUtilization")))
    return float(value.removesuffix("m")) / (1000 if value.endswith("m") else 1)
