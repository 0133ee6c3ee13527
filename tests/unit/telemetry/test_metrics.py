"""Prometheus metrics from domain events."""

import re
from dataclasses import is_dataclass
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.openmetrics import parser as openmetrics
from prometheus_client.parser import text_string_to_metric_families

from assay.domain import events
from assay.domain.completion import NO_USAGE, Caller, Usage
from assay.domain.errors import StoreUnavailable
from assay.domain.evaluation import Evaluation, EvaluatorRecord
from assay.domain.events import (
    AttemptFinished,
    BreakerChanged,
    CascadeFinished,
    ComparisonFinished,
    CriterionFinished,
    FallbackTaken,
    InternalFault,
    KeyQuarantined,
    QueueRefused,
    RecordsDegraded,
    RequestFinished,
    StoreDegraded,
    WaitFinished,
)
from assay.domain.models import Model
from assay.telemetry.evaluator_metrics import EVALUATORS_MAX
from assay.telemetry.labels import OTHER, LabelUniverse
from assay.telemetry.metrics import Metrics, model_outcomes
from assay.telemetry.scraped_gauges import GAUGES, Polled

CALLER = Caller(tenant="acme", request_id="req_1")
DOCS = Path(__file__).parents[3] / "docs" / "metrics.md"
KNOWN = LabelUniverse(
    criteria=["rubric", "exact_match"],
    models=[Model("openai/a", "openai", "a"), Model("anthropic/b", "anthropic", "b")],
    fallbacks=[("openai/a", "anthropic/b")],
)


def fresh():
    metrics = Metrics(KNOWN, version="1.2.3")
    metrics.add_routes([("POST", "/v1/evaluations"), ("GET", "/v1/criteria")])
    return metrics


def value(metrics, name, **labels):
    return metrics.registry.get_sample_value(name, labels)


def series_count(metrics):
    return sum(len(family.samples) for family in metrics.registry.collect())


def attempt(model="openai/a", outcome="ok", **changes):
    fields = {
        "caller": CALLER,
        "provider": "openai",
        "model": model,
        "outcome": outcome,
        "seconds": 0.4,
        "first_byte_seconds": 0.1,
        "usage": Usage(100, 20),
        "cost_usd": 0.5,
    }
    return AttemptFinished(**(fields | changes))


def test_known_series_start_at_zero():
    """A series that can be known reads 0 before anything happened, not nothing."""
    metrics = fresh()
    model = {"provider": "anthropic", "model": "anthropic/b"}
    assert value(metrics, "assay_provider_attempts_total", **model, outcome="rate_limited") == 0
    assert value(metrics, "assay_tokens_total", **model, kind="output") == 0
    assert value(metrics, "assay_cost_usd_total", **model) == 0
    assert value(metrics, "assay_provider_first_byte_seconds_count", **model) == 0
    route = {"route": "/v1/evaluations"}
    assert value(metrics, "assay_requests_total", **route, method="POST", status="503") == 0
    assert value(metrics, "assay_request_seconds_count", **route) == 0
    unscored = {"type": OTHER, "status": "unscored", "reason": "judge_parse_error"}
    assert value(metrics, "assay_criteria_total", **unscored) == 0
    pair = {"from_model": "openai/a", "to_model": "anthropic/b", "outcome": "provider_down"}
    assert value(metrics, "assay_fallbacks_total", **pair) == 0
    assert value(metrics, "assay_store_available") == 1


def test_known_events_make_no_new_series():
    """What was registered at the start is what events count on: the label order agrees."""
    metrics = fresh()
    before = series_count(metrics)
    metrics.emit(RequestFinished(CALLER, "POST", "/v1/evaluations", 200, 0.1, 10))
    metrics.emit(CriterionFinished(CALLER, "unknown", "scored", None, 0.1))
    metrics.emit(CriterionFinished(CALLER, "unknown", "skipped", "required_check_failed", 0.1))
    for outcome in model_outcomes():
        metrics.emit(attempt(outcome=outcome))
        metrics.emit(FallbackTaken(CALLER, "openai/a", "anthropic/b", outcome))
    for compared in ("consistent", "flipped", "unscored"):
        metrics.emit(ComparisonFinished(CALLER, "openai/a", compared, 0.1))
    for state in ("open", "half_open", "closed"):
        metrics.emit(BreakerChanged("openai/a", "closed", state, "x"))
    for waiting_for in ("local_slot", "provider_quota", "breaker"):
        metrics.emit(WaitFinished(CALLER, "openai/a", waiting_for, 0.1))
        for reason in ("full_count", "full_bytes", "deadline"):
            metrics.emit(QueueRefused(CALLER, "openai/a", waiting_for, reason))
    assert series_count(metrics) == before


