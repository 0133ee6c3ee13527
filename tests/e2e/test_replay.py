"""Recorded judges, replayed through the real service, give the recorded verdicts."""

import pytest

from replay.recordings import DATA, llmbar_casestudy, prometheus_vicuna, without_verdict
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
    assert outcome.agreed == 960, outcome.differing[:3]


async def test_every_reasoned_choice_ends_in_the_recorded_winner():
    """GPT-4's chain-of-thought completions, in both orders, give the recorded winner."""
    recordings = list(llmbar_casestudy("GPT-4.CoT"))
    outcome = await replay(recordings)
    assert len(recordings) == 108
    assert outcome.agreed == 108, outcome.differing[:3]


async def test_a_completion_without_a_verdict_is_unscored():
    """Where the sentence with the verdict is cut out, nothing is made up."""
    recordings = list(without_verdict(llmbar_casestudy("GPT-4.CoT")))
    outcome = await replay(recordings)
    assert outcome.unscored == {"judge_parse_error": 108}, outcome.differing[:3]
