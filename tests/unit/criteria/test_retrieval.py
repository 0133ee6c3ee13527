"""Retrieval metrics against textbook values."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from assay.criteria.deterministic.retrieval import Mrr, Ndcg, PrecisionAtK, RecallAtK
from assay.domain.errors import NotApplicable
from assay.domain.evaluation import Case

NO_CASE = Case("an answer")
PROBLEM_TYPES = (PrecisionAtK, RecallAtK, Ndcg, Mrr)


def score(cls, retrieved, relevant, **fields):
    [name] = cls.model_fields["type"].annotation.__args__
    check = cls(type=name, retrieved=retrieved, relevant=relevant, **fields)
    return check.check(NO_CASE).score


def test_ndcg_of_the_encyclopedias_example():
    """Grades 3, 2, 3, 0, 1, 2 of a corpus that also holds a 3 and a 2: nDCG at 6 is 0.785."""
    relevant = {"d1": 3, "d2": 2, "d3": 3, "d4": 0, "d5": 1, "d6": 2, "d7": 3, "d8": 2}
    ranking = ["d1", "d2", "d3", "d4", "d5", "d6"]
    assert score(Ndcg, ranking, relevant, k=6) == pytest.approx(0.785, abs=5e-4)


def test_ndcg_with_exponential_gain():
    """Burges et al., 2005: (2^grade − 1) ÷ log2(rank + 1), by hand."""
    found = 1 / math.log2(2) + 7 / math.log2(3)
    best = 7 / math.log2(2) + 1 / math.log2(3)
    reached = score(Ndcg, ["b", "a"], {"a": 3, "b": 1}, gain="exponential")
    assert reached == pytest.approx(found / best)


def test_mean_reciprocal_rank_of_the_encyclopedias_example():
    """First correct plurals at ranks 3, 2 and 1: the mean is 11/18."""
    queries = [
        (["catten", "cati", "cats"], "cats"),
        (["torii", "tori", "toruses"], "tori"),
        (["viruses", "virii", "viri"], "viruses"),
    ]
    ranks = [score(Mrr, ranking, [correct]) for ranking, correct in queries]
    assert sum(ranks) / 3 == pytest.approx(11 / 18)


@pytest.mark.parametrize(
    ("k", "precision", "recall"), [(1, 1, 1 / 3), (3, 2 / 3, 2 / 3), (10, 0.2, 2 / 3)]
)
def test_precision_and_recall_at_k(k, precision, recall):
    """As trec_eval: a ranking shorter than k lowers precision."""
    ranking, relevant = ["d3", "d7", "d1", "d9"], ["d1", "d2", "d3"]
    assert score(PrecisionAtK, ranking, relevant, k=k) == pytest.approx(precision)
    assert score(RecallAtK, ranking, relevant, k=k) == pytest.approx(recall)


def test_the_case_gives_what_the_criterion_does_not():
    """The context is the ranking and the reference is relevant; outer white space is ignored."""
    case = Case("an answer", context=("first", " second "), reference=("second", "third"))
    assert Mrr(type="mrr").check(case).score == 0.5
    assert RecallAtK(type="recall_at_k").check(case).score == 0.5
    assert Mrr(type="mrr", relevant=["first"]).check(case).score == 1


def test_a_repeated_passage_counts_once():
    """Repeating a relevant passage does not raise the score."""
    assert score(PrecisionAtK, ["a", "a", "a"], ["a"]) == pytest.approx(1 / 3)
    assert score(RecallAtK, ["a", "a"], ["a", "b"]) == 0.5
    assert score(Ndcg, ["a", "a"], ["a"]) == 1


@pytest.mark.parametrize("cls", PROBLEM_TYPES)
def test_finding_nothing_is_zero_and_knowing_nothing_is_unscored(cls):
    """An empty ranking has a score; a missing one, or nothing relevant, has none."""
    assert score(cls, [], ["a"]) == 0
    assert score(cls, ["b"], ["a"]) == 0
    [name] = cls.model_fields["type"].annotation.__args__
    with pytest.raises(NotApplicable) as no_ranking:
        cls(type=name, relevant=["a"]).check(NO_CASE)
    assert no_ranking.value.reason == "context_missing"
    for relevant in (None, [], {"a": 0}):
        with pytest.raises(NotApplicable) as none_relevant:
            cls(type=name, retrieved=["a"], relevant=relevant).check(NO_CASE)
        assert none_relevant.value.reason == "reference_missing"


IDS = st.lists(st.sampled_from("abcdefgh"), max_size=12)


@pytest.mark.parametrize("cls", PROBLEM_TYPES)
@given(
    ranking=IDS,
    relevant=st.dictionaries(st.sampled_from("abcdefgh"), st.integers(1, 100), min_size=1),
    k=st.none() | st.integers(1, 15),
)
def test_a_score_is_between_0_and_1(cls, ranking, relevant, k):
    """For any ranking, grades and depth."""
    assert 0 <= score(cls, ranking, relevant, k=k) <= 1


@pytest.mark.parametrize("gain", ["linear", "exponential"])
@given(relevant=st.dictionaries(st.sampled_from("abcdefgh"), st.integers(1, 9), min_size=1))
def test_the_ideal_ranking_scores_1(gain, relevant):
    """A ranking by falling grade has the best nDCG, and full recall and precision."""
    ideal = sorted(relevant, key=relevant.__getitem__, reverse=True)
    assert score(Ndcg, ideal, relevant, gain=gain) == pytest.approx(1)
    assert score(RecallAtK, ideal, relevant) == score(PrecisionAtK, ideal, relevant) == 1
    assert score(Mrr, ideal, relevant) == 1