def test_a_type_of_criterion_is_exported_from_its_first_use():
    """A pod has no series of the many types that nobody uses; a used one has its own."""
    metrics = fresh()
    assert 'type="rubric"' not in metrics.render()[0].decode()
    metrics.emit(CriterionFinished(CALLER, "rubric", "scored", None, 0.1))
    scored = {"type": "rubric", "status": "scored", "reason": "none"}
    assert value(metrics, "assay_criteria_total", **scored) == 1
    assert value(metrics, "assay_criterion_seconds_count", type="rubric") == 1
    assert 'type="exact_match"' not in metrics.render()[0].decode()


def test_an_attempt_counts_calls_time_tokens_and_cost():
    """One upstream call feeds all the provider metrics of its model."""
    metrics = fresh()
    metrics.emit(attempt())
    metrics.emit(attempt(outcome="provider_silent", first_byte_seconds=None, usage=Usage(0, 0)))
    model = {"provider": "openai", "model": "openai/a"}
    assert value(metrics, "assay_provider_attempts_total", **model, outcome="ok") == 1
    assert value(metrics, "assay_provider_attempts_total", **model, outcome="provider_silent") == 1
    assert value(metrics, "assay_provider_attempt_seconds_count", **model) == 2
    assert value(metrics, "assay_provider_first_byte_seconds_count", **model) == 1
    assert value(metrics, "assay_tokens_total", **model, kind="input") == 100
    assert value(metrics, "assay_tokens_total", **model, kind="output") == 20
    assert value(metrics, "assay_cost_usd_total", **model) == 1.0


def test_the_share_of_flipped_comparisons_can_be_read():
    """Each comparison counts once, for its model, by whether its verdict kept with the order."""
    metrics = fresh()
    for outcome in ("consistent", "consistent", "flipped"):
        metrics.emit(ComparisonFinished(CALLER, "openai/a", outcome, 0.1))
    metrics.emit(ComparisonFinished(CALLER, "", "flipped", 0.1))
    model = {"provider": "openai", "model": "openai/a"}
    assert value(metrics, "assay_comparisons_total", **model, outcome="consistent") == 2
    assert value(metrics, "assay_comparisons_total", **model, outcome="flipped") == 1
    several = {"provider": OTHER, "model": OTHER, "outcome": "flipped"}
    assert value(metrics, "assay_comparisons_total", **several) == 1


def test_verdicts_of_cascades_are_counted_by_tier():
    """From the first tier to the last one that there can be, and those that none was sure of."""
    metrics = fresh()
    before = series_count(metrics)
    for tier in (0, 0, 3, None):
        metrics.emit(CascadeFinished(tier))
    for tier, count in (("0", 2), ("1", 0), ("3", 1), ("none", 1)):
        assert value(metrics, "assay_cascade_verdicts_total", tier=tier) == count
    assert series_count(metrics) == before


def test_requests_and_criteria_are_counted_with_their_outcome():
    """Requests count by status and criteria by reason."""
    metrics = fresh()
    metrics.emit(RequestFinished(CALLER, "POST", "/v1/evaluations", 429, 0.2, 2_000_000))
    metrics.emit(CriterionFinished(CALLER, "rubric", "unscored", "quota_exhausted", 3.0))
    route = {"route": "/v1/evaluations"}
    assert value(metrics, "assay_requests_total", **route, method="POST", status="429") == 1
    assert value(metrics, "assay_request_body_bytes_sum", **route) == 2_000_000
    unscored = {"type": "rubric", "status": "unscored", "reason": "quota_exhausted"}
    assert value(metrics, "assay_criteria_total", **unscored) == 1
    assert value(metrics, "assay_criterion_seconds_sum", type="rubric") == 3.0


def test_store_availability_follows_the_events():
    """The gauge falls to 0 when Redis is lost and rises again with it."""
    metrics = fresh()
    metrics.emit(StoreDegraded(available=False))
    assert value(metrics, "assay_store_available") == 0
    metrics.emit(StoreDegraded(available=True))
    assert value(metrics, "assay_store_available") == 1


def test_the_availability_of_records_follows_the_events():
    """The gauge falls to 0 when the database is lost and rises again with it."""
    metrics = fresh()
    assert value(metrics, "assay_records_available") == 1
    metrics.emit(RecordsDegraded(available=False))
    assert value(metrics, "assay_records_available") == 0
    metrics.emit(RecordsDegraded(available=True))
    assert value(metrics, "assay_records_available") == 1


