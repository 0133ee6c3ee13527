"""Anthropic's messages API; a structured answer is the input of a tool that the model must call.

Source: https://docs.anthropic.com/en/api/messages and …/messages-streaming
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

import orjson

from assay.domain.completion import CallContext, Completion, Model, Prompt, Usage
from assay.domain.errors import (
    ContextExceeded,
    KeyRejected,
    ModelMissing,
    RateLimited,
    ServerError,
)
from assay.providers.body import json_body, schema_json
from assay.providers.client import ProviderClient
from assay.providers.failures import Dialect
from assay.providers.shapes import count_of, list_of, mapping_of, text_of
from assay.providers.stream_accumulator import StreamAccumulator

T = TypeVar("T")

API_VERSION = "2023-06-01"

_DIALECT = Dialect(
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
)


class Anthropic:
    """A Claude model. The API has neither seeds nor log probabilities."""

    def __init__(self, model: Model, client: ProviderClient) -> None:
        self._model = model
        self._client = client

    async def complete(self, prompt: Prompt[T], context: CallContext) -> Completion[T]:
        accumulator = AnthropicStream(self._model)
        body = json_body(self._document(prompt))
        timing = await self._client.post("messages", _headers, body, accumulator, context.deadline)
        return accumulator.completion(timing)

    def _document(self, prompt: Prompt[T]) -> dict[str, Any]:
        sampling, able = prompt.sampling, self._model.capabilities
        system = [turn for turn in prompt.turns if turn.role == "system" and turn.size]
        document: dict[str, Any] = {
            "model": self._model.name,
            "max_tokens": min(sampling.max_output_tokens, self._model.max_output_tokens),
            "messages": [
                {"role": turn.role, "content": turn}
                for turn in prompt.turns
                if turn.role != "system"
            ],
        }
        if system:
            document["system"] = [{"type": "text", "text": turn} for turn in system]
        if self._client.config.stream:
            document["stream"] = True
        if able.temperature and sampling.temperature is not None:
            # This API ends at 1, others at 2.
            document["temperature"] = min(sampling.temperature, 1.0)
        if able.schema and prompt.answer is not None:
            name, schema = prompt.answer.name, schema_json(prompt.answer.schema)
            document["tools"] = [{"name": name, "input_schema": schema}]
            document["tool_choice"] = {"type": "tool", "name": name}
        return document


def _headers(key: str | None) -> dict[str, str]:
    version = {"anthropic-version": API_VERSION}
    return version | {"x-api-key": key} if key else version


class AnthropicStream(StreamAccumulator):
    """Reads the messages stream; text next to a tool's input is not part of the answer."""

    dialect = _DIALECT

    def __init__(self, model: Model) -> None:
        super().__init__(model)
        self._tool_input: list[str] = []
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

    def text(self) -> str:
        return "".join(self._tool_input) or super().text()

    def _open(self, message: Mapping[str, Any]) -> None:
        self.served_by = text_of(message.get("model")) or self.served_by
        self._count(message.get("usage"))

    def _read_block(self, block: Mapping[str, Any]) -> None:
        if block.get("type") == "text":
            self.write(block.get("text"))
        elif block.get("type") == "tool_use" and (value := mapping_of(block.get("input"))):
            self.write(orjson.dumps(value).decode(), self._tool_input)

    def _read_delta(self, delta: Mapping[str, Any]) -> None:
        if delta.get("type") == "text_delta":
            self.write(delta.get("text"))
        elif delta.get("type") == "input_json_delta":
            self.write(delta.get("partial_json"), self._tool_input)

    def _count(self, counts: Any) -> None:
        # Counts are cumulative; gateways send 0 first and the real number at the end.
        known = {name: count_of(value) for name, value in mapping_of(counts).items()}
        self._counts |= {name: count for name, count in known.items() if count}
        self.usage = _usage(self._counts)


def _usage(counts: Mapping[str, int]) -> Usage:
    cached = ("cache_creation_input_tokens", "cache_read_input_tokens")
    input_tokens = sum(counts.get(name, 0) for name in ("input_tokens", *cached))
    return Usage(input_tokens, counts.get("output_tokens", 0))
