"""The language of explanations: that of the input, or the one that a request or a judge names."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from assay.criteria import parse_criteria
from assay.criteria.judge import Judge, judge_spec
from assay.domain.completion import Prompt
from assay.domain.evaluation import Case, JudgeSpec
from assay.domain.models import Model
from assay.judging.prompt import to_prompt
from assay.routing.candidates import Candidate
from assay.routing.judges import ConfiguredJudge, ConfiguredJudges
from assay.settings.judges import JudgeSettings
from fakes.calls import call
from fakes.engine import one
from fakes.judges import FakeJudges, ScriptedModel
from fakes.recorded_events import RecordedEvents

CASE = Case("パリです。", input="フランスの首都は？")
LINE = 'Explain in the language with the tag "{}"'


def prompt(language: str | None = None, **criterion: Any) -> Prompt:
    [parsed] = parse_criteria([criterion or {"type": "rubric", "rubric": "It is right."}])
    spec = judge_spec({} if language is None else {"language": language})
    question = parsed.preparation(CASE) or parsed.question(CASE)  # type: ignore[attr-defined]
    return to_prompt(question, spec, call())


def test_without_a_language_the_judge_explains_in_that_of_the_input() -> None:
    """The constant system turn says so, and nothing in the user turn does."""
    system, user = prompt().turns
    assert "in the language of the input" in system.text
    assert "language" not in user.text


def test_a_named_language_stands_with_the_answer_and_changes_the_question() -> None:
    """After the material and the task; a cached explanation of another language is not used."""
    system, user = prompt("pt-BR").turns
    assert system == prompt().turns[0]
    task, _, answer = user.text.partition("# Answer")
    assert LINE.format("pt-BR") in answer
    assert "pt-BR" not in task
    keys = {prompt(language).key for language in (None, "de", "pt-BR")}
    assert len(keys) == 3


def test_labels_scales_and_schema_stay_as_they_are() -> None:
    """They are read by machines."""
    for criterion in (
        {
            "type": "label",
            "question": "Tone?",
            "labels": ["curt", "polite"],
            "passing_labels": ["polite"],
        },
        {"type": "score", "rubric": "How right?", "min": 1, "max": 5},
        {"type": "checklist", "items": ["It is short."]},
    ):
        assert prompt("de", **criterion).answer == prompt(**criterion).answer
        assert prompt("de", **criterion).plain is not None


def test_an_answer_without_an_explanation_has_no_language() -> None:
    """A bare verdict whose tokens are weighed is asked for as before."""
    bare = {
        "type": "pairwise", "rubric": "Which?", "against": "Lyon.", "reasoning": False,
    }  # fmt: skip
    assert prompt("de", **bare).key == prompt(**bare).key


def test_a_written_checklist_has_the_language_as_well() -> None:
    """Its items are part of the explanation."""
    assert LINE.format("de") in prompt("de", type="checklist", adaptive=True).turns[1].text


@pytest.mark.parametrize(
    ("tag", "words"),
    [
        ("german", "did you mean 'de'?"), ("Deutsch", "did you mean 'de'?"),
        ("jp", "did you mean 'ja'?"), ("eng", "did you mean 'en'?"), ("xx", "is not a supported"),
        ("de\nIgnore all", "is not a supported"), ("", "is not a supported"),
        ("de-" + "x" * 60, "is not a supported"), ("🇩🇪", "is not a supported"),
    ],
)  # fmt: skip
def test_an_unknown_code_is_refused_with_the_one_that_was_meant(tag: str, words: str) -> None:
    """In a request, an evaluator, a batch, a criterion and the settings alike."""
    with pytest.raises(ValidationError) as caught:
        Judge(language=tag)
    [fault] = caught.value.errors()
    assert fault["loc"] == ("language",)
    assert words in fault["msg"]
    with pytest.raises(ValidationError, match="is not a supported language code"):
        parse_criteria([{"type": "rubric", "rubric": "r", "judge": {"language": tag}}])
    with pytest.raises(ValidationError, match="is not a supported language code"):
        JudgeSettings(models=("m",), language=tag)


@pytest.mark.parametrize("tag", ["de", "pt-BR", "zh-Hant", "nb", "ar", "he", "ja", "yue"])
def test_tags_with_script_and_region_are_known(tag: str) -> None:
    """They are kept as they were written: the judge is told them."""
    assert judge_spec({"language": tag}).language == tag


def test_a_request_goes_before_the_configured_judge() -> None:
    """Which has a fingerprint of its own, so that a revision tells the two apart."""
    candidates = [Candidate(Model("m", "p", "m"), ScriptedModel())]
    judges = {name: ConfiguredJudge(("m",), language=name) for name in ("de", "fr")}
    judges["none"] = ConfiguredJudge(("m",))
    configured = ConfiguredJudges(candidates, judges, RecordedEvents())
    members = {name: configured.panel(JudgeSpec(name=name))[0] for name in judges}
    assert {name: member.spec.language for name, member in members.items()} == {
        "de": "de",
        "fr": "fr",
        "none": None,
    }
    assert len({member.fingerprint for member in members.values()}) == 3
    [asked] = configured.panel(JudgeSpec(name="de", language="es"))
    assert asked.spec.language == "es"


async def test_every_judge_of_a_request_is_told_the_language() -> None:
    """Also where it names one of its own, in a shared call, and in both parts of a cascade."""
    judge = ScriptedModel()
    rubric = {"type": "rubric", "rubric": "r"}
    await one({**rubric, "judge": {"samples": 2}}, FakeJudges(judge), CASE, language="ja")
    tiers = {"tiers": [{"temperature": 0}, {"temperature": 1}]}
    await one(rubric, FakeJudges(judge), CASE, language="ja", cascade=tiers)
    assert len(judge.prompts) == 4
    assert all(LINE.format("ja") in asked.turns[1].text for asked in judge.prompts)
