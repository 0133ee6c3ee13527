"""Metrics of stored evaluators, and of the live traffic that rules judge by them."""

from __future__ import annotations

from typing import TYPE_CHECKING, get_args

from assay.domain import events
from assay.domain.traces import Outcome
from assay.telemetry.labels import Labels, one_of

if TYPE_CHECKING:
    from assay.telemetry.metrics import Metrics

EVALUATORS_MAX, RULES_MAX, LIVE_CRITERIA_MAX = 50, 50, 50
"""Names that a process tells apart: callers choose them freely."""
SCORES = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0)


def count_evaluators(metrics: Metrics) -> None:
    """What stored evaluators found, and whether they drift."""
    by_evaluator = metrics.counter(
        "assay_evaluator_results_total",
        "Cases judged by a stored evaluator.",
        Labels.learned("evaluator", EVALUATORS_MAX),
        Labels(("outcome",), {True: ("passed",), False: ("failed",), None: ("undecided",)}),
    )

    def count(event: events.CaseJudged) -> None:
        if (name := event.evaluation.evaluator.name) is not None:
            by_evaluator(name, event.evaluation.passed).inc()

    metrics.on(events.CaseJudged, count)
    drift = metrics.gauge(
        "assay_judge_drift",
        "1 while an evaluator disagrees with its control set more often than certified.",
        Labels.learned("evaluator", EVALUATORS_MAX),
    )
    seen: set[str] = set()

    def show(event: events.ControlSetsRead) -> None:
        seen.update(event.alarms)
        alarms = [name for name, alarm in event.alarms.items() if alarm]
        # Alarms come first to have series of their own, and last to win where names share one.
        for name in (*alarms, *seen.difference(alarms), *alarms):
            drift(name).set(name in alarms)

    metrics.on(events.ControlSetsRead, show)
    metrics.on(events.JudgeDrifted, lambda event: drift(event.name).set(1))


def count_live(metrics: Metrics) -> None:
    """What became of spans, and the scores of live traffic.

    The sum of squares is for the interval of a mean: σ² = Σx²/n − (Σx/n)².
    """
    spans = metrics.counter(
        "assay_spans_total", "Spans received, by what became of them.",
        one_of("outcome", get_args(Outcome)),
    )  # fmt: skip

    def receive(event: events.SpansReceived) -> None:
        for outcome, count in event.outcomes.items():
            spans(outcome).inc(count)

    metrics.on(events.SpansReceived, receive)
    rule = Labels.learned("rule", RULES_MAX)
    criterion = Labels.learned("criterion", LIVE_CRITERIA_MAX)
    scores = metrics.histogram(
        "assay_online_score", "Scores of live traffic.", rule, criterion, buckets=SCORES
    )
    squares = metrics.counter(
        "assay_online_score_squares_total", "Sum of the squares of those scores.", rule, criterion
    )
    unscored = metrics.counter(
        "assay_online_unscored_total", "Criteria of live traffic without a score.", rule, criterion
    )

    def score(event: events.LiveScored) -> None:
        if event.score is None:
            unscored(event.rule, event.criterion).inc()
            return
        scores(event.rule, event.criterion).observe(event.score)
        squares(event.rule, event.criterion).inc(event.score**2)

    metrics.on(events.LiveScored, score)
    paused = metrics.counter(
        "assay_rules_paused_total", "Times that a rule stopped judging live traffic.",
        one_of("reason", ("usd_per_day", "rows_per_day", "problem")),
    )  # fmt: skip
    metrics.on(events.RulePaused, lambda event: paused(event.reason).inc())
