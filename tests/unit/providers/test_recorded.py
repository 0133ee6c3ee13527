"""The recorded judges and assistants of the demonstration."""

import orjson
import pytest

from assay.criteria import parse_criteria
from assay.demo.cases import PHRASES, demo_cases
from assay.domain.completion import Prompt, Turn
from assay.domain.errors import RequestRejected
from assay.domain.evaluation import Case, JudgeSpec
from assay.domain.models import Model
from assay.judging.prompt import to_prompt
from assay.providers import build_model
from fakes.calls import call, read_text


def recorded(name):
    return build_model(
        "recorded", Model(f"recorded/{name}", "recorded", name, simulated=True), None
    )


def asked(case, output, *rubrics):
    """The prompt by which a judge is asked."""
    criteria = parse_criteria([{"type": "rubric", "rubric": rubric} for rubric in rubrics])
    judged = Case(input=case.question, output=output, context=(case.policy,))
    return to_prompt(criteria[0].question(judged), JudgeSpec(), call(1))


def test_the_cases_are_many_and_always_the_same():
    """Each question and each output stands for one case alone."""
    cases = demo_cases()
    assert len(cases) == len({case.question for case in cases}) == 192
    assert cases[0].id == "returns-1-1"
    for case in cases:
        assert case.answers["assistant-1"].text != case.answers["assistant-2"].text


@pytest.mark.parametrize("criterion", PHRASES)
async def test_a_judge_gives_its_recorded_verdicts(criterion):
    """For every case, and marked as what no model said."""
    for case in demo_cases()[:20]:
        for answer in case.answers.values():
            prompt = asked(case, answer.text, f"{PHRASES[criterion]} One step is enough.")
            completion = await recorded("hasty").complete(prompt, call(1))
            judgement = prompt.read(completion).verdict
            assert judgement.label == ("pass" if answer.passed["hasty", criterion] else "fail")
            assert judgement.explanation == answer.reasons["hasty", criterion]
            assert completion.simulated


async def test_an_assistant_answers_the_recorded_questions():
    """The two answer differently."""
    case = demo_cases()[7]
    prompt = Prompt((Turn("user", (case.question,)),), read_text)
    for name, answer in case.answers.items():
        assert (await recorded(name).complete(prompt, call(1))).text == answer.text


@pytest.mark.parametrize("name", ["careful", "assistant-1"])
async def test_nothing_is_invented_for_what_was_not_recorded(name):
    """Another text, another criterion or another kind of verdict has no answer."""
    case = demo_cases()[0]
    output = case.answers["assistant-1"].text
    prompts = [
        Prompt((Turn("user", ("What is the capital of France?",)),), read_text),
        asked(case, "An output of mine.", PHRASES["helpful"]),
        asked(case, output, "It is polite."),
    ]
    for prompt in prompts:
        with pytest.raises(RequestRejected, match="no recorded answer"):
            await recorded(name).complete(prompt, call(1))


async def test_a_verdict_in_another_form_is_not_made_up():
    """A rubric with levels asks for more than pass or fail."""
    case = demo_cases()[0]
    levels = [{"label": "poor", "value": 1}, {"label": "good", "value": 2}]
    [criterion] = parse_criteria(
        [{"type": "rubric", "rubric": PHRASES["helpful"], "levels": levels}]
    )
    judged = Case(input=case.question, output=case.answers["assistant-1"].text)
    prompt = to_prompt(criterion.question(judged), JudgeSpec(), call(1))
    with pytest.raises(RequestRejected):
        orjson.loads((await recorded("careful").complete(prompt, call(1))).text)
