"""Every PromQL expression that is deployed, and what the service exports for them."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any

import promql_parser
import yaml
from promql_parser import AggregateExpr

from deploy.manifests import KUBERNETES, ROOT, of_kind, rendered

RULES = ROOT / "deploy" / "prometheus" / "rules.yaml"
DASHBOARD = ROOT / "deploy" / "grafana" / "assay.json"
ADAPTER = KUBERNETES / "overlays" / "hpa-prometheus-adapter" / "adapter-values.yaml"
METRICS_PAGE = ROOT / "docs" / "metrics.md"

TARGET_LABELS = frozenset({"namespace", "pod", "container", "job", "instance", "endpoint"})
"""What Prometheus itself puts on every series of a pod."""

OF_EVERY_TARGET = {
    "up": "gauge",
    "process_cpu_seconds_total": "counter",
    "process_resident_memory_bytes": "gauge",
}

OF_KUBERNETES = {
    "kube_deployment_status_replicas_ready": {"deployment"},
    "kube_horizontalpodautoscaler_status_condition": {
        *("horizontalpodautoscaler", "condition", "status"),
    },
}
"""What kube-state-metrics exports, all gauges, and their labels."""

_ROW = re.compile(r"^\| `(?P<name>\w+)` \| (?P<kind>\w+) \|(?P<labels>[^|]*)\|", re.MULTILINE)


@dataclass(frozen=True)
class Query:
    """An expression and where it stands."""

    where: str
    text: str


@dataclass(frozen=True)
class Series:
    """A series that a query may name: what kind of metric it is of, and its labels."""

    kind: str
    labels: frozenset[str]


@cache
def documented() -> dict[str, tuple[str, set[str]]]:
    """Type and labels of each metric in the table of docs/metrics.md."""
    rows = _ROW.finditer(METRICS_PAGE.read_text())
    return {row["name"]: (row["kind"], set(re.findall(r"`(\w+)`", row["labels"]))) for row in rows}


@cache
def exported() -> dict[str, Series]:
    """Every series name that a scrape of the service gives, histograms taken apart."""
    series = {name: Series(kind, TARGET_LABELS) for name, kind in OF_EVERY_TARGET.items()}
    series |= {
        name: Series("gauge", TARGET_LABELS | labels) for name, labels in OF_KUBERNETES.items()
    }
    for name, (kind, labels) in documented().items():
        own = TARGET_LABELS | labels
        if kind == "histogram":
            series[f"{name}_bucket"] = Series("counter", own | {"le"})
            series[f"{name}_sum"] = series[f"{name}_count"] = Series("counter", own)
        else:
            series[name] = Series(kind, own)
    return series


@cache
def rule_groups() -> list[dict[str, Any]]:
    return yaml.safe_load(RULES.read_text())["spec"]["groups"]


def rules() -> list[dict[str, Any]]:
    return [rule for group in rule_groups() for rule in group["rules"]]


@cache
def recorded() -> dict[str, Series]:
    """What the recording rules make: the labels are those that their sums keep."""
    made = {}
    for rule in rules():
        if "record" in rule:
            sums = [
                node for node in nodes(Query("", rule["expr"])) if isinstance(node, AggregateExpr)
            ]
            made[rule["record"]] = Series("gauge", frozenset(sums[0].modifier.labels))
    return made


def queries() -> list[Query]:
    """All of them: rules, dashboard, KEDA and the adapter's templates filled in."""
    return [*_of_rules(), *_of_dashboard(), *_of_keda(), *_of_adapter()]


def nodes(query: Query) -> list[Any]:
    """Every node of the parsed expression."""
    found: list[Any] = []
    promql_parser.walk(promql_parser.parse(query.text), found.append)
    return found


def panels() -> list[dict[str, Any]]:
    return json.loads(DASHBOARD.read_text())["panels"]


def _of_rules() -> Iterator[Query]:
    for rule in rules():
        yield Query(f"rule {rule.get('record') or rule['alert']}", rule["expr"])


def _of_dashboard() -> Iterator[Query]:
    for panel in panels():
        for target in panel.get("targets", []):
            yield Query(f"panel {panel['title']}", target["expr"].replace("$namespace", "assay"))


def _of_keda() -> Iterator[Query]:
    for scaler in of_kind(rendered("keda"), "ScaledObject"):
        for trigger in scaler["spec"]["triggers"]:
            if "query" in trigger["metadata"]:
                yield Query(f"keda {scaler['metadata']['name']}", trigger["metadata"]["query"])


def _of_adapter() -> Iterator[Query]:
    """Each template as the adapter would send it: for one pod, or for the namespace."""
    configured = yaml.safe_load(ADAPTER.read_text())["rules"]
    for kind, scope, group in (
        ("custom", 'namespace="assay",pod=~"assay-api-1|assay-api-2"', "pod"),
        ("external", 'namespace="assay"', "namespace"),
    ):
        for rule in configured[kind]:
            for name in _names_of(rule["seriesQuery"]):
                text = rule["metricsQuery"].replace("<<.Series>>", name)
                text = text.replace("<<.LabelMatchers>>", scope).replace("<<.GroupBy>>", group)
                yield Query(f"adapter {name}", text)


def _names_of(series_query: str) -> list[str]:
    selector = promql_parser.parse(series_query)
    if selector.name:
        return [selector.name]
    (names,) = [
        matcher.value for matcher in selector.matchers.matchers if matcher.name == "__name__"
    ]
    return names.split("|")
