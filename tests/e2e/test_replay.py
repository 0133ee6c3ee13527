"""Recorded judges, replayed through the real service, give the recorded verdicts."""

import statistics

import pytest

from replay.judges import replay_pairs, replay_preferences, replay_samples
from replay.recordings import (
    DATA,
    FAIREVAL,
    FORMS,
    alpacaeval,
    in_form,
    llmbar_casestudy,
    llmbar_faireval,
    prometheus_samples,
    prometheus_vicuna,
    published,
    without_verdict,
)
from replay.run import replay

pytestmark = [
    pytest.mark.data,
    pytest.mark.skipif(not DATA.exists(), reason=f"no recorded data at {DATA} (set ASSAY_DATA)"),
]


async def test_every_prometheus_verdict_is_read_as_recorded():
    """All 960 free-text verdicts of the form "… [RESULT] 4" give their integer."""
    recordings = list(prometheus_vicuna())
    outcome = await replay(recordings)
    assert len(recordings) == 960
    assert outcome.as_recorded == 960, (outcome.lost[:3], outcome.invented[:3])


async def test_every_reasoned_choice_ends_in_the_recorded_winner():
    """GPT-4's chain-of-thought completions, in both orders, give the recorded winner."""
    recordings = list(llmbar_casestudy("GPT-4.CoT"))
    outcome = await replay(recordings)
    assert len(recordings) == 108
    assert outcome.as_recorded == 108, (outcome.lost[:3], outcome.invented[:3])


@pytest.mark.parametrize("form", FORMS)
async def test_no_form_loses_or_invents_a_verdict(form):
    """The recorded reasoning, followed by the verdict in each form that is read undeclared."""
    recordings = list(in_form(form, prometheus_vicuna()))
    outcome = await replay(recordings, structured=form == "structured")
    assert outcome.as_recorded == 960, (outcome.lost[:3], outcome.invented[:3])
    named = {"brackets": "form:brackets"}.get(form, form)
    assert set(outcome.methods) == {named}


async def test_a_completion_without_a_verdict_is_unscored():
    """Where the sentence with the verdict is cut out, nothing is made up."""
    recordings = list(without_verdict(llmbar_casestudy("GPT-4.CoT")))
    outcome = await replay(recordings)
    assert outcome.as_recorded == 108, outcome.invented[:3]


@pytest.mark.parametrize("source", FAIREVAL)
async def test_comparisons_give_the_published_accuracy_and_agreement(source):
    """Recorded verdicts in both orders give the published figures to a tenth of a point."""
    pairs = list(llmbar_faireval(source))
    assert len(pairs) == 66
    assert await replay_pairs(pairs) == pytest.approx(published(source), abs=0.1)


async def test_logprobs_give_the_published_win_rate():
    """The labels' recorded probabilities give each preference, and their mean the win rate."""
    weighed = list(alpacaeval())
    preferences, calls = await replay_preferences(weighed)
    assert preferences == pytest.approx([case.expected for case in weighed], abs=1e-6)
    assert 100 * statistics.fmean(preferences) == pytest.approx(2.591, abs=0.001)
    assert (len(preferences), calls) == (805, 802)


async def test_three_samples_give_their_mean_and_spread():
    """Each of the 320 cases is asked three times: the mean of the recorded scores, and how far
    they differ."""
    samples = list(prometheus_samples())
    results = await replay_samples(samples)
    assert len(results) == 320
    for (_, _, _, scores), result in zip(samples, results, strict=True):
        judge = result["judge"]
        assert result["value"] == pytest.approx(statistics.fmean(scores))
        assert judge["score_method"] == "samples"
        assert judge["spread"] == pytest.approx(statistics.pstdev(scores))
        assert sorted(vote["value"] for vote in judge["votes"]) == sorted(scores)
