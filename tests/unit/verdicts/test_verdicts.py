"""Reading verdicts: JSON first, else the last verdict stated; a guess is never a score."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from assay.domain.completion import Completion, Finish
from assay.domain.errors import AnswerRefused, AnswerTruncated, AnswerUnreadable, ModelError
from assay.verdicts.reading import label_schema, read_label, read_score, score_schema

OUTPUTS = ("Output (a)", "Output (b)")
UNREADABLE = AnswerUnreadable.outcome


def completion(text: str, finish: Finish = "stop") -> Completion:
    return Completion(text, finish, "provider", "model")


def score(text: str, *, integer: bool = False, finish: Finish = "stop") -> float | str:
    """The score from 1 to 5 in a text, or the outcome of the error."""
    try:
        return read_score(completion(text, finish), 1, 5, integer=integer)[0]
    except ModelError as error:
        return error.outcome


def label(text: str, labels: tuple[str, ...] = OUTPUTS, **spoken: str) -> str:
    """The label in a text, or the outcome of the error."""
    try:
        return read_label(completion(text), labels, spoken)[0]
    except ModelError as error:
        return error.outcome


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("4 out of 5", 4),
        ("3", 3),
        ("3.", 3),
        ("**4**", 4),
        ("4 stars", 4),
        ("Feedback: it has 3 errors. [RESULT] 4", 4),
        ("Score: 3.5/5", 3.5),
        ("**Rating**: 4", 4),
        ("**Score:** **4**", 4),
        ("Score (1-5): 4", 4),
        ("Score: 4 (on a scale of 1 to 5)", 4),
        ("Score - 4", 4),
        ("[[4]]", 4),
        ("I rate it 4.", 4),
        ("I would give this response a 4.", 4),
        ("The final score is 4.", 4),
        ("4\n\nClear and polite.", 4),
        ("Score: 2\n\nFinal score: 3", 3),
        ("Score: 2. On reflection, 4 out of 5.", 4),
        ("A score of 5 would be too much.\n4", 4),
        ("The response deserves a score of 3. To get a score of 5 it would need more.", 3),
        ('{"reasoning": "x", "score": 4}', 4),
        ('{"score": "4/5"}', 4),
        ('```json\n{"reasoning": "{\\"score\\": 1}", "score": 4}\n```', 4),
        ('The output says {"score": 5}. Mine: {"score": 2}', 2),
    ],
)
def test_the_last_stated_score_binds(text: str, expected: float) -> None:
    """Whatever form a judge gives its score in, the last one stated is read."""
    assert score(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        "",
        " \n ",
        "10",
        "Score: 10",
        "Score: -1",
        "Score: 1-5",
        "Score: 3 to 4",
        "Score: 4,5",
        "Score: 4%",
        "Score: 8/10",
        "8/10",
        "Score: NaN",
        "Score: 2\nFinal score: 9",
        "It got 4 out of 5 facts right.",
        "The answer says 2+2=4.",
        "I cannot say.",
        '{"score": NaN}',
        '{"score": Infinity}',
        '{"score": 1e999}',
        '{"score": 6}',
        '{"score": true}',
        '{"score": null}',
        '{"score": [4]}',
        '{"reasoning": "no score"}',
    ],
)
def test_what_is_no_score_on_the_scale_is_unreadable(text: str) -> None:
    """Out of range, another scale, a count, NaN or nothing: never a score."""
    assert score(text) == UNREADABLE


def test_a_quotation_in_broken_json_is_not_the_verdict() -> None:
    """A whole object inside a broken one's reasoning does not pass for the judge's own."""
    assert score('{"reasoning": "it says "x" {"score": 5} ", "score": 3}') == 3


def test_a_whole_score_is_asked_for_where_the_scale_is_whole() -> None:
    """3.5 is unreadable on a scale of whole numbers, 4.0 is 4."""
    assert score('{"score": 3.5}', integer=True) == UNREADABLE
    four = score('{"score": 4.0}', integer=True)
    assert four == 4
    assert isinstance(four, int)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Output (a)", "Output (a)"),
        ("**output (B)**.", "Output (b)"),
        ("Therefore, Output (a) is better.", "Output (a)"),
        ("Output (b) is better than Output (a).", "Output (b)"),
        ("Output (a) is better. Wait. Output (b) is better.", "Output (b)"),
        ("Output (a)\n\nBut then Output (b) is better.", "Output (b)"),
        ("Although Output (a) does not follow, Output (b) is better.", "Output (b)"),
        ("Output (b), which does not stray, is better.", "Output (b)"),
        ("Output (a) is better. Output (b) is not better.", "Output (a)"),
        ("Output (a) is better.\n\nOutput (a): 1\nOutput (b): 2", "Output (a)"),
        ("I prefer Output (a) over Output (b).", "Output (a)"),
        ("The better output is Output (b).", "Output (b)"),
        ("Verdict: Output (b)", "Output (b)"),
        ('{"reasoning": "Output (a) is better", "verdict": "output (b)"}', "Output (b)"),
    ],
)
def test_the_last_stated_label_binds(text: str, expected: str) -> None:
    """A label with parentheses is read as it was offered, whatever case it is stated in."""
    assert label(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        "Output (a) follows the steps, and Output (b) does too.",
        "Output (a) is not better.",
        "Output (a) isn't better.",
        "I do not think Output (a) is better.",
        "It is unclear whether Output (a) is better.",
        "Neither Output (a) nor Output (b) is better.",
        "Output (a) is no better than Output (b).",
        "Output (b) would be better if it were shorter.",
        '{"verdict": "Output (c)"}',
        '{"verdict": 1}',
    ],
)
def test_a_mention_or_a_negation_is_no_verdict(text: str) -> None:
    """What states no verdict is unreadable, however many labels it names."""
    assert label(text) == UNREADABLE


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Yes, it does.", "yes"),
        ("No.", "no"),
        ("Answer: no", "no"),
        ('{"verdict": true}', "yes"),
        ("There is no reason to say so", UNREADABLE),
        ("The answer is not yes", UNREADABLE),
    ],
)
def test_yes_and_no_are_read_where_they_answer(text: str, expected: str) -> None:
    """A yes that opens the answer counts; a no in the middle of a sentence does not."""
    assert label(text, ("yes", "no"), true="yes", false="no") == expected


def test_the_longest_label_is_matched() -> None:
    """A label that begins another is not read in its place."""
    labels = ("good", "good enough", "not good")
    assert label("Verdict: good enough", labels) == "good enough"
    assert label("not good", labels) == "not good"
    assert label("Verdict: goodness", labels) == UNREADABLE


def test_a_cut_answer_without_its_whole_verdict_is_truncated() -> None:
    """Half of a verdict is none: the 1 of a 10 is not a 1; a whole JSON object still counts."""
    for text in ("", "Score: 1", '{"reasoning": "…", "score": 4'):
        with pytest.raises(AnswerTruncated):
            read_score(completion(text, "length"), 1, 5, integer=False)
    assert score('{"score": 4}\n', finish="length") == 4


@pytest.mark.parametrize("finish", ["refusal", "content_filter"])
def test_a_refusal_is_its_own_outcome(finish: Finish) -> None:
    """A judge that declined gave no verdict, whatever text came with it."""
    with pytest.raises(AnswerRefused):
        read_score(completion('{"score": 4}', finish), 1, 5, integer=False)


def test_the_message_tells_the_judge_what_to_give() -> None:
    """The error is advice that the judge can follow, not a trace."""
    with pytest.raises(AnswerUnreadable, match="whole number from 1 to 5"):
        read_score(completion("Score: 9"), 1, 5, integer=True)
    with pytest.raises(AnswerUnreadable, match=r'one of \["Output \(a\)"'):
        read_label(completion("hm"), OUTPUTS)


@pytest.mark.parametrize("answer", [label_schema(("a", "b")), score_schema(1, 5, integer=True)])
def test_schemas_are_strict_and_reason_first(answer: Any) -> None:
    """Every provider's strict mode takes the schema, and the reasoning precedes the verdict."""
    schema = answer.schema
    assert next(iter(schema["properties"])) == "reasoning"
    assert schema["required"] == list(schema["properties"])
    assert schema["additionalProperties"] is False
    assert not {"minimum", "maximum", "default"} & set(json.dumps(schema).split('"'))


