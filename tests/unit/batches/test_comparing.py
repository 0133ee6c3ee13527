"""Two runs compared: pairs by item id, what chance explains, and what makes them incomparable."""

import math
from fractions import Fraction

import orjson
import pytest

from assay.batches.comparing import compare_results
from assay.batches.run_results import RunResults
from assay.domain.errors import RequestError
from assay.domain.exact_json import dumps
from fakes.runs import result, run_of
from replay.recordings import DATA, llmbar_gold, llmbar_votes


def rows(scores, *, name="polite", **fields):
    return [result(f"i{n}", **{name: score}, **fields) for n, score in enumerate(scores)]


def compared(base, candidate, shown=20):
    return compare_results(run_of(*base), run_of(*candidate), shown)


@pytest.mark.data
@pytest.mark.skipif(not DATA.exists(), reason=f"no recorded data at {DATA} (set ASSAY_DATA)")
def test_two_recorded_judges_give_what_a_hand_computation_gives():
    """LLMBar: PaLM2 is the base, GPT-4 the candidate; a row passes where the judge is right."""
    gold = llmbar_gold()
    right = [
        [
            None if math.isnan(vote) else float(vote == label)
            for vote, label in zip(votes, gold, strict=True)
        ]
        for votes in (llmbar_votes("PaLM2")[0], llmbar_votes("GPT-4")[0])
    ]
    found = compared(*(rows(scores) for scores in right))
    both = [
        (old, new) for old, new in zip(*right, strict=True) if old is not None and new is not None
    ]
    gained, lost = both.count((0.0, 1.0)), both.count((1.0, 0.0))
    n = len(both)
    assert (n, gained, lost) == (300, 38, 13)
    # The coin that decides each changed row comes up this uneven, or more, with probability p.
    flips = gained + lost
    p = 2 * sum(Fraction(math.comb(flips, k), 2**flips) for k in range(lost + 1))
    mean = (gained - lost) / n
    spread = (gained + lost - n * mean**2) / (n - 1)
    width = 1.967930 * math.sqrt(spread / n)  # Student's t with 299 degrees of freedom
    for one in found.criteria[0].differences:
        assert one.measure == "pass_rate"
        assert (one.rows, one.improved, one.regressed) == (n, gained, lost)
        assert (one.test, one.verdict) == ("mcnemar", "improvement")
        assert one.difference == pytest.approx(mean)
        assert one.candidate - one.base == pytest.approx(mean)
        assert one.ci95 == pytest.approx((mean - width, mean + width), abs=1e-5)
        assert one.p_value == one.p_adjusted == pytest.approx(float(p))
        missing = [sum(vote is None for vote in votes) for votes in right]
        assert one.bounds[0] == pytest.approx((gained - lost - missing_low(right)) / 326)
        assert missing == [22, 16 - 12]
    assert found.regression is False
    assert found.comparable


def missing_low(right):
    """What the unscored rows take from the sum if each goes against the candidate."""
    pairs = [pair for pair in zip(*right, strict=True) if None in pair]
    return sum((1.0 if old is None else old) - (0.0 if new is None else new) for old, new in pairs)


def test_items_are_paired_by_id_whatever_their_order():
    """Rows in one run alone are counted and named, and not compared."""
    base = rows([1, 0, 1, 1])
    found = compared(base, [*reversed(base[1:]), result("new", polite=0)])
    assert found.items_common == 3
    assert (found.items_only_base.total, found.items_only_base.ids) == (1, ("i0",))
    assert found.items_only_candidate.ids == ("new",)
    one = found.criteria[0].differences[0]
    assert (one.rows, one.difference, one.regressed, one.p_value) == (3, 0.0, 0, 1.0)


def test_a_regression_is_significant_by_the_adjusted_p():
    """Six lost passes have p = 1/32, which a family of four tests no longer makes significant."""
    alone = compared(rows([1] * 40), rows([0] * 6 + [1] * 34))
    assert alone.regression is True
    assert alone.criteria[0].differences[0].p_value == pytest.approx(1 / 32)
    together = [
        [result(f"i{n}", polite=int(n >= lost), brief=1) for n in range(40)] for lost in (0, 6)
    ]
    found = compared(*together)
    assert found.regression is False
    assert found.criteria[0].differences[0].p_adjusted == pytest.approx(1 / 16)
    assert any("no proof that none is" in text for text in found.statements)


def test_rows_of_one_group_are_not_independent():
    """Six lost passes of one question say less than six of six."""
    base, candidate = (
        [result(f"i{n}", group=f"q{n // 6}", polite=score) for n, score in enumerate(scores)]
        for scores in ([1] * 240, [0] * 6 + [1] * 234)
    )
    one = compared(base, candidate).criteria[0].differences[0]
    assert (one.groups, one.test, one.p_value) == (40, "sign_flip", 1.0)


def test_changed_rows_come_worst_first_and_are_bounded():
    """A lost pass comes before a larger loss of score, and the total tells what is not shown."""
    base, candidate = rows([0.5, 1.0, 0.4, 0.1, 1]), rows([0.4, 0.6, 0.1, 0.9, 1])
    criterion = compared(base, candidate, shown=2).criteria[0]
    assert criterion.regressions.total == 3
    assert [row.item_id for row in criterion.regressions.rows] == ["i0", "i1"]
    (better,) = criterion.improvements.rows
    assert (better.base.score, better.candidate.score, better.candidate.passed) == (0.1, 0.9, True)


