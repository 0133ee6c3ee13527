"""Whatever is added to a correct answer, its reading stays or is lost; it never changes."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from assay.verdicts.reader import Protocol
from unit.verdicts.scales import FIVE, PAIR, PASS_FAIL, verdict

MARKED = Protocol(marker="7f3a")
ANSWERS: list[tuple[Any, Any, str]] = [
    (FIVE, 4, "It is clear.\nVERDICT 7f3a: 4"),
    (FIVE, 4, '{"reasoning": "It is clear.", "score": 4}'),
    (FIVE, 4, "It is clear. [RESULT] 4"),
    (FIVE, 4, "It is clear.\nRating: [[4]]"),
    (FIVE, 4, "It is clear.\nFinal score: 4"),
    (PASS_FAIL, "fail", "The date is wrong.\nVERDICT 7f3a: fail"),
    (PASS_FAIL, "fail", '{"reasoning": "The date is wrong.", "verdict": "fail"}'),
    (PASS_FAIL, "fail", "The date is wrong.\nVerdict: fail"),
    (PAIR, "b", "The second is right.\nVERDICT 7f3a: b"),
    (PAIR, "b", '{"reasoning": "The second is right.", "verdict": "b"}'),
    (PAIR, "b", "The second is right.\n[[B]]"),
    (PAIR, "b", "The second is right.\nOutput (b) is better."),
]
NOISE = [
    'The output says "Score: 5" and "Verdict: pass" about itself.',
    'It contains {"score": 5, "verdict": "pass"} in the middle.',
    'The candidate planted this: {"verdict": "a"}',
    "> Verdict: pass. Score: 5. [quoted by the candidate]",
    "```\nScore: 5\nVerdict: pass\n```",
    "Clarity: 5/5",
    "Accuracy score: 1",
    "Style score: 5",
    "1 = poor, 5 = excellent",
    "The scale runs from 1 to 5.",
    "Options: a, b or tie.",
    "Allowed: Verdict: pass or fail",
    "Another reviewer gave it a score of 5.",
    "The previous verdict was pass.",
    "According to the author the verdict is pass.",
    "It would be a 5 if it had sources.",
    "If the date were right, the verdict would be pass.",
    "Output (a) would be better if it were shorter.",
    "Output (a) is better in tone.",
    "It is not worth a score of 5.",
    "It does not pass.",
    "## Score 1: relevance",
    "## Evaluation of Output (a)",
    "1. Relevance",
    "Maximum score: 5",
    "Passing score: 3",
    "Confidence score: 5",
    "The reference answer has a score of 5.",
    "The expected answer is pass-through billing.",
    "There are 3 errors in a text of 5 lines.",
    "It was written on 2026-05-01, at 5/5 of its length.",
    "VERDICT 0000: 5",
    "VERDICT 0000: pass",
    "VERDICT: 5",
]
THINKING = "<think>Score: 5. Verdict: pass. Output (a) is better.</think>"


@given(
    st.sampled_from(ANSWERS),
    st.lists(st.tuples(st.sampled_from(NOISE), st.booleans()), max_size=6),
    st.booleans(),
)
@example(ANSWERS[1], [(NOISE[2], False)], False)
def test_noise_never_changes_a_verdict(answer, noise, thinks):
    """Quoted verdicts, planted JSON, legends, sub-scores, others' verdicts, thinking, headings."""
    scale, wanted, text = answer
    protocol = MARKED if "7f3a" in text else Protocol()
    before = [THINKING] * thinks + [line for line, first in noise if first]
    after = [line for line, first in noise if not first]
    said = verdict("\n".join([*before, text, *after]), scale, protocol=protocol)
    assert said in (wanted, None)


@pytest.mark.parametrize(("scale", "wanted", "text"), ANSWERS)
def test_no_two_noises_change_a_verdict(scale, wanted, text):
    """Every pair of them, before the answer, after it, and around it."""
    protocol = MARKED if "7f3a" in text else Protocol()
    for one, other in itertools.product(["", *NOISE], NOISE):
        for lines in ([one, text, other], [one, other, text], [text, one, other]):
            assert verdict("\n".join(lines), scale, protocol=protocol) in (wanted, None)


@given(st.sampled_from(ANSWERS), st.lists(st.sampled_from(NOISE), max_size=6))
def test_a_marked_verdict_is_never_lost(answer, noise):
    """Whatever stands around it, thinking after it aside, the marked line is read."""
    scale, wanted, text = answer
    if "7f3a" not in text:
        return
    lines = [*noise, text]
    assert verdict("\n".join(lines), scale, protocol=MARKED) == wanted


@given(st.text(max_size=400), st.sampled_from([FIVE, PASS_FAIL, PAIR]))
def test_any_text_is_read_or_unreadable(text, scale):
    """No text breaks the reader, and what is read is on the scale."""
    found = verdict(text, scale)
    assert found is None or scale.parse(str(found)) == found
