"""Several criteria in one call: each verdict by itself, and every token counted once."""

from __future__ import annotations

import json
from typing import Any

import pytest

from assay.criteria import parse_criteria
from assay.criteria.base import Judged
from assay.domain.completion import NO_USAGE, Prompt
from assay.domain.errors import AnswerUnreadable, ProviderDown
from assay.domain.evaluation import Case, JudgeSpec
from assay.judging.prompt import to_prompt
from assay.judging.shared_call import SHARED_MAX, shared_question
from assay.verdicts.reader import Protocol
from fakes.calls import call
from fakes.engine import CASE, evaluated
from fakes.judges import COST_USD, FAIL, PASS, USAGE, FakeJudges, ScriptedModel, completion_of

CRITERIA: list[Any] = [
    "polite?",
    {"type": "score", "rubric": "How good?", "min": 1, "max": 5},
    {"type": "label", "question": "tone?", "labels": ["x", "y"], "passing_labels": ["x"]},
]
VERDICTS = {
    "c1": {"reasoning": "r1", "verdict": "pass"},
    "c2": {"reasoning": "r2", "score": 4},
    "c3": {"reasoning": "r3", "verdict": "y"},
}


async def test_criteria_of_one_case_share_a_call() -> None:
    """One call, three verdicts on three scales, each with its own reasoning."""
    model = ScriptedModel(json.dumps(VERDICTS))
    result = await evaluated(CRITERIA, FakeJudges(model), batch_criteria=True)
    assert len(model.prompts) == 1
    assert [each.value for each in result.results] == [True, 4, "y"]
    assert [each.explanation for each in result.results] == ["r1", "r2", "r3"]
    judge = result.results[0].judge
    assert judge is not None
    assert judge.prompt_version == "shared.v4/rubric.v4"


async def test_the_shared_calls_cost_is_counted_once() -> None:
    """The parts of the criteria add up to the call, to the token; what it saved is reported."""
    model = ScriptedModel(json.dumps(VERDICTS))
    case = Case("x" * 8_000)
    result = await evaluated(CRITERIA, FakeJudges(model), case, batch_criteria=True)
    assert result.usage == USAGE
    assert result.cost_usd == pytest.approx(COST_USD)
    judge = result.results[0].judge
    assert judge is not None
    assert judge.shared_call is not None
    assert (judge.shared_call.criteria, judge.shared_call.input_tokens) == (3, 100)
    assert judge.shared_call.input_tokens_saved > 100


async def test_one_unreadable_criterion_does_not_sink_the_others() -> None:
    """It alone is asked again, by itself."""
    broken = {**VERDICTS, "c2": {"score": "superb"}}
    model = ScriptedModel(json.dumps(broken), '{"score": 2}')
    result = await evaluated(CRITERIA, FakeJudges(model), batch_criteria=True)
    assert [each.value for each in result.results] == [True, 2, "y"]
    assert len(model.prompts) == 2
    assert result.usage == USAGE + USAGE
    judge = result.results[1].judge
    assert judge is not None
    assert (judge.prompt_version, len(judge.attempts)) == ("score.v4", 2)


async def test_a_useless_shared_answer_is_asked_again_alone() -> None:
    """Where nothing in it can be read, each criterion gets a call of its own."""
    model = ScriptedModel("I cannot.", PASS, FAIL)
    result = await evaluated(["one", "two"], FakeJudges(model), batch_criteria=True)
    assert sorted(str(each.label) for each in result.results) == ["fail", "pass"]
    assert result.usage == USAGE + USAGE + USAGE


async def test_an_outage_is_not_asked_again() -> None:
    """One call for each criterion would only add to the trouble."""
    model = ScriptedModel(ProviderDown("down"))
    result = await evaluated(CRITERIA, FakeJudges(model), batch_criteria=True)
    assert [each.reason for each in result.results] == ["providers_unavailable"] * 3
    assert (len(model.prompts), result.usage) == (1, NO_USAGE)