@given(st.text(min_size=1, max_size=20))
def test_unknown_names_count_as_other(text):
    """Whatever a caller writes, the number of series does not grow with it."""
    metrics = fresh()
    text = f"x{text}"
    metrics.emit(RequestFinished(CALLER, text, text, 503, 0.1, 1))
    metrics.emit(CriterionFinished(CALLER, text, "scored", None, 0.1))
    metrics.emit(attempt(model=text, outcome=text))
    metrics.emit(FallbackTaken(CALLER, text, "openai/a", text))
    metrics.emit(BreakerChanged(text, text, text, text))
    metrics.emit(KeyQuarantined(text, text, 1.0))
    metrics.emit(WaitFinished(CALLER, text, text, 1.0))
    metrics.emit(QueueRefused(CALLER, text, text, text))
    rendered, _ = metrics.render()
    labels = {
        label
        for family in text_string_to_metric_families(rendered.decode())
        for sample in family.samples
        for label in sample.labels.values()
    }
    assert text not in labels
    unknown = {"route": OTHER, "method": OTHER, "status": "503"}
    assert value(metrics, "assay_requests_total", **unknown) == 1


def test_a_breaker_is_in_one_state_at_a_time():
    """The state that was entered reads 1 and all others 0; a fresh breaker is closed."""
    metrics = fresh()
    model = {"provider": "openai", "model": "openai/a"}

    def states():
        return {
            state: value(metrics, "assay_breaker_state", **model, state=state)
            for state in ("closed", "open", "half_open", "forced_open", "disabled")
        }

    assert states() == {"closed": 1, "open": 0, "half_open": 0, "forced_open": 0, "disabled": 0}
    metrics.emit(BreakerChanged("openai/a", "closed", "open", "failures"))
    assert states() == {"closed": 0, "open": 1, "half_open": 0, "forced_open": 0, "disabled": 0}
    assert value(metrics, "assay_breaker_transitions_total", **model, to_state="open") == 1


def test_waits_and_refusals_are_told_apart_by_reason():
    """Waiting for a slot and waiting for the provider's quota have different labels."""
    metrics = fresh()
    metrics.emit(WaitFinished(CALLER, "openai/a", "local_slot", 2.0))
    metrics.emit(QueueRefused(CALLER, "openai/a", "provider_quota", "deadline"))
    metrics.emit(KeyQuarantined("openai", "openai/a", 60.0))
    model = {"provider": "openai", "model": "openai/a"}
    assert value(metrics, "assay_wait_seconds_sum", **model, reason="local_slot") == 2.0
    assert value(metrics, "assay_wait_seconds_sum", **model, reason="provider_quota") == 0
    refused = {**model, "reason": "provider_quota", "refusal": "deadline"}
    assert value(metrics, "assay_queue_refused_total", **refused) == 1
    assert value(metrics, "assay_keys_set_aside_total", **model) == 1


def test_faults_are_counted_by_the_place_that_caught_them():
    """Places are constants; a place that is not in the list counts as `other`."""
    metrics = fresh()
    for where in ("batch_worker", "batch_worker", "no-such-place"):
        metrics.emit(InternalFault(where, "KeyError", "", "req_1"))
    assert value(metrics, "assay_internal_faults_total", where="batch_worker") == 2
    assert value(metrics, "assay_internal_faults_total", where="webhook") == 0
    assert value(metrics, "assay_internal_faults_total", where=OTHER) == 1


async def test_a_polled_value_is_unknown_while_the_store_is_away():
    """A scrape never waits for Redis: it reads what the last poll found."""
    answers = [7, StoreUnavailable("away"), 8]

    async def fetch():
        answer = answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    polled = Polled(fetch)
    seen = [polled.value]
    for _ in range(3):
        await polled.refresh()
        seen.append(polled.value)
    assert seen == [None, 7, None, 8]


def test_an_event_without_a_metric_is_ignored():
    """A new kind of event does not disturb the metrics."""
    metrics = fresh()
    before = series_count(metrics)
    metrics.emit(object())
    assert series_count(metrics) == before


