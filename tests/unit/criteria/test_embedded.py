"""Criteria by embeddings: what is embedded, how it is compared, and what leaves it unscored."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from assay.criteria import parse_criteria
from assay.criteria.embedded import TEXTS_MAX
from assay.domain.errors import ContextExceeded, RequestError, VectorsUnusable
from assay.domain.evaluation import Case
from fakes.engine import evaluated, one
from fakes.judges import FakeJudges, ScriptedModel, embedding

SIMILARITY = {"type": "semantic_similarity"}
COSINE = {"type": "text_similarity", "evaluation_metric": "cosine"}
CASE = Case("Paris", reference=("The capital of France",))


def judges(*answers):
    """Judges whose embedding model gives these answers."""
    found = FakeJudges()
    found.embedder = ScriptedModel(*answers)
    return found


def texts(found):
    """What was embedded, by call."""
    return [[turn.text for turn in prompt.turns] for prompt in found.embedder.prompts]


@pytest.mark.parametrize("criterion", [SIMILARITY, COSINE])
async def test_the_score_is_the_cosine_of_the_embeddings(criterion):
    """Output and reference go in one call as they are; the score is 24 ÷ 25."""
    found = judges(embedding((3, 4), (4, 3)))
    result = await one(criterion, found, CASE)
    assert (result.score, result.value) == (pytest.approx(0.96), pytest.approx(0.96))
    assert (result.status, result.passed) == ("scored", True)
    assert texts(found) == [["Paris", "The capital of France"]]
    assert (result.usage.input_tokens, result.judge.model) == (100, "fake/judge")
    assert result.cost_usd == pytest.approx(0.001)
    assert len(result.judge.attempts) == 1


async def test_the_nearest_reference_counts_and_a_negative_cosine_scores_zero():
    """`value` has the cosine itself."""
    near = await one(
        SIMILARITY,
        judges(embedding((1, 0), (0, 1), (1, 1))),
        Case("a", reference=("b", "c")),
    )
    assert near.value == pytest.approx(0.5**0.5)
    far = await one({**SIMILARITY, "threshold": 0.0}, judges(embedding((1, 0), (-1, 0))), CASE)
    assert (far.value, far.score, far.passed) == (-1, 0, True)


async def test_many_references_go_in_as_few_calls_as_fit():
    """Each call has the output and up to 63 references; the best of all calls counts."""
    references = tuple(f"r{number}" for number in range(100))

    def answer(prompt):
        return embedding((1, 0), *((1, 0 if t.text == "r99" else 1) for t in prompt.turns[1:]))

    found = judges(answer)
    result = await one(SIMILARITY, found, Case("o", reference=(*references, "r0")))
    assert result.score == 1
    assert [len(call) for call in texts(found)] == [TEXTS_MAX, 38]
    assert {call[0] for call in texts(found)} == {"o"}


@pytest.mark.parametrize(
    ("case", "reason", "says"),
    [
        (Case(" \n", reference=("b",)), "check_error", "output is blank"),
        (Case("a", reference=("b", " ")), "reference_missing", "reference is blank"),
        (Case("a"), "reference_missing", "no reference"),
    ],
)
async def test_blank_and_missing_texts_are_unscored_and_cost_nothing(case, reason, says):
    """There is nothing to embed, and no call."""
    found = judges()
    result = await one(SIMILARITY, found, case)
    assert (result.status, result.reason) == ("unscored", reason)
    assert says in result.explanation
    assert not found.embedder.prompts


@pytest.mark.parametrize(
    ("output", "references", "score"),
    [("", ("",), 1), ("", ("a",), 0), ("a", (" ",), 0), ("", ("a", ""), 1)],
)
async def test_the_grader_compares_blank_texts_without_a_call(output, references, score):
    """As with its other metrics: two blank texts score 1, a blank one against another 0."""
    found = judges()
    result = await one(COSINE, found, Case(output, reference=references))
    assert (result.score, result.cost_usd) == (score, 0)
    assert not found.embedder.prompts


async def test_the_grader_embeds_its_filled_templates():
    """`input` and `reference` with their placeholders filled, also from the output's JSON."""
    found = judges(embedding((1, 0), (1, 0), (0, 1)))
    grader = {
        **COSINE,
        "input": "Town: {{sample.output_json.town}}",
        "reference": "Town: {{item.reference}}",
        "pass_threshold": 0.9,
    }
    result = await one(grader, found, Case('{"town": "Paris"}', reference=("Paris", "Rome")))
    assert texts(found) == [["Town: Paris", "Town: Paris", "Town: Rome"]]
    assert (result.score, result.passed, result.threshold) == (1, True, 0.9)


