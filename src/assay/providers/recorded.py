"""Replays what was recorded for the cases of the demonstration: no model is asked."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any, TypeVar

import orjson

from assay.demo.cases import PHRASES, Answer, demo_cases
from assay.domain.completion import Prompt
from assay.domain.errors import RequestRejected
from assay.domain.evaluation import MANIPULATIONS
from assay.providers.simulated import Simulated

T = TypeVar("T")


class Recorded(Simulated):
    """Answers as the assistant or judge of the model's name did, and nothing that is not recorded.

    What it answers is marked like what is simulated.
    """

    def answer(self, prompt: Prompt[T]) -> str:
        """The recorded answer; raises `RequestRejected` if there is none."""
        texts = [text for text in prompt.key or (turn.text for turn in prompt.turns)
                 if isinstance(text, str)]  # fmt: skip
        outputs, judged = _recordings()
        name = self._model.name
        if prompt.answer is None:
            found = [outputs[name, text] for text in texts if (name, text) in outputs]
            if found:
                return found[0]
        else:
            answers = [judged[q, o] for q in texts for o in texts if (q, o) in judged]
            task = prompt.turns[-1].text
            asked = [criterion for criterion, phrase in PHRASES.items() if phrase in task]
            if answers and len(asked) == 1 and (name, asked[0]) in answers[0].passed:
                passed = answers[0].passed[name, asked[0]]
                verdict = _verdict(prompt.answer.schema, answers[0].reasons[name, asked[0]], passed)
                if verdict is not None:
                    return orjson.dumps(verdict).decode()
        raise RequestRejected("There is no recorded answer: only the demo's cases have one.")


@cache
def _recordings() -> tuple[Mapping[tuple[str, str], str], Mapping[tuple[str, str], Answer]]:
    """Outputs by assistant and question, and answers by question and output."""
    outputs: dict[tuple[str, str], str] = {}
    judged: dict[tuple[str, str], Answer] = {}
    for case in demo_cases():
        for assistant, answer in case.answers.items():
            outputs[assistant, case.question] = answer.text
            judged[case.question, answer.text] = answer
    return outputs, judged


def _verdict(schema: Mapping[str, Any], reason: str, passed: bool) -> dict[str, str] | None:
    """The answer in the form of the schema; None where it asks for more than pass or fail."""
    filled: dict[str, str] = {}
    for name, part in schema["properties"].items():
        offered = part.get("enum")
        if offered is None and part.get("type") == "string":
            filled[name] = reason
        elif offered is not None and tuple(offered) == MANIPULATIONS:
            filled[name] = offered[0]
        elif offered is not None and {"pass", "fail"} == set(offered):
            filled[name] = "pass" if passed else "fail"
        else:
            return None
    return filled
