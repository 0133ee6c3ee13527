"""What a process shows of its own metrics."""

import pytest

from assay.domain.completion import Caller
from assay.domain.events import CriterionFinished, RequestFinished
from assay.telemetry.metrics import LabelUniverse, Metrics
from assay.telemetry.snapshot import snapshot


@pytest.fixture
def metrics():
    found = Metrics(LabelUniverse(("rubric",)), "test")
    found.add_routes([("POST", "/v1/evaluations"), ("GET", "/v1/models")])
    return found


def request(metrics, seconds, route="/v1/evaluations", status=200):
    metrics.emit(RequestFinished(Caller(), "POST", route, status, seconds, 0))


def test_nothing_is_known_before_the_first_request(metrics):
    """Times are null, not 0."""
    assert snapshot(metrics.registry) == {
        "requests": 0, "server_errors": 0, "judged_p50_ms": None, "judged_p95_ms": None,
        "criteria_scored": 0, "criteria_unscored": {},
    }  # fmt: skip


def test_quantiles_are_bounds_of_buckets(metrics):
    """Of judging alone; above the last bound nothing is said."""
    for _ in range(94):
        request(metrics, 0.02)
    for _ in range(6):
        request(metrics, 4)
    request(metrics, 50, route="/v1/models", status=500)
    found = snapshot(metrics.registry)
    assert (found["requests"], found["server_errors"]) == (101, 1)
    assert (found["judged_p50_ms"], found["judged_p95_ms"]) == (25.0, 5_000.0)
    for _ in range(200):
        request(metrics, 100)
    assert snapshot(metrics.registry)["judged_p50_ms"] is None


def test_unscored_criteria_have_their_reasons(metrics):
    """Skipped ones are neither."""
    for status, reason in (
        ("scored", None), ("unscored", "judge_unsure"), ("unscored", "judge_unsure"),
        ("skipped", "required_check_failed"),
    ):  # fmt: skip
        metrics.emit(CriterionFinished(Caller(), "rubric", status, reason, 0.1))
    found = snapshot(metrics.registry)
    assert found["criteria_scored"] == 1
    assert found["criteria_unscored"] == {"judge_unsure": 2}
