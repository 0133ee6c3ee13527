"""OpenAI's Responses API.

Source: https://platform.openai.com/docs/api-reference/responses and …/responses-streaming
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from assay.domain.completion import Prompt
from assay.domain.images import Image
from assay.providers.body import given, schema_json
from assay.providers.openai.dialect import (
    OPENAI,
    TOP_LOGPROBS_MAX,
    OpenAIModel,
    detail_of,
    token_logprobs,
    usage_of,
)
from assay.providers.shapes import list_of, mapping_of, text_of
from assay.providers.stream_accumulator import StreamAccumulator

OUTPUT_TOKENS_MIN = 16
"""The API takes no smaller limit."""


class ResponsesStream(StreamAccumulator):
    """Reads the events of a response, or a whole one; items of reasoning are not the answer."""

    dialect = OPENAI

    def read_event(self, event: Any) -> None:
        match event.get("type"):
            case "response.output_text.delta":
                self.write(event.get("delta"))
                self._weigh(event)
            case "response.refusal.delta":
                self.write(event.get("delta"), self.refusal)
            case "response.completed" | "response.incomplete" | "response.failed":
                self.read_answer(mapping_of(event.get("response")))
                self.end()

    def read_answer(self, answer: Any) -> None:
        self.served_by = text_of(answer.get("model")) or self.served_by
        self.usage = usage_of(answer, "input", "output") or self.usage
        items = list(map(mapping_of, list_of(answer.get("output"))))
        if not self.answering:  # a stream repeats its text at the end
            for item in items:
                for part in map(mapping_of, list_of(item.get("content"))):
                    self._read_part(part)
        for place, item in enumerate(items):
            if item.get("type") == "function_call":
                self.add_call(place, item.get("call_id"), item.get("name"), item.get("arguments"))
        cut = mapping_of(answer.get("incomplete_details")).get("reason")
        self.finish(cut or ("stop" if answer.get("status") == "completed" else None))

    def _read_part(self, part: Mapping[str, Any]) -> None:
        if part.get("type") == "output_text":
            self.write(part.get("text"))
            self._weigh(part)
        elif part.get("type") == "refusal":
            self.write(part.get("refusal"), self.refusal)

    def _weigh(self, part: Mapping[str, Any]) -> None:
        if tokens := part.get("logprobs"):
            self.add_logprobs(token_logprobs, tokens)


class OpenAIResponses(OpenAIModel):
    """A model behind the Responses API, which stores nothing of a call and takes no seed."""

    accumulator = ResponsesStream
    path = "responses"
    text_block: ClassVar[Mapping[str, Any]] = {"type": "input_text"}

    def document(self, prompt: Prompt[Any]) -> dict[str, Any]:
        sampling = prompt.sampling
        document: dict[str, Any] = {
            "model": self._model.name,
            "input": [{"role": turn.role, "content": self.content(turn)} for turn in prompt.turns],
            "max_output_tokens": max(sampling.max_output_tokens, OUTPUT_TOKENS_MIN),
            "store": False,
            **given(temperature=sampling.temperature, top_p=sampling.top_p),
            **self.caching(prompt),
        }
        if self._client.config.stream:
            document["stream"] = True
        if sampling.reasoning_effort is not None:
            document["reasoning"] = {"effort": sampling.reasoning_effort}
        if sampling.top_logprobs:
            top = min(sampling.top_logprobs, TOP_LOGPROBS_MAX)
            document |= {"include": ["message.output_text.logprobs"], "top_logprobs": top}
        if (answer := self.answer(prompt)) is not None:
            document["text"] = {
                "format": {
                    "type": "json_schema",
                    "name": answer.name,
                    "strict": True,
                    "schema": schema_json(answer.schema),
                }
            }
            if answer.is_any_object:
                document["text"] = {"format": {"type": "json_object"}}
        if prompt.tools:  # here, unlike in chat completions, they are strict where nothing is said
            usual = {"type": "function", "strict": False, "parameters": None}
            document["tools"] = [{**usual, **tool} for tool in prompt.tools]
        return document

    @staticmethod
    def image_block(image: Image) -> dict[str, Any]:
        return {"type": "input_image", "image_url": image.data_uri} | detail_of(image)