anything = st.text(max_size=300) | st.lists(
    st.sampled_from(
        [
            "Score", ":", "**", "4", "3.5", "10", "/", "5", "out of", "[RESULT]", "{", "}",
            '"score"',
            "NaN", "-", "is", "not", "\n", ".", "Output (a)", "Output (b)", "better",
            "verdict", "1e9",
            '{"score": 4}', '{"verdict": "Output (a)"}', "I rate it", "[[", "]]", "```json",
        ]
    ),
    max_size=30,
).map(" ".join)  # fmt: skip


@given(anything, st.sampled_from(["stop", "length", "refusal"]), st.booleans())
def test_any_text_gives_a_score_in_range_or_one_of_three_errors(
    text: str, finish: Finish, integer: bool
) -> None:
    """No text makes the reader give a score out of range or raise anything else."""
    try:
        value, _ = read_score(completion(text, finish), 1, 5, integer=integer)
    except (AnswerUnreadable, AnswerTruncated, AnswerRefused):
        return
    assert math.isfinite(value)
    assert 1 <= value <= 5


@given(anything, st.sampled_from(["stop", "length", "refusal"]))
def test_any_text_gives_an_offered_label_or_one_of_three_errors(text: str, finish: Finish) -> None:
    """No text makes the reader give a label that was not offered or raise anything else."""
    try:
        given_label, _ = read_label(completion(text, finish), OUTPUTS)
    except (AnswerUnreadable, AnswerTruncated, AnswerRefused):
        return
    assert given_label in OUTPUTS


