"""Gates of a batch: certain verdicts from sums, and early ones from the finished prefix."""

import random
from collections import Counter

import orjson
import pytest

from assay.batches.gates import certain_verdicts, decide, gate_scores, parse_gates
from assay.batches.summary import row_tally
from assay.domain.batches import FinishedRows
from assay.domain.completion import NO_USAGE
from assay.domain.evaluation import CriterionResult, Evaluation, EvaluatorRecord

NAMES = ("polite", "short")
RATE = parse_gates([{"criterion": "polite", "min_pass_rate": 0.8}], NAMES)
BOTH = parse_gates([{"min_score": 0.5}, {"criterion": "short", "min_pass_rate": 0.9}], NAMES)


def evaluation(*scores):
    """An evaluation with a score for each criterion; None is unscored."""
    results = tuple(
        CriterionResult(
            name,
            "t",
            "unscored" if score is None else "scored",
            score=score,
            passed=None if score is None else score >= 0.5,
            reason="quota_exhausted" if score is None else None,
        )
        for name, score in zip(NAMES, scores, strict=True)
    )
    known = [score for score in scores if score is not None]
    return Evaluation(
        id="eval_1",
        created_at="",
        status="partial" if None in scores else "completed",
        passed=None if None in scores else all(score >= 0.5 for score in scores),
        score=sum(known) / len(known) if known else None,
        results=results,
        usage=NO_USAGE,
        evaluator=EvaluatorRecord("r"),
        cost_usd=0.0,
        latency_ms=0.0,
    )


def verdicts(gates, rows, total=None):
    tally = Counter()
    for row in rows:
        tally.update(row_tally(row))
    return certain_verdicts(gates, tally, len(rows) if total is None else total, len(rows))


def run(gates, scores, *, cuts=(), alpha=0.05, total=None):
    """The last step over these rows, taken in parts that end at `cuts`."""
    first, state, step = 0, b"", None
    for end in (*cuts, len(scores)):
        step = decide(
            gates, alpha, FinishedRows(total or len(scores), first, state, scores[first:end])
        )
        if step.status is not None:
            break
        first, state = step.finished, step.state
    return step


def test_a_gate_is_about_rows_or_a_criterion():
    """The place in the sums follows from the name; an unknown one is an error."""
    assert [(gate.place, gate.measure, gate.bound) for gate in BOTH] == [
        ("rows", "score", 0.5),
        ("1", "pass_rate", 0.9),
    ]
    with pytest.raises(ValueError, match="rude"):
        parse_gates([{"criterion": "rude", "min_score": 0.5}], NAMES)


def test_what_a_row_counts_for_each_gate():
    """The score, or 1 for a pass; unscored is None and never 0."""
    assert gate_scores(BOTH, evaluation(1.0, 0.25)) == [0.625, 0.0]
    assert gate_scores(BOTH, evaluation(0.5, None)) == [None, None]
    assert gate_scores(BOTH, evaluation(None, None)) == [None, None]


@pytest.mark.parametrize(
    ("passes", "fails", "unscored", "total", "verdict", "interval"),
    [
        (8, 2, 0, 10, "passed", (0.8, 0.8)),
        (7, 3, 0, 10, "failed", (0.7, 0.7)),
        (8, 1, 1, 10, "passed", (0.8, 0.9)),
        (7, 2, 1, 10, "undecided", (0.7, 0.8)),
        (6, 3, 1, 10, "failed", (0.6, 0.7)),
        (8, 0, 0, 10, "passed", (0.8, 1.0)),
        (5, 0, 0, 10, "undecided", (0.5, 1.0)),
        (0, 3, 0, 10, "failed", (0.0, 0.7)),
        (0, 0, 10, 10, "undecided", (0.0, 1.0)),
        (0, 0, 0, 0, "undecided", (0.0, 1.0)),
        (1, 0, 0, 1, "passed", (1.0, 1.0)),
    ],
)
def test_a_verdict_from_sums_holds_whatever_the_rest_would_be(
    passes, fails, unscored, total, verdict, interval
):
    """Rows that are unscored or not judged yet may be anything."""
    rows = [evaluation(1.0, 1.0)] * passes + [evaluation(0.0, 1.0)] * fails
    rows += [evaluation(None, 1.0)] * unscored
    [found] = verdicts(RATE, rows, total)
    assert found["verdict"] == verdict
    assert found["interval"] == pytest.approx(interval)
    assert found["rows"] == len(rows)


