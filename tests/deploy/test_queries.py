"""No rule, panel or autoscaler asks for what the service does not export."""

from collections.abc import Iterator

import promql_parser
import pytest
from promql_parser import AggregateExpr, BinaryExpr, Call, MatrixSelector, VectorSelector

from assay.telemetry.metrics import SECONDS
from deploy.manifests import of_kind, rendered
from deploy.queries import Query, exported, nodes, queries, recorded

GLOBAL_GAUGES = {"assay_batch_backlog_rows", "assay_quota_balance"}
"""Every pod exports the same number, read from Redis: adding them up would invent work."""

OVER_TIME_OF_COUNTERS = {"rate", "increase", "irate", "resets"}

every_query = pytest.mark.parametrize("query", queries(), ids=lambda query: query.where)


def known() -> dict:
    return {**exported(), **recorded()}


def unknown(query: Query) -> Iterator[str]:
    """What the query names that is not there: metrics, then labels."""
    series = known()
    labels: set[str] = set()
    for node in nodes(query):
        if isinstance(node, VectorSelector):
            if node.name not in series:
                yield f"no metric {node.name}"
                continue
            labels |= series[node.name].labels
            for matcher in node.matchers.matchers:
                if matcher.name not in series[node.name].labels:
                    yield f"no label {matcher.name} on {node.name}"
    for node in nodes(query):
        yield from (f"no label {name}" for name in grouped_by(node) - labels)


def grouped_by(node: object) -> set[str]:
    """The labels that an aggregation keeps or drops, or that a binary operation matches on."""
    if isinstance(node, AggregateExpr) and node.modifier:
        return set(node.modifier.labels)
    if isinstance(node, BinaryExpr) and node.modifier and node.modifier.matching:
        return set(node.modifier.matching.labels)
    return set()


@every_query
def test_every_metric_and_label_exists(query):
    """Names and labels are those of docs/metrics.md, which another test holds to /metrics."""
    assert not list(unknown(query))


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("sum(rate(assay_request_total[5m]))", "no metric assay_request_total"),
        ('rate(assay_requests_total{code="500"}[5m])', "no label code on assay_requests_total"),
        ("sum by (tenant) (rate(assay_requests_total[5m]))", "no label tenant"),
        ("assay_requests_total / on (tenant) assay_requests_total", "no label tenant"),
        ("rate(assay_request_seconds[5m])", "no metric assay_request_seconds"),
    ],
)
def test_a_wrong_name_is_noticed(text, complaint):
    """The check above can fail: on a metric, a matcher, a grouping and a matching label."""
    assert list(unknown(Query("seeded", text))) == [complaint]


@every_query
def test_counters_are_asked_for_their_rate(query):
    """A counter as it stands says when the process started, not what happens."""
    series = known()
    covered = {
        str(matrix.vector_selector)
        for call in nodes(query)
        if isinstance(call, Call) and call.func.name in OVER_TIME_OF_COUNTERS
        for matrix in call.args
        if isinstance(matrix, MatrixSelector)
    }
    for node in nodes(query):
        if isinstance(node, VectorSelector) and series[node.name].kind == "counter":
            assert str(node) in covered


def summed(query: Query) -> set[str]:
    """Metrics that the query adds up or counts over pods."""
    names: set[str] = set()
    for node in nodes(query):
        if isinstance(node, AggregateExpr) and str(node.op) in {"sum", "avg", "count"}:
            inner: list = []
            promql_parser.walk(node.expr, inner.append)
            names |= {node.name for node in inner if isinstance(node, VectorSelector)}
    return names


@every_query
def test_global_gauges_are_never_summed(query):
    """What every pod reads from Redis is one number, however many pods report it."""
    assert not summed(query) & GLOBAL_GAUGES


def test_a_sum_over_pods_is_noticed():
    """The check above can fail."""
    assert summed(Query("seeded", "sum(assay_batch_backlog_rows)")) & GLOBAL_GAUGES


@every_query
def test_bucket_bounds_exist(query):
    """A share of a histogram asks for a bucket that is there; one that is not is silently empty."""
    for node in nodes(query):
        if isinstance(node, VectorSelector):
            bounds = {
                float(matcher.value) for matcher in node.matchers.matchers if matcher.name == "le"
            }
            assert bounds <= set(SECONDS)


def test_autoscalers_name_gauges_that_are_exported():
    """Each custom and external metric of the HPAs is a gauge of the service."""
    names = {
        metric[kind]["metric"]["name"]
        for scaler in of_kind(rendered("hpa-prometheus-adapter"), "HorizontalPodAutoscaler")
        for metric in scaler["spec"]["metrics"]
        for kind in ("pods", "external")
        if kind in metric
    }
    assert names
    assert {exported()[name].kind for name in names} == {"gauge"}
