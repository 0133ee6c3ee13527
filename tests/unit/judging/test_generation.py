"""How a model is asked for the output of a case."""

from __future__ import annotations

import math
from types import SimpleNamespace
from typing import Any

import pytest
from pydantic import ValidationError

from assay.domain.errors import NotApplicable, RequestError
from assay.domain.evaluation import Case, JudgeSpec
from assay.domain.models import DECISION, Model
from assay.domain.ports import Estimator, PanelMember
from assay.judging.generation import Generation
from fakes.judges import ScriptedModel

CASE = Case("", fields={"talk": [{"role": "assistant", "content": [{"text": "Hi"}]}], "no": [1]})


def test_every_parameter_reaches_the_prompt() -> None:
    """Sampling, and the form of the answer."""
    generation = Generation.model_validate(
        {
            "model": "m", "messages": [{"role": "user", "content": "{{item.talk.0.role}}"}],
            "temperature": 0.5, "top_p": 0.9, "seed": 3, "max_output_tokens": 9,
            "reasoning_effort": "low", "answer": {"name": "n", "schema": {"type": "object"}},
        }
    )  # fmt: skip
    prompt = generation.prompt(CASE)
    sampling = prompt.sampling
    assert (sampling.temperature, sampling.top_p, sampling.seed) == (0.5, 0.9, 3)
    assert (sampling.max_output_tokens, sampling.reasoning_effort) == (9, "low")
    assert prompt.answer is not None
    assert (prompt.answer.name, prompt.answer.schema) == ("n", {"type": "object"})
    assert [turn.text for turn in prompt.turns] == ["assistant"]


def test_messages_may_stand_in_the_row() -> None:
    """With their roles; what is no list of messages makes no output."""
    found = Generation(model="m", messages_from="item.talk").prompt(CASE)
    assert [(turn.role, turn.text) for turn in found.turns] == [("assistant", "Hi")]
    for path in ("item.no", "item.talk.0", "item.nothing"):
        with pytest.raises(NotApplicable):
            Generation(model="m", messages_from=path).prompt(CASE)


def test_a_model_that_decides_writes_no_output() -> None:
    """It is refused before anything is made, with the place of the fault."""
    decider = Model("d", "p", "d-1", reading=(DECISION,))
    member = PanelMember(JudgeSpec(), ScriptedModel(), math.inf, Estimator(decider))
    judges = SimpleNamespace(panel=lambda _: [member])
    with pytest.raises(RequestError, match="d decides, and writes no text") as caught:
        Generation(model="d", messages_from="item.talk").check(judges)  # type: ignore[arg-type]
    assert [fault.pointer for fault in caught.value.errors] == ["/generate/model"]


@pytest.mark.parametrize(
    "fields",
    [{}, {"messages": [{"role": "user", "content": "x"}], "messages_from": "item.talk"}],
)
def test_messages_are_given_in_one_way(fields: dict[str, Any]) -> None:
    """Neither none nor two."""
    with pytest.raises(ValidationError):
        Generation.model_validate({"model": "m", **fields})
