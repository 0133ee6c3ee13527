"""What a process shows of its own metrics."""

import pytest

from assay.domain.completion import Caller, Usage
from assay.domain.events import AttemptFinished, CriterionFinished, RequestFinished
from assay.domain.models import Model
from assay.telemetry.labels import LabelUniverse
from assay.telemetry.metrics import Metrics
from assay.telemetry.snapshot import snapshot


@pytest.fixture
def metrics():
    found = Metrics(LabelUniverse(("rubric",), (Model("openai/judge", "openai", "judge"),)), "test")
    found.add_routes([("POST", "/v1/evaluations"), ("GET", "/v1/models")])
    return found


def request(metrics, seconds, route="/v1/evaluations", status=200):
    metrics.emit(RequestFinished(Caller(), "POST", route, status, seconds, 0))


def test_nothing_is_known_before_the_first_request(metrics):
    """Times are null, not 0."""
    assert snapshot(metrics.registry) == {
        "requests": 0, "server_errors": 0, "judged_p50_ms": None, "judged_p95_ms": None,
        "calls": {}, "waiting": {}, "criteria_scored": 0, "criteria_unscored": {},
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


def test_calls_and_what_waits_are_told(metrics):
    """By model, and by what is waited for; what nothing waits for is left out."""
    for seconds in (0.2, 0.2, 9):
        metrics.emit(
            AttemptFinished(
                Caller(), "openai", "openai/judge", "ok", seconds, None, Usage(1, 1), 0.0
            )
        )
    waiting = {("openai/judge", "breaker"): 0.0, ("openai/judge", "provider_quota"): 3.0}
    metrics.watch(lambda: {"assay_queue_depth": waiting})
    found = snapshot(metrics.registry)
    assert found["calls"] == {"openai/judge": {"p50_ms": 250.0, "p95_ms": 10_000.0}}
    assert found["waiting"] == {"provider_quota": 3}