async def test_the_grader_without_a_member_is_unscored():
    """The output has no such member, so nothing is embedded."""
    found = judges()
    grader = {**COSINE, "input": "{{sample.output_json.town}}"}
    result = await one(grader, found, Case("{}", reference=("Paris",)))
    assert (result.status, result.reason) == ("unscored", "variable_missing")
    assert not found.embedder.prompts


async def test_other_metrics_of_the_grader_embed_nothing():
    """They stay checks."""
    found = judges()
    result = await one({**COSINE, "evaluation_metric": "rouge_1"}, found, CASE)
    assert (result.status, result.judge) == ("scored", None)
    assert not found.embedder.prompts


async def test_texts_beyond_the_window_are_unscored_with_their_size():
    """Each text has the window for itself: two that fit by themselves are embedded."""
    found = judges(embedding((1, 0), (1, 0)))
    found.window_tokens = 100
    fits = await one(SIMILARITY, found, Case("a" * 380, reference=("b" * 380,)))
    assert fits.status == "scored"
    result = await one(SIMILARITY, found, Case("a", reference=("b" * 480,)))
    assert (result.status, result.reason) == ("unscored", "input_too_long")
    assert (
        result.explanation == "The longest text has about 120 tokens; the model's window has 100."
    )
    assert len(found.embedder.prompts) == 1


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        ("", "judge_parse_error"),
        (embedding((1, 0)), "judge_parse_error"),
        (embedding((1, 0), (1, 0), (1, 0)), "judge_parse_error"),
        (embedding((1, 0), (1,)), "judge_parse_error"),
        (embedding((1, 0), (0, 0)), "judge_parse_error"),
        (embedding((1, 0), (float("nan"), 0)), "judge_parse_error"),
        (VectorsUnusable("The embeddings are not numbered one by one."), "judge_parse_error"),
        (ContextExceeded("too long"), "input_too_long"),
    ],
)
async def test_a_bad_answer_is_unscored_and_its_cost_stays(answer, reason):
    """Never a guess, and no second call."""
    found = judges(answer)
    result = await one(SIMILARITY, found, CASE)
    assert (result.status, result.reason, result.score) == ("unscored", reason, None)
    assert result.explanation
    assert len(found.embedder.prompts) == 1
    if isinstance(answer, str):
        assert (result.usage.input_tokens, result.cost_usd) == (100, 0.001)


async def test_the_models_are_those_of_the_criterion_within_the_requests_limits():
    """Name, cache and cost cap reach the models; samples and the search for injection do not."""
    found = judges(embedding((1, 0), (1, 0)))
    await evaluated(
        [{**SIMILARITY, "model": "small"}], found, CASE, cache=True, samples=5, max_cost_usd=1
    )
    spec = found.specs[-1]
    assert (spec.kind, spec.models, spec.cache, spec.max_cost_usd) == (
        *("embedding", ("small",), True),
        1,
    )
    assert (spec.samples, spec.injection, spec.batch_criteria) == (1, "off", False)


async def test_an_unknown_model_is_a_fault_of_its_field():
    """The pointer names the criterion and the field, and nothing is asked."""
    found = FakeJudges()
    with pytest.raises(RequestError) as caught:
        await evaluated(["Good?", {**SIMILARITY, "model": "none"}], found, CASE)
    assert [fault.pointer for fault in caught.value.errors] == ["/criteria/1/model"]


def test_a_model_beside_another_metric_is_refused():
    """It would be asked nothing."""
    with pytest.raises(ValidationError, match="cosine alone"):
        parse_criteria([{**COSINE, "evaluation_metric": "bleu", "model": "m"}])
