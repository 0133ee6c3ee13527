"""Early stopping errs rarely, decides on prefixes alone, and survives restarts."""

import heapq
import json
import math

import numpy as np
import pytest

from assay.calibration.sequential import StoppingRule, growth

GATE = 0.9
ALPHA = 0.05
LIMIT = math.log(2 / ALPHA)


def orders(batches, rows, passes, seed=0):
    """Random orders of batches with exactly this many passes."""
    scores = (np.arange(rows) < passes) * np.ones((batches, 1))
    return np.random.default_rng(seed).permuted(scores, axis=1)


def gate_wealth(scores, gate, rows):
    """Logarithms of the wealth against "at most the gate" and "at least the gate", row by row.

    `growth` for many orders at once, from sums over each whole order.
    """
    seen = np.arange(scores.shape[-1])
    sides = ((scores, gate), (1 - scores, 1 - gate))
    sums = [(x, np.cumsum(x, -1) - x, np.cumsum(x**2, -1) - x**2, seen, rows) for x, _ in sides]
    return [growth(*side, m, m).cumsum(axis=-1) for side, (_, m) in zip(sums, sides, strict=True)]


def decisions(scores, gate=GATE):
    """The verdict (1 passed, −1 failed) and the prefix that decides, for each order."""
    rows = scores.shape[1]
    above, below = gate_wealth(scores, gate, rows)
    sums = scores.cumsum(axis=1)
    slack = 1e-9 * rows
    passed = (above >= LIMIT) | (sums >= rows * gate - slack)
    failed = (below >= LIMIT) | (np.arange(1, rows + 1) - sums >= rows * (1 - gate) + slack)
    first = [np.where(hit.any(axis=1), hit.argmax(axis=1), rows) for hit in (passed, failed)]
    return np.where(first[0] <= first[1], 1, -1), np.minimum(*first) + 1


def in_flight(order, places=256):
    """Row positions in order of completion with `places` rows in flight; failing rows take 3 s.

    As a worker takes them: the next row of the order begins where one has finished.
    """
    running = [(3 - 2 * order[i], i) for i in range(min(places, len(order)))]
    heapq.heapify(running)
    finished = []
    for nxt in range(len(running), len(order) + len(running)):
        time, position = heapq.heappop(running)
        finished.append(position)
        if nxt < len(order):
            heapq.heappush(running, (time + 3 - 2 * order[nxt], nxt))
    return finished


@pytest.mark.parametrize("passes", [899, 900])
def test_batches_at_the_boundary_err_in_at_most_alpha(passes):
    """10,000 batches of 1,000 rows, one pass below the gate, and exactly on it."""
    wrong = 0
    for seed in range(10):
        verdicts, _ = decisions(orders(1_000, 1_000, passes, seed))
        wrong += int((verdicts == (1 if passes < 900 else -1)).sum())
    print(f"{passes} of 1,000 pass: {wrong / 10_000:.4f} of batches err")
    assert wrong <= ALPHA * 10_000