def test_unscored_rows_are_counted_with_their_reasons_and_bound_the_difference():
    """They are in neither mean; failed rows are unscored in every criterion."""
    failed = {"status": "failed", "error": {"code": "row_abandoned", "message": "…"}}
    base = rows([1, 1, None, 1])
    candidate = [*rows([1, None, None]), {"item_id": "i3", **failed}]
    criterion = compared(base, candidate).criteria[0]
    one = criterion.differences[0]
    assert (one.rows, one.bounds) == (1, (-0.75, 0.25))
    assert [(row.item_id, row.candidate.reason) for row in criterion.unscored.rows] == [
        ("i1", "quota_exhausted"),
        ("i3", "row_abandoned"),
    ]
    assert any("2 in the candidate alone" in text for text in one.statements)


def test_rows_that_a_criterion_was_skipped_for_do_not_widen_the_bounds():
    """The criterion does not apply to them in either run."""
    skipped = {"score": None, "status": "skipped", "reason": "condition_not_met"}
    found = compared(rows([1, skipped]), rows([1, skipped])).criteria[0]
    assert found.differences[0].bounds == (0.0, 0.0)
    assert found.unscored.total == 0


def test_a_criterion_without_pass_and_fail_has_its_score_alone():
    """No pass rate is made up."""
    some = [{"score": score, "passed": None} for score in (0.2, 0.4)]
    found = compared(rows(some), rows(some))
    assert [one.measure for one in found.criteria[0].differences] == ["score"]


def test_where_nothing_is_scored_in_both_runs_nothing_is_said_to_be_fine():
    """The regression is null, not false, and JSON has no NaN."""
    found = compared(rows([1, None]), rows([None, 1]))
    assert found.regression is None
    assert found.statements == ("Nothing can be tested: no row is scored in both runs.",)
    document = orjson.loads(dumps(found))
    one = document["criteria"][0]["differences"][0]
    assert one["difference"] is one["p_value"] is one["verdict"] is one["ci95"] is None
    assert "There are no values." in one["statements"]


@pytest.mark.parametrize(
    ("candidate", "words"),
    [
        ([result("other", polite=1)], "no item id in common"),
        ([result("i0", brief=1)], "polite in the base, brief in the candidate"),
        ([], "no item id in common"),
    ],
)
def test_runs_without_anything_in_common_are_refused(candidate, words):
    """The error says what is missing."""
    with pytest.raises(RequestError, match=words):
        compared(rows([1]), candidate)


@pytest.mark.parametrize(
    "broken",
    [
        {},
        {"results": 5},
        {"results": [{"name": "polite"}]},
        {"results": [{"name": "polite", "score": 7, "passed": None}]},
        {"results": [{"name": "polite", "score": "1", "passed": None}]},
        {"results": [{"name": "polite", "score": True, "passed": None}]},
        {"results": [{"name": "a", "score": 1, "passed": None}] * 2},
        {"results": [], "evaluator": "x"},
    ],
)
def test_what_is_no_result_is_refused(broken):
    """Such a file was not written by this service."""
    with pytest.raises(RequestError, match="must be a result of a batch"):
        RunResults("run").add("i0", broken)


def test_an_item_has_one_result():
    """A second one is refused: which of them counts would be a guess."""
    with pytest.raises(RequestError, match="has a result already"):
        run_of(*rows([1]), *rows([1]))


def judged(**judge):
    return rows([{"score": 1, "judge": judge}] * 50)


@pytest.mark.parametrize(
    ("base", "candidate", "words"),
    [
        (judged(), judged(prompt_version="rubric.v4"), "prompt_version differs: rubric.v3; rubric"),
        (judged(), judged(requested="strict"), "requested differs: default; strict"),
        (judged(), judged(model="n"), "served differ in 100% of the rows: p/m 100%; p/n 100%"),
        (judged(), [*judged()[:49], *judged(model="n")[49:]], "served differ in 2% of the rows"),
        (judged(), rows([{"score": 1, "threshold": 0.9}] * 50), "threshold differs: 0.5; 0.9"),
        (judged(), rows([1] * 50, revision="r2"), "The results do not show why"),
        (rows([1]), [result("i0", polite=1, brief=1)], "candidate alone are not compared: brief"),
    ],
)
def test_what_differs_besides_the_outputs_is_a_warning(base, candidate, words):
    """The runs are then not comparable, and the warning says in what."""
    found = compared(base, candidate)
    assert not found.comparable
    assert words in " ".join(found.warnings)
    assert compared(base, base).comparable


def test_definitions_and_datasets_are_compared_where_they_are_known():
    """A changed rubric has the same name."""
    base = run_of(*rows([1]), dataset="faq@1", definitions={"polite": "{1}"})
    candidate = run_of(*rows([1]), dataset="faq@2", definitions={"polite": "{2}"})
    warnings = " ".join(compare_results(base, candidate, 5).warnings)
    assert "polite: the definition of the criterion differs" in warnings
    assert "The datasets differ (faq@1, faq@2)" in warnings


def test_simulated_verdicts_and_other_groups_are_told():
    """They are no reason to refuse, and no reason to be silent."""
    base = run_of(result("i0", group="a", polite=1), result("i1", group="a", polite=1))
    candidate = run_of(
        {**result("i0", group="b", polite=1), "simulated": True}, result("i1", polite=1)
    )
    said = " ".join(compare_results(base, candidate, 5).statements)
    assert "SIMULATED" in said
    assert "another group" in said
    recorded = result("i0", polite={"score": 1, "judge": {"provider": "recorded"}})
    base = run_of({**recorded, "simulated": True})
    said = " ".join(compare_results(base, run_of(result("i0", polite=1)), 5).statements)
    assert ("RECORDED" in said, "SIMULATED" in said) == (True, False)
