"""OpenAI's chat completions, as OpenAI, Azure and compatible servers (Ollama, vLLM, …) serve them.

Source: https://platform.openai.com/docs/api-reference/chat
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, TypeVar

from yarl import URL

from assay.domain.completion import CallContext, Completion, Model, Prompt, TokenLogprob
from assay.domain.errors import (
    ContentFiltered,
    ContextExceeded,
    KeyRejected,
    ModelMissing,
    RateLimited,
    ServerError,
)
from assay.providers.body import json_body, schema_json
from assay.providers.client import ProviderClient
from assay.providers.failures import Dialect
from assay.providers.shapes import first_of, mapping_of, text_of
from assay.providers.stream_accumulator import StreamAccumulator, usage, weighed

T = TypeVar("T")

TOP_LOGPROBS_MAX = 20

_DIALECT = Dialect(
    codes={
        "insufficient_quota": KeyRejected,
        "billing_hard_limit_reached": KeyRejected,
        "invalid_api_key": KeyRejected,
        "auth_error": KeyRejected,
        "expired_key": KeyRejected,
        "budget_exceeded": KeyRejected,
        "content_filter": ContentFiltered,
        "content_policy_violation": ContentFiltered,
        "data_inspection_failed": ContentFiltered,
        "context_length_exceeded": ContextExceeded,
        "exceed_context_size_error": ContextExceeded,
        "string_above_max_length": ContextExceeded,
        "model_not_found": ModelMissing,
        "DeploymentNotFound": ModelMissing,
        "unknown_model": ModelMissing,
        "rate_limit_exceeded": RateLimited,
        "server_error": ServerError,
    },
)
_NEWER_FIELD_DOMAINS = ("openai.com", "azure.com")


class OpenAI:
    """A model behind chat completions, with or without an API key.

    If a server reports no usage, it is 0: nothing is estimated.
    """

    def __init__(self, model: Model, client: ProviderClient) -> None:
        self._model = model
        self._client = client
        self._output_limit = client.config.output_limit_field or _output_limit_field(
            client.config.base_url
        )

    async def complete(self, prompt: Prompt[T], context: CallContext) -> Completion[T]:
        accumulator = OpenAIStream(self._model)
        body = json_body(self._document(prompt))
        timing = await self._client.post(
            "chat/completions", _headers, body, accumulator, context.deadline
        )
        return accumulator.completion(timing)

    def _document(self, prompt: Prompt[T]) -> dict[str, Any]:
        sampling, able = prompt.sampling, self._model.capabilities
        document: dict[str, Any] = {
            "model": self._model.name,
            "messages": [{"role": turn.role, "content": turn} for turn in prompt.turns],
            self._output_limit: min(sampling.max_output_tokens, self._model.max_output_tokens),
        }
        if self._client.config.stream:
            document |= {"stream": True, "stream_options": {"include_usage": True}}
        if able.temperature and sampling.temperature is not None:
            document["temperature"] = sampling.temperature
        if able.seed and sampling.seed is not None:
            document["seed"] = sampling.seed
        if able.logprobs and sampling.top_logprobs:
            top = min(sampling.top_logprobs, TOP_LOGPROBS_MAX)
            document |= {"logprobs": True, "top_logprobs": top}
        if able.schema and prompt.answer is not None:
            answer = {
                "name": prompt.answer.name,
                "strict": True,
                "schema": schema_json(prompt.answer.schema),
            }
            document["response_format"] = {"type": "json_schema", "json_schema": answer}
        return document


def _headers(key: str | None) -> dict[str, str]:
    return {"Authorization": f"Bearer {key}"} if key else {}


class OpenAIStream(StreamAccumulator):
    """Reads chunks (`delta`) and whole answers (`message`), which differ only in that name."""

    dialect = _DIALECT

    def read_event(self, event: Any) -> None:
        self._read(event, "delta")

    def read_answer(self, answer: Any) -> None:
        self._read(answer, "message")

    def _read(self, chunk: Any, part: str) -> None:
        self.served_by = text_of(chunk.get("model")) or self.served_by
        if counts := mapping_of(chunk.get("usage")):
            self.usage = usage(counts.get("prompt_tokens"), counts.get("completion_tokens"))
        choice = first_of(chunk.get("choices"))
        message = mapping_of(choice.get(part))
        self._write_content(message.get("content"))
        self.write(message.get("refusal"), self.refusal)
        if tokens := mapping_of(choice.get("logprobs")).get("content"):
            self.add_logprobs(_token_logprobs, tokens)
        self.finish(choice.get("finish_reason"))

    def _write_content(self, content: Any) -> None:
        """A text or a list of parts; parts of other types, such as thinking, are not the answer."""
        for part in content if isinstance(content, list) else (content,):
            fields = mapping_of(part)
            match fields.get("type", "text"):
                case "text" | "output_text":
                    self.write(part if isinstance(part, str) else fields.get("text"))
                case "refusal":
                    self.write(fields.get("refusal"), self.refusal)


def _token_logprobs(entries: Iterable[Mapping[str, Any]]) -> list[TokenLogprob]:
    return [
        TokenLogprob(
            *weighed(entry["token"], entry["logprob"]),
            tuple(
                weighed(token["token"], token["logprob"])
                for token in entry.get("top_logprobs") or ()
            ),
        )
        for entry in entries
    ]


def _output_limit_field(base_url: str) -> str:
    """The newer field, which reasoning models need, or the older one of compatible servers."""
    host = f".{URL(base_url).host or ''}"
    newer = any(host.endswith(f".{domain}") for domain in _NEWER_FIELD_DOMAINS)
    return "max_completion_tokens" if newer else "max_tokens"