def test_rows_in_flight_do_not_change_the_verdict():
    """With 256 in flight and failing rows three times slower: the verdict is that of the prefix.

    Deciding in order of completion would be wrong: quick passes come first.
    """
    scores = orders(200, 1_000, 899)
    verdicts, prefixes = decisions(scores)
    naive_errors = 0
    for order, verdict, prefix in zip(scores, verdicts, prefixes, strict=True):
        completed = in_flight(order)
        rule = StoppingRule(GATE, 1_000, ALPHA)
        done = {position: time for time, position in enumerate(completed)}
        rule.finish({position: order[position] for position in completed[: len(completed) // 2]})
        rule.finish({position: order[position] for position in completed[len(completed) // 2 :]})
        assert rule.verdict == ("passed" if verdict == 1 else "failed")
        assert rule.finished == prefix
        assert len(done) == 1_000
        naive, _ = decisions(order[completed][None])
        naive_errors += naive[0] == 1
    print(f"in order of completion {naive_errors / 200:.3f} of batches would err")
    assert (verdicts == 1).sum() <= ALPHA * 200
    assert naive_errors > 0.5 * 200


def test_clear_batches_use_few_rows():
    """The median share of rows until the decision, at true rates from 0.5 to 0.99."""
    used = {}
    for rate in (0.5, 0.7, 0.8, 0.85, 0.88, 0.92, 0.95, 0.97, 0.99):
        verdicts, prefixes = decisions(orders(200, 1_000, round(1_000 * rate)))
        used[rate] = np.median(prefixes) / 1_000
        assert (verdicts == (1 if rate >= GATE else -1)).mean() >= 0.95
    print("median share of rows used", used)
    assert used[0.5] < 0.03
    assert used[0.8] < 0.15
    assert used[0.99] < 0.06


def test_the_interval_holds_the_mean_at_all_times():
    """Of 300 batches of scores, at most 5 % ever exclude the mean of all rows."""
    rng = np.random.default_rng(2)
    left = 0
    for _ in range(300):
        scores = rng.beta(4, 2, 300)
        rule = StoppingRule(0.6, 300, ALPHA)
        outside = False
        for start in range(0, 300, 20):
            rule.finish(dict(enumerate(scores[start : start + 20], start)))
            low, high = rule.interval
            outside |= not low - 1e-9 <= scores.mean() <= high + 1e-9
        left += outside
    print(f"the mean left the interval in {left / 300:.3f} of batches")
    assert left <= ALPHA * 300


def test_wealth_is_that_of_the_reference():
    """`betting_mart` of confseq 0.0.11 with the same bets (N = 60, at most ¾ of the wealth)."""
    i = np.arange(60)
    scores = ((i * 37 + 11) % 101 < 78) * 1.0
    scores[[7, 30]] = 0.5
    above, below = gate_wealth(scores[:45], 0.6, 60)
    assert above[[9, 24, 44]] == pytest.approx(
        [-0.9080641616122573, -1.4650968035737086, 5.027988213043423], abs=1e-12
    )
    above, below = gate_wealth(scores[:45], 0.7, 60)
    assert above[44] == pytest.approx(-1.4133696893632854, abs=1e-12)
    assert below[[9, 24, 44]] == pytest.approx(
        [-0.09885896549697125, -0.22550434032989758, -0.22550434032989758], abs=1e-12
    )


@pytest.mark.parametrize("rate", [0.5, 0.86, 0.9, 0.95])
def test_the_rule_is_the_wealth_at_the_gate(rate):
    """Row by row, in blocks or at once, with or without a restart: one state, one verdict."""
    order = orders(1, 600, round(600 * rate), seed=3)[0]
    verdict, prefix = decisions(order[None])
    states = []
    for step in (1, 7, 600):
        rule = StoppingRule(GATE, 600, ALPHA)
        for start in range(0, 600, step):
            rule = StoppingRule.from_state(json.loads(json.dumps(rule.to_state())))
            if rule.finish(dict(enumerate(order[start : start + step], start))):
                break
        assert rule.verdict == ("passed" if verdict[0] == 1 else "failed")
        assert rule.finished == prefix[0]
        states.append(rule.to_state())
    assert states[0] == states[1] == states[2]


def test_a_missing_row_holds_the_decision():
    """Rows behind a gap wait, also over a restart, and count once the gap is closed."""
    rule = StoppingRule(GATE, 1_000, ALPHA)
    assert rule.finish(dict.fromkeys(range(1, 200), 0.0)) is None
    assert rule.finished == 0
    rule = StoppingRule.from_state(json.loads(json.dumps(rule.to_state())))
    assert rule.finish({0: None}) == "failed"
    assert rule.finished < 200


def test_rows_after_the_decision_do_not_change_it():
    """They are kept in the results and not in the decision."""
    rule = StoppingRule(0.5, 10_000, ALPHA)
    rule.finish(dict.fromkeys(range(100), 1.0))
    before = rule.to_state()
    assert rule.verdict == "passed"
    assert rule.finish(dict.fromkeys(range(100, 9000), 0.0)) == "passed"
    assert rule.to_state() == before


def test_unscored_rows_count_for_neither_side():
    """Were they all passes or all fails, the verdict would stand; else there is none."""
    rows = 400
    undecided = StoppingRule(GATE, rows, ALPHA)
    undecided.finish({i: (None if i % 5 == 0 else 1.0) for i in range(rows)})
    assert undecided.verdict is None
    assert undecided.interval == pytest.approx((0.8, 1.0), abs=1e-9)
    assert "unscored" in undecided.statement
    failed = StoppingRule(GATE, rows, ALPHA)
    assert (
        failed.finish({i: (None if i % 5 == 0 else i % 2 * 1.0) for i in range(rows)}) == "failed"
    )


def test_without_risk_only_certainty_decides():
    """α = 0: passed once the rows left cannot bring the mean below the gate, and not before."""
    rule = StoppingRule(GATE, 100, alpha=0.0)
    assert rule.finish(dict.fromkeys(range(89), 1.0)) is None
    assert rule.finish({89: 1.0}) == "passed"
    assert rule.interval == pytest.approx((0.9, 1.0))


def test_a_gate_of_one_fails_with_the_first_failing_row():
    """And passes with the last row alone."""
    rule = StoppingRule(1.0, 50)
    rule.finish(dict.fromkeys(range(49), 1.0))
    assert rule.verdict is None
    assert StoppingRule.from_state(rule.to_state()).finish({49: 0.5}) == "failed"
    assert rule.finish({49: 1.0}) == "passed"


def test_a_hundred_thousand_rows_fit():
    """Rows at the boundary are taken to the end in blocks, and the state stays small."""
    rule = StoppingRule(GATE, 100_000, ALPHA)
    order = orders(1, 100_000, 90_000)[0]
    rule.finish(dict(enumerate(order)))
    assert rule.finished > 50_000
    assert len(json.dumps(rule.to_state())) < 10_000


@pytest.mark.parametrize(
    ("rule", "field"),
    [((0.0, 10), "gate"), ((1.1, 10), "gate"), ((0.5, 0), "rows"), ((0.5, 10, 1.0), "alpha")],
)
def test_impossible_rules_are_named(rule, field):
    """A gate of 0 needs no statistics, and a batch has rows."""
    with pytest.raises(ValueError, match=field):
        StoppingRule(*rule)


@pytest.mark.parametrize("scores", [{0: 1.1}, {0: -0.1}, {10: 1.0}, {-1: 0.0}])
def test_impossible_scores_change_nothing(scores):
    """They are an error, and the rows given with them are not taken."""
    rule = StoppingRule(0.5, 10)
    with pytest.raises(ValueError, match="positions"):
        rule.finish({1: 1.0} | scores)
    assert rule.to_state()["waiting"] == []
