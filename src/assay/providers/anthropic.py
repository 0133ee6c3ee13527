"""Anthropic's messages API; a structured answer is the input of a tool that the model must call.

A model that thinks cannot be made to call one: its answer is given a format instead.

Source: https://docs.anthropic.com/en/api/messages and …/messages-streaming
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import orjson

from assay.domain.completion import Prompt
from assay.domain.errors import ContextExceeded, KeyRejected, ModelMissing, RateLimited, ServerError
from assay.domain.images import Image
from assay.domain.models import Model
from assay.domain.sampling import Sampling
from assay.providers.body import schema_json
from assay.providers.failures import Dialect
from assay.providers.http_model import HttpModel
from assay.providers.shapes import count_of, list_of, mapping_of, text_of
from assay.providers.stream_accumulator import StreamAccumulator, usage

API_VERSION = "2023-06-01"
THINKING_TOKENS_MIN = 1_024
"""The API takes no smaller budget."""
_INPUT_COUNTS = ("input_tokens", "cache_creation_input_tokens", "cache_read_input_tokens")
_OTHER_COUNTS = (
    *("output_tokens", "thinking_tokens"),
    *("cache_read_input_tokens", "cache_creation_input_tokens"),
)

ANTHROPIC = Dialect(
    codes={
        "authentication_error": KeyRejected,
        "permission_error": KeyRejected,
        "billing_error": KeyRejected,
        "not_found_error": ModelMissing,
        "request_too_large": ContextExceeded,
        "rate_limit_error": RateLimited,
        "timeout_error": ServerError,
        "api_error": ServerError,
        "overloaded_error": ServerError,
    },
    parameters={
        "temperature": "temperature",
        "top_p": "top_p",
        "tool_choice": "structured_output",
        "tool_choice forces tool use": "structured_output",
        "output_config": "structured_output",
        "output_config.format": "structured_output",
        "output_config.effort": "reasoning_effort",
        "effort": "reasoning_effort",
        "effort parameter": "reasoning_effort",
        "effort level": "reasoning_effort",
        "adaptive thinking": "reasoning_effort",
        "thinking.type.adaptive": "reasoning_effort",
        "thinking.type.enabled": "thinking_budget",
        "budget_tokens": "thinking_budget",
        "cache_control": "prompt_cache",
    },
)


class AnthropicStream(StreamAccumulator):
    """Reads the messages stream; text next to a tool's input is not part of the answer."""

    dialect = ANTHROPIC

    def __init__(self, model: Model) -> None:
        super().__init__(model)
        self._counts: dict[str, int] = {}

    def read_event(self, event: Any) -> None:
        match event.get("type"):
            case "message_start":
                self._open(mapping_of(event.get("message")))
            case "content_block_start":
                self._read_block(mapping_of(event.get("content_block")))
            case "content_block_delta":
                self._read_delta(mapping_of(event.get("delta")))
            case "message_delta":
                self._count(event.get("usage"))
                self.finish(mapping_of(event.get("delta")).get("stop_reason"))
            case "message_stop":
                self.end()

    def read_answer(self, answer: Any) -> None:
        self._open(answer)
        for block in list_of(answer.get("content")):
            self._read_block(mapping_of(block))
        self.finish(answer.get("stop_reason"))

    def _open(self, message: Mapping[str, Any]) -> None:
        self.served_by = text_of(message.get("model")) or self.served_by
        self._count(message.get("usage"))

    def _read_block(self, block: Mapping[str, Any]) -> None:
        if block.get("type") == "text":
            self.write(block.get("text"))
        elif block.get("type") == "tool_use" and (value := mapping_of(block.get("input"))):
            self.write(orjson.dumps(value).decode(), self.tool_input)

    def _read_delta(self, delta: Mapping[str, Any]) -> None:
        if delta.get("type") == "text_delta":
            self.write(delta.get("text"))
        elif delta.get("type") == "input_json_delta":
            self.write(delta.get("partial_json"), self.tool_input)

    def _count(self, counts: Any) -> None:
        # Counts are cumulative; gateways send 0 first and the real number at the end.
        known = {name: count_of(value) for name, value in mapping_of(counts).items()}
        details = mapping_of(mapping_of(counts).get("output_tokens_details"))
        known["thinking_tokens"] = count_of(details.get("thinking_tokens"))
        self._counts |= {name: count for name, count in known.items() if count}
        input_tokens = sum(self._counts.get(name, 0) for name in _INPUT_COUNTS)
        self.usage = usage(input_tokens, *map(self._counts.get, _OTHER_COUNTS))


class Anthropic(HttpModel):
    """A Claude model. The API has neither seeds nor log probabilities."""

    accumulator = AnthropicStream
    path = "messages"
    key_header = "x-api-key"
    headers: ClassVar = {"anthropic-version": API_VERSION}
    marks_prefixes = True

    def document(self, prompt: Prompt[Any]) -> dict[str, Any]:
        sampling, thinks = prompt.sampling, self._model.thinks(prompt.sampling)
        system = [turn for turn in prompt.turns if turn.role == "system" and turn.size]
        document: dict[str, Any] = {
            "model": self._model.name,
            "max_tokens": sampling.max_output_tokens,
            "messages": [
                {"role": turn.role, "content": self.content(turn)}
                for turn in prompt.turns
                if turn.role != "system"
            ],
        }
        if system:
            document["system"] = [{"type": "text", "text": turn} for turn in system]
        if self._client.config.stream:
            document["stream"] = True
        if sampling.temperature is not None and not thinks:
            # This API ends at 1, others at 2, and one who thinks takes none.
            document["temperature"] = min(sampling.temperature, 1.0)
        elif sampling.top_p is not None and not thinks:
            document["top_p"] = sampling.top_p  # the newer models take one of the two
        document |= thinking(sampling)
        if (answer := self.answer(prompt)) is not None:
            name, schema = answer.name, schema_json(answer.schema)
            if thinks:
                form = {"type": "json_schema", "schema": schema}
                document["output_config"] = document.get("output_config", {}) | {"format": form}
            else:
                document["tools"] = [{"name": name, "input_schema": schema}]
                document["tool_choice"] = {"type": "tool", "name": name}
        return document

    @staticmethod
    def marked(blocks: list[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
        *before, last = blocks
        return [*before, {**last, "cache_control": {"type": "ephemeral"}}]

    @staticmethod
    def image_block(image: Image) -> dict[str, Any]:
        source = {"type": "base64", "media_type": image.media_type, "data": image.data}
        return {"type": "image", "source": source}


def thinking(sampling: Sampling) -> dict[str, Any]:
    """A budget is for models of the older kind, an effort for the newer ones."""
    effort, budget = sampling.reasoning_effort, sampling.thinking_budget_tokens
    if effort == "none" or budget == 0:
        return {"thinking": {"type": "disabled"}}
    if budget is not None:
        budget = max(budget, THINKING_TOKENS_MIN)
        return {"thinking": {"type": "enabled", "budget_tokens": budget}}
    if effort is not None:
        effort = "low" if effort == "minimal" else effort
        return {"thinking": {"type": "adaptive"}, "output_config": {"effort": effort}}
    return {}
