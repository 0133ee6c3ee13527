"""Samples and panels: every vote is shown, and none is made up."""

from __future__ import annotations

import json
import statistics

import pytest
from hypothesis import given
from hypothesis import strategies as st

from assay.criteria.base import Finding
from assay.domain.errors import AnswerUnreadable, ProviderDown, QuotaExhausted
from assay.domain.evaluation import PanelRecord
from assay.judging.voting import aggregate
from fakes.engine import one
from fakes.judges import COST_USD, FAIL, PASS, USAGE, FakeJudges, ScriptedModel

SCORE = {"type": "score", "rubric": "How good?", "min": 1, "max": 5}


def score(number: int) -> str:
    return json.dumps({"reasoning": f"it is {number}", "score": number})


async def test_samples_report_the_mean_the_spread_and_each_vote() -> None:
    """Three answers make one score on the criterion's own scale, and all three are shown."""
    model = ScriptedModel(score(3), score(4), score(5))
    result = await one(SCORE, FakeJudges(model), samples=3)
    assert (result.value, result.score) == (pytest.approx(4), pytest.approx(0.75))
    assert result.judge is not None
    assert result.judge.score_method == "samples"
    assert [each.value for each in result.judge.votes] == [3, 4, 5]
    assert result.judge.spread == pytest.approx(statistics.pstdev([3, 4, 5]))
    assert result.judge.agreement == pytest.approx(1 / 3)


async def test_every_call_of_the_samples_is_counted_once() -> None:
    """Usage, cost and attempts are the sum over the samples."""
    result = await one("polite?", FakeJudges(ScriptedModel(PASS)), samples=3)
    assert result.judge is not None
    assert len(result.judge.attempts) == 3
    assert (result.usage, result.cost_usd) == (USAGE + USAGE + USAGE, pytest.approx(3 * COST_USD))


async def test_labels_go_by_the_majority() -> None:
    """Two of three say pass: a pass with an agreement of two thirds, not two thirds of a pass."""
    result = await one("polite?", FakeJudges(ScriptedModel(PASS, FAIL, PASS)), samples=3)
    assert (result.score, result.label, result.passed) == (1.0, "pass", True)
    assert result.judge is not None
    assert result.judge.agreement == pytest.approx(2 / 3)
    assert [each.label for each in result.judge.votes] == ["pass", "fail", "pass"]


async def test_a_tied_vote_has_no_label_and_is_no_pass() -> None:
    """One to one is between both: neither wins, and the threshold of a rubric is not reached."""
    result = await one("polite?", FakeJudges(ScriptedModel(PASS, FAIL)), samples=2)
    assert (result.score, result.label, result.passed) == (0.5, None, False)


@pytest.mark.parametrize(("how", "value"), [("mean", 8 / 3), ("median", 2), ("majority", 2)])
async def test_the_caller_says_how_votes_are_counted(how: str, value: float) -> None:
    """`aggregate` replaces the usual way of the scale."""
    model = ScriptedModel(score(2), score(2), score(4))
    result = await one(SCORE, FakeJudges(model), samples=3, aggregate=how)
    assert result.value == pytest.approx(value)


async def test_a_vote_that_failed_is_listed_and_does_not_count() -> None:
    """The mean is of those that answered; the other stands there with its reason."""
    model = ScriptedModel(score(2), AnswerUnreadable("no verdict"), score(4))
    result = await one(SCORE, FakeJudges(model), samples=3)
    assert result.value == pytest.approx(3)
    assert result.judge is not None
    assert [each.reason for each in result.judge.votes] == [None, "judge_parse_error", None]


async def test_where_every_vote_failed_nothing_is_scored() -> None:
    """The reason is the most telling one of the votes'."""
    model = ScriptedModel(ProviderDown("down"), AnswerUnreadable("no verdict"))
    result = await one("polite?", FakeJudges(model), samples=2)
    assert (result.status, result.reason, result.score) == ("unscored", "judge_parse_error", None)


async def test_no_two_samples_share_an_answer() -> None:
    """Each sample has its own key, so that nothing coalesces or caches it, and its own seed."""
    model = ScriptedModel(PASS)
    await one("polite?", FakeJudges(model), samples=3, seed=7)
    assert len({each.key for each in model.prompts}) == 3
    assert sorted(each.sampling.seed or 0 for each in model.prompts) == [7, 8, 9]
    assert all(each.key is not None for each in model.prompts)


async def test_a_panel_asks_every_model() -> None:
    """Two of three members pass the output; all three are named, with their verdicts."""
    members = {"a": ScriptedModel(PASS), "b": ScriptedModel(FAIL), "c": ScriptedModel(PASS)}
    result = await one("polite?", FakeJudges(**members), models=["a", "b", "c"], strategy="panel")
    assert [len(each.prompts) for each in members.values()] == [1, 1, 1]
    assert (result.label, result.passed) == ("pass", True)
    assert result.judge is not None
    assert (result.judge.score_method, result.judge.panel) == ("panel", PanelRecord(3, 3))
    assert result.judge.agreement == pytest.approx(2 / 3)


async def test_a_panel_is_never_silently_smaller() -> None:
    """Where a member does not answer, the panel says so, and the member's reason is listed."""
    members = {"a": ScriptedModel(PASS), "b": ScriptedModel(QuotaExhausted("spent"))}
    result = await one("polite?", FakeJudges(**members), models=["a", "b"], strategy="panel")
    assert result.status == "scored"
    assert result.judge is not None
    assert result.judge.panel == PanelRecord(asked=2, answered=1)
    assert [each.reason for each in result.judge.votes] == [None, "quota_exhausted"]


async def test_a_panel_without_an_answer_is_unscored() -> None:
    """All members failing leaves no score, and still says how many were asked."""
    members = {name: ScriptedModel(ProviderDown("down")) for name in ("a", "b")}
    result = await one("polite?", FakeJudges(**members), models=["a", "b"], strategy="panel")
    assert (result.status, result.reason) == ("unscored", "providers_unavailable")
    assert result.judge is not None
    assert result.judge.panel == PanelRecord(asked=2, answered=0)


async def test_members_of_a_panel_can_be_sampled_too() -> None:
    """Two samples of two members are four votes."""
    members = {"a": ScriptedModel(score(1), score(2)), "b": ScriptedModel(score(3), score(4))}
    result = await one(SCORE, FakeJudges(**members), models=["a", "b"], strategy="panel", samples=2)
    assert result.value == pytest.approx(2.5)
    assert result.judge is not None
    assert result.judge.panel == PanelRecord(2, 2)


async def test_an_unexpected_error_is_one_vote_less() -> None:
    """A fault of ours in one call leaves the other votes standing."""
    result = await one("polite?", FakeJudges(ScriptedModel(RuntimeError("x"), PASS)), samples=2)
    assert result.passed is True
    assert result.judge is not None
    assert sorted(str(each.reason) for each in result.judge.votes) == ["None", "check_error"]


@given(
    st.lists(st.floats(0, 1), min_size=1, max_size=32),
    st.sampled_from(["mean", "median", "majority", None]),
)
def test_the_aggregate_stays_within_its_votes(scores: list[float], how) -> None:
    """However votes are counted, the score lies between the lowest and the highest."""
    counted = aggregate([Finding(each, value=each) for each in scores], how)
    assert min(scores) - 1e-12 <= counted.finding.score <= max(scores) + 1e-12
    assert 0 < counted.agreement <= 1
    assert counted.spread >= 0