@pytest.mark.parametrize("judge", [{}, {"batch_criteria": True, "samples": 2}])
async def test_only_who_asks_for_it_shares(judge: dict[str, Any]) -> None:
    """By default, and where a question is sampled, each criterion has its own calls."""
    model = ScriptedModel(PASS)
    await evaluated(["one", "two"], FakeJudges(model), **judge)
    assert len(model.prompts) == 2 * judge.get("samples", 1)


async def test_criteria_with_another_judge_or_several_questions_stay_alone() -> None:
    """A call is shared by what one judge can answer in it."""
    own = ScriptedModel(PASS)
    model = ScriptedModel(json.dumps({"c1": {"verdict": "pass"}, "c2": {"verdict": "pass"}}), PASS)
    criteria = [
        "one",
        {"type": "rubric", "rubric": "own", "judge": {"models": ["own"], "batch_criteria": True}},
        {"type": "pairwise", "rubric": "better?", "against": CASE.output},
        "two",
    ]
    result = await evaluated(criteria, FakeJudges(model, own=own), batch_criteria=True)
    assert [each.status for each in result.results] == ["scored"] * 4
    assert (len(model.prompts), len(own.prompts)) == (1, 1)


async def test_many_criteria_are_shared_in_groups() -> None:
    """No call has more than the named number of them."""

    def answer(prompt: Prompt) -> str:
        assert prompt.answer is not None
        keys = prompt.answer.schema["required"]
        return (
            PASS
            if keys[0] == "reasoning"
            else json.dumps({key: {"verdict": "pass"} for key in keys})
        )

    model = ScriptedModel(answer)
    criteria = [f"criterion {number}" for number in range(SHARED_MAX + 1)]
    result = await evaluated(criteria, FakeJudges(model), batch_criteria=True)
    assert result.passed is True
    assert len(model.prompts) == 2


def test_the_shared_prompt_holds_every_task_and_no_frame_twice() -> None:
    """The rubrics are all there, with their answers' forms; what frames them is there once."""
    judged = [each for each in parse_criteria(CRITERIA) if isinstance(each, Judged)]
    shared = shared_question(
        {f"c{number}": each.question(CASE) for number, each in enumerate(judged, 1)}
    )
    for words in ("polite?", "How good?", "tone?", '"pass"', "- x"):
        assert words in shared.task
    prompt = to_prompt(shared, JudgeSpec(), call())
    assert prompt.answer is not None
    assert prompt.answer.schema["required"] == ["manipulation", "c1", "c2", "c3"]
    assert prompt.plain is not None
    assert f"VERDICT {prompt.marker} c2: <a whole number from 1 to 5>" in prompt.plain.instruction


def test_marked_lines_of_a_shared_call_are_read_by_name() -> None:
    """Each criterion has a line; a checklist has one for each item."""
    criteria = ["polite?", {"type": "checklist", "items": ["one", "two"]}]
    questions = {
        f"c{number}": each.question(CASE)
        for number, each in enumerate(parse_criteria(criteria), 1)
        if isinstance(each, Judged)
    }
    text = "Fine.\nVERDICT ab: pass\nVERDICT ab c1: fail\nVERDICT ab c2_item_1: yes\n"
    found = shared_question(questions).read(
        completion_of(text + "VERDICT ab c2_item_2: no"), Protocol("ab")
    )
    assert {key: finding.score for key, finding in found.verdict.items()} == {"c1": 0.0, "c2": 0.5}
    found = shared_question(questions).read(completion_of(text), Protocol("ab"))
    assert list(found.verdict) == ["c1"]


async def test_the_key_of_a_shared_call_names_every_criterion() -> None:
    """Two shared calls with other rubrics are other questions."""
    model = ScriptedModel(AnswerUnreadable("no"))
    await evaluated(["one", "two"], FakeJudges(model), batch_criteria=True)
    await evaluated(["one", "three"], FakeJudges(model), batch_criteria=True)
    shared = [each.key for each in model.prompts if each.key and each.key[0] == "shared.v4"]
    assert len(shared) == len(set(shared)) == 2
    assert JudgeSpec().batch_criteria is False
