"""What evaluations add to the sums of a batch, and the summary that the sums give."""

from collections import Counter

import pytest

from assay.batches.summary import outline, row_groups, row_status, row_tally, summarize
from assay.criteria import parse_criteria
from assay.domain.batches import Sums
from assay.domain.completion import NO_USAGE
from assay.domain.evaluation import CriterionResult, Evaluation, EvaluatorRecord

CRITERIA = parse_criteria([{"type": "contains", "value": "a"}, "It is polite."])


def evaluation(*scores):
    """An evaluation with these scores; None is unscored for want of quota."""
    results = tuple(
        CriterionResult(
            name=f"c{place}",
            type="t",
            status="unscored" if score is None else "scored",
            score=score,
            passed=None if score is None else score >= 0.5,
            reason="quota_exhausted" if score is None else None,
        )
        for place, score in enumerate(scores)
    )
    known = [score for score in scores if score is not None]
    return Evaluation(
        id="eval_1",
        created_at="",
        status="completed" if len(known) == len(scores) else "partial",
        passed=None,
        score=sum(known) / len(known) if known else None,
        results=results,
        usage=NO_USAGE,
        evaluator=EvaluatorRecord("r"),
        cost_usd=0.0,
        latency_ms=0.0,
    )


def summed(evaluations, group_of=lambda _: None):
    tally, groups = Counter(), Counter()
    for number, each in enumerate(evaluations):
        tally.update(row_tally(each))
        groups.update(row_groups(each, group_of(number)))
    return Sums(tally, groups)


def test_a_row_counts_by_how_much_of_it_is_scored():
    """All, some, or nothing; nothing is never a score of 0."""
    assert row_status(evaluation(0.0, 1.0)) == "scored"
    assert row_status(evaluation(None, 1.0)) == "partial"
    assert row_status(evaluation(None, None)) == "unscored"


def test_unscored_rows_are_no_part_of_a_mean():
    """They have a share and a reason of their own."""
    sums = summed([evaluation(1.0, 1.0), evaluation(1.0, None), evaluation(0.0, None)])
    first, second = summarize(outline(CRITERIA), sums)["criteria"]
    assert first["mean"] == pytest.approx(2 / 3)
    assert second["mean"] == 1.0
    assert second["unscored"] == {"quota_exhausted": {"count": 2, "share": pytest.approx(2 / 3)}}


def test_groups_widen_the_interval_of_rows_that_are_alike():
    """Ten copies of each answer tell no more than one of each."""
    rows = [evaluation(float(number // 10 % 2), 1.0) for number in range(100)]
    plain = summarize(outline(CRITERIA), summed(rows))["criteria"][0]
    grouped = summarize(outline(CRITERIA), summed(rows, lambda n: f"g:{n // 10}"))["criteria"][0]
    assert (plain["clusters"], grouped["clusters"]) == (None, 10)
    assert grouped["standard_error"] > 3 * plain["standard_error"]


def test_groups_that_are_left_out_are_not_half_used():
    """Over the limit the summary says so and falls back to independent rows."""
    sums = summed([evaluation(1.0, 1.0), evaluation(0.0, 1.0)], lambda n: f"g{n}")
    sums.groups["_"] = 1
    summary = summarize(outline(CRITERIA), sums)
    assert summary["groups_left_out"] is True
    assert summary["rows"]["clusters"] is None


def test_a_batch_without_results_has_no_numbers():
    """Null, never 0 and never NaN."""
    empty = summarize(outline(CRITERIA), Sums({}, {}))["rows"]
    assert (empty["mean"], empty["ci95"], empty["pass_rate"]) == (None, None, None)


def test_scores_are_counted_by_tenths():
    """The last tenth holds the score 1; sums from before there were tenths show none."""
    sums = summed([evaluation(score, None) for score in (0.0, 0.09, 0.1, 0.55, 0.95, 1.0)])
    rows, first, second = (
        summarize(outline(CRITERIA), sums)["rows"],
        *summarize(outline(CRITERIA), sums)["criteria"],
    )
    assert first["distribution"] == [2, 1, 0, 0, 0, 1, 0, 0, 0, 2] == rows["distribution"]
    assert second["distribution"] == [0] * 10
    old = {name: count for name, count in sums.tally.items() if ":bin:" not in name}
    assert summarize(outline(CRITERIA), Sums(old, {}))["rows"]["distribution"] is None