def test_a_live_gauge_is_read_at_every_scrape():
    """Other parts lend their readings as a function; before, a gauge without labels is 0."""
    metrics, readings = fresh(), iter([0.25, 0.75])
    assert value(metrics, "assay_slot_utilization_ratio") == 0
    metrics.watch(lambda: {"assay_slot_utilization_ratio": {(): next(readings)}})
    assert value(metrics, "assay_slot_utilization_ratio") == 0.25
    assert value(metrics, "assay_slot_utilization_ratio") == 0.75


def test_two_instances_do_not_share_a_registry():
    """Metrics live on their own registry, so two applications fit into one process."""
    one, two = fresh(), fresh()
    one.emit(StoreDegraded(available=False))
    assert value(two, "assay_store_available") == 1


@pytest.mark.parametrize("accept", ["", "text/plain;version=0.0.4", "*/*", "nonsense;;q=,"])
def test_text_format_is_the_default(accept):
    """Unless OpenMetrics is asked for, the answer is in the Prometheus text format."""
    body, content_type = fresh().render(accept)
    assert content_type.startswith("text/plain")
    names = {family.name for family in text_string_to_metric_families(body.decode())}
    assert "assay_requests" in names


def test_openmetrics_on_request():
    """A scraper that asks for OpenMetrics gets a document that its parser accepts."""
    body, content_type = fresh().render("application/openmetrics-text;version=1.0.0")
    assert content_type.startswith("application/openmetrics-text")
    families = list(openmetrics.text_string_to_metric_families(body.decode()))
    assert any(family.name == "assay_requests" for family in families)


def exported():
    """(type, labels) of each exported metric by the name that queries use."""
    found = {}
    metrics = fresh()
    metrics.watch(lambda: {gauge.name: {gauge.labels: 1.0} for gauge in GAUGES})
    rendered, _ = metrics.render()
    for family in text_string_to_metric_families(rendered.decode()):
        if family.name.startswith("assay_"):
            name = family.name + ("_total" if family.type == "counter" else "")
            labels = {label for sample in family.samples for label in sample.labels} - {"le"}
            found[name] = (family.type, frozenset(labels))
    return found


def documented():
    """The same as the table in docs/metrics.md has it."""
    rows = re.findall(r"^\| `(\w+)` \| (\w+) \|([^|]*)\|", DOCS.read_text(), re.MULTILINE)
    return {name: (kind, frozenset(re.findall(r"`(\w+)`", labels))) for name, kind, labels in rows}


def test_the_documentation_lists_what_is_exported():
    """docs/metrics.md names every metric with its type and labels, and none that is not there."""
    assert documented() == exported()


def test_every_event_of_the_domain_is_counted():
    """A new event without a metric fails here."""
    declared = {
        value
        for value in vars(events).values()
        if isinstance(value, type) and value.__module__ == events.__name__ and is_dataclass(value)
    }
    assert declared == set(fresh()._moves)


def test_evaluators_are_told_apart_up_to_a_bound():
    """The first names have series of their own; a flood of names makes one more."""
    metrics = Metrics(LabelUniverse(), "1")
    for number in range(EVALUATORS_MAX + 5):
        record = EvaluatorRecord("revision", f"e{number}", 1)
        passed = None if number else True
        evaluation = Evaluation(
            *("eval_1", "", "completed", passed, None, (), NO_USAGE, 0.0, 0.0, record)
        )
        metrics.emit(events.CaseJudged(Caller(), evaluation))
    text = metrics.render()[0].decode()
    assert 'assay_evaluator_results_total{evaluator="e0",outcome="passed"} 1.0' in text
    assert f'evaluator="e{EVALUATORS_MAX}"' not in text
    assert 'assay_evaluator_results_total{evaluator="other",outcome="undecided"} 5.0' in text


def test_an_alarm_of_drift_is_shown_until_it_is_over():
    """Also among names that share a series, and where the control set is gone."""
    metrics = fresh()
    name = "assay_judge_drift"
    assert value(metrics, name, evaluator=OTHER) == 0
    metrics.emit(events.ControlSetsRead({f"e{n}": n == 0 for n in range(EVALUATORS_MAX)}))
    assert (value(metrics, name, evaluator="e0"), value(metrics, name, evaluator="e1")) == (1, 0)
    metrics.emit(events.ControlSetsRead({"late": True, "later": False}))
    assert (value(metrics, name, evaluator="e0"), value(metrics, name, evaluator=OTHER)) == (0, 1)
    metrics.emit(events.ControlSetsRead({}))
    assert value(metrics, name, evaluator=OTHER) == 0
    metrics.emit(events.JudgeDrifted("e1", "evaluator_1", "batch_2", "batch_1"))
    assert value(metrics, name, evaluator="e1") == 1
