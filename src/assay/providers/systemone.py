"""Models that decide, behind `/v1/systemone`: typed questions, answered with probabilities.

Sources: https://docs.typesafe.ai/api and tools/server/server-decision.cpp of llama.cpp; see
docs/adr/0070-a-decision-is-a-prompt.md.
"""

from __future__ import annotations

from typing import Any

import orjson

from assay.domain.completion import Prompt
from assay.domain.decision import TypedQuestion
from assay.domain.errors import ContextExceeded, InputUnsupported, StreamBroken
from assay.providers.failures import Dialect
from assay.providers.http_model import HttpModel
from assay.providers.openai.dialect import OPENAI
from assay.providers.shapes import mapping_of, text_of
from assay.providers.stream_accumulator import StreamAccumulator, usage

SYSTEM_ONE = Dialect(
    codes={**OPENAI.codes, "max_tokens_exceeded": ContextExceeded}  # gateways, TypeSafe
)


class DecisionAnswer(StreamAccumulator):
    """Keeps the answers as they are; whether they fit the questions is left to the reader."""

    dialect = SYSTEM_ONE

    def read_event(self, event: Any) -> None:
        del event
        raise StreamBroken(f"{self.provider} streamed its decisions")

    def read_answer(self, answer: Any) -> None:
        served = text_of(answer.get("model"))
        if not served.startswith("/"):  # llama.cpp names the file on its disk
            self.served_by = served or self.served_by
        counts = mapping_of(answer.get("usage"))
        self.usage = usage(counts.get("input_tokens"), counts.get("output_tokens"))
        self.write(orjson.dumps(mapping_of(answer.get("answers"))).decode())
        self.finish("stop")


class SystemOne(HttpModel):
    """A model that decides; all questions of a prompt go in one request."""

    accumulator = DecisionAnswer
    path = "systemone"

    def document(self, prompt: Prompt[Any]) -> dict[str, Any]:
        if prompt.decision is None:
            raise InputUnsupported("The model decides, and writes no text.")
        decision = prompt.decision()
        return {
            "model": self._model.name,
            "state": self.content(decision.state),
            "questions": {id_: _written(asked) for id_, asked in decision.questions.items()},
        }


def _written(question: TypedQuestion) -> dict[str, Any]:
    document: dict[str, Any] = {"type": question.type, "instructions": question.instructions}
    if question.type == "choice":
        document["criteria"] = dict.fromkeys(question.options)
    elif question.type == "score":
        document["criteria"] = list(question.options)
    return document