def test_a_row_with_an_unscored_criterion_may_have_any_score_as_a_whole():
    """Its score is that of the other criteria alone."""
    gates = parse_gates([{"min_score": 0.9}, {"min_pass_rate": 0.9}], NAMES)
    rows = [evaluation(1.0, 1.0)] * 8 + [evaluation(1.0, None), evaluation(0.0, None)]
    found = [verdict["interval"] for verdict in verdicts(gates, rows)]
    assert found == [(0.8, 1.0), (0.8, 1.0)]
    assert gate_scores(gates, rows[0]) == [1.0, 1.0]
    assert gate_scores(gates, rows[8]) == gate_scores(gates, rows[9]) == [None, None]


def test_a_gate_that_only_unscored_rows_could_decide_says_so():
    """The end of a batch without scores is no pass and no failure, from sums and from steps."""
    [found] = verdicts(RATE, [evaluation(None, 1.0)] * 5)
    assert "5 rows are unscored" in found["statement"]
    step = run(RATE, [[None]] * 5)
    assert (step.status, step.finished) == ("completed", 5)
    [early] = step.gates
    assert (early["verdict"], early["interval"]) == ("undecided", (0.0, 1.0))
    assert "unscored" in early["statement"]


@pytest.mark.parametrize(("passes", "verdict"), [(0.97, "passed"), (0.5, "failed")])
def test_a_clear_batch_is_decided_by_few_rows(passes, verdict):
    """Far above and far below the gate, less than a tenth of the rows decides."""
    chance = random.Random(1)
    scores = [[float(chance.random() < passes)] for _ in range(2_000)]
    step = run(RATE, scores)
    assert (step.status, step.gates[0]["verdict"]) == ("decided", verdict)
    assert step.finished < 200


def test_the_result_does_not_depend_on_how_many_rows_are_looked_at_together():
    """Row by row, in parts and at once, each step ends at the same row with the same figures."""
    chance = random.Random(2)
    scores = [[chance.random() * 0.9, float(chance.random() < 0.8)] for _ in range(600)]
    whole = run(BOTH, scores)
    for cuts in (range(1, 600), (7, 8, 300), (599,)):
        assert run(BOTH, scores, cuts=cuts) == whole
    assert whole.status == "decided"


def test_one_failed_gate_decides_the_batch():
    """The others are told as far as they were known at that row."""
    chance = random.Random(3)
    scores = [[0.5 + chance.uniform(-0.2, 0.2), float(chance.random() < 0.3)] for _ in range(500)]
    step = run(BOTH, scores)
    assert [gate["verdict"] for gate in step.gates] == ["undecided", "failed"]
    assert step.gates[0]["rows"] == step.gates[1]["rows"] == step.finished < 100


def test_all_gates_that_pass_end_the_batch_at_the_last_of_them():
    """Each says by how many rows it was decided."""
    chance = random.Random(4)
    scores = [[1.0, float(chance.random() < 0.97)] for _ in range(2_000)]
    step = run(BOTH, scores)
    first, second = (gate["rows"] for gate in step.gates)
    assert [gate["verdict"] for gate in step.gates] == ["passed", "passed"]
    assert first < second == step.finished


def test_alpha_is_split_over_the_gates():
    """Two equal gates need as many rows as one with half of alpha."""
    chance = random.Random(5)
    scores = [[float(chance.random() < 0.95)] * 2 for _ in range(2_000)]
    twice = run(RATE * 2, scores)
    once = run(RATE, scores, alpha=0.025)
    assert twice.finished == once.finished > run(RATE, scores).finished


def test_a_row_without_an_evaluation_is_unscored_for_every_gate():
    """Nothing is known of it, and it holds nothing up."""
    step = run(BOTH, [[], [1.0, 1.0]], total=4)
    assert (step.finished, step.status) == (2, None)
    assert [gate["interval"][1] for gate in step.gates] == [1.0, 1.0]


def test_one_row_is_the_whole_batch():
    """Its score is the mean: nothing is saved, so the batch is completed."""
    step = run(RATE, [[1.0]])
    assert (step.status, step.gates[0]["verdict"]) == ("completed", "passed")
    assert run(RATE, [[0.0]]).gates[0]["verdict"] == "failed"


def test_the_state_does_not_grow_with_the_rows():
    """A few kilobytes for each gate, and nothing of single rows."""
    chance = random.Random(6)
    scores = [[float(chance.random() < 0.8)] for _ in range(3_000)]
    few = run(RATE, scores[:100], total=100_000)
    many = run(RATE, scores, total=100_000)
    assert (few.status, many.status) == (None, None)
    assert len(many.state) < 1.2 * len(few.state) < 10_000
    assert orjson.loads(many.state)[0]["waiting"] == []
