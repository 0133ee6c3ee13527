"""What real judges wrote, read as its own authors read it: nothing lost, nothing invented."""

from __future__ import annotations

import re

import pytest

from assay.verdicts.scales import LabelScale
from replay.recordings import (
    DATA,
    FAIREVAL,
    llmbar_casestudy,
    llmbar_faireval,
    prometheus_vicuna,
    without_verdict,
)
from unit.verdicts.scales import FIVE, verdict

OUTPUTS = LabelScale(("Output (a)", "Output (b)"))
JUDGES = ("GPT-4", "ChatGPT", "LLaMA2", "PaLM2", "Falcon")

pytestmark = [
    pytest.mark.data,
    pytest.mark.skipif(not DATA.is_dir(), reason=f"no recorded judge data in {DATA}"),
]


@pytest.mark.parametrize(
    "form",
    ["{} [RESULT] {}", "{}\nScore: {}", "{}\n\n**Rating**: {}/5", "{}\n{}", "{}\n\n[[{}]]"],
)
def test_every_recorded_feedback_gives_its_score(form):
    """960 feedbacks of GPT-4 in each form that judges use."""
    recorded = [
        (re.fullmatch(r"(?s)Feedback: (.*) \[RESULT\] \d", each.completion)[1], each.expected)
        for each in prometheus_vicuna()
    ]
    assert len(recorded) == 960
    for feedback, score in recorded:
        assert verdict(form.format(feedback, score), FIVE) == score


def test_a_feedback_without_its_score_gives_none():
    """The feedbacks praise and blame in every way; none of it is a score."""
    for each in prometheus_vicuna():
        assert verdict(each.completion.partition("[RESULT]")[0], FIVE) is None


@pytest.mark.parametrize("prompt", ["CoT", "Vanilla"])
@pytest.mark.parametrize("judge", JUDGES)
def test_every_recorded_preference_is_read(judge, prompt):
    """108 answers of five judges, whose verdict is a sentence."""
    recorded = list(llmbar_casestudy(f"{judge}.{prompt}"))
    assert len(recorded) == 108
    assert [verdict(each.completion, OUTPUTS) for each in recorded] == [
        each.expected for each in recorded
    ]


def test_a_preference_that_was_cut_out_is_not_read():
    """Without the sentences that prefer one output, nothing is left to read."""
    for each in without_verdict(llmbar_casestudy("GPT-4.CoT")):
        assert verdict(each.completion, OUTPUTS) is None


@pytest.mark.parametrize("source", FAIREVAL)
def test_every_recorded_comparison_is_read(source):
    """Pairs judged in both orders; the recorded winner is the reading of the data's authors."""
    read = {
        key: verdict(text, OUTPUTS)
        for pair in llmbar_faireval(source)
        for key, text in pair.completions.items()
    }
    assert len(read) == 132
    assert set(read.values()) <= {"Output (a)", "Output (b)"}