forms = st.sampled_from(
    ["Score: {}", "**Rating**: {}", "[RESULT] {}", "{} out of 5", "Final score: {}/5", "[[{}]]"]
)
stated = st.tuples(forms, st.integers(1, 5))


@given(st.lists(stated, min_size=1, max_size=6))
def test_of_many_stated_scores_the_last_binds(statements: list[tuple[str, int]]) -> None:
    """Whatever was stated before, in whatever form, the last statement is the verdict."""
    text = "\n".join(f"{form.format(value)}. Let me think again." for form, value in statements)
    assert score(text) == statements[-1][1]


@given(st.lists(st.sampled_from(OUTPUTS), min_size=1, max_size=6))
def test_of_many_stated_labels_the_last_binds(statements: list[str]) -> None:
    """Whatever was stated before, the last label said to be better is the verdict."""
    text = " ".join(f"So {each} is better. But wait." for each in statements)
    assert label(text) == statements[-1]


@given(st.lists(st.integers(1, 5), min_size=1, max_size=5), st.booleans())
def test_of_many_objects_the_last_binds(values: list[int], fenced: bool) -> None:
    """The last JSON object with a score is the verdict, in a fence or bare."""
    objects = [json.dumps({"reasoning": "because", "score": value}) for value in values]
    text = " and then ".join(objects)
    assert score(f"```json\n{text}\n```" if fenced else text) == values[-1]


@pytest.mark.parametrize(
    "text",
    [
        "give " + " " * 90_000,
        "score" + "*" * 90_000,
        "{" * 90_000,
        '{"a":' * 19_000,
        "rate x " * 14_000,
        "I prefer a, b, " * 6_000,
    ],
)
def test_a_hostile_answer_is_read_in_bounded_time(text: str) -> None:
    """Answers made to explode a pattern or a parser end as unreadable."""
    assert score(text) == UNREADABLE
    assert label(text) == UNREADABLE
