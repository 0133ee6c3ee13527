"""Google's Gemini API (`generateContent`); the key goes in a header, never in the URL.

Source: https://ai.google.dev/api/generate-content
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar
from urllib.parse import quote

from assay.domain.completion import CallContext, Completion, Model, Prompt, TokenLogprob
from assay.domain.errors import (
    KeyRejected,
    ModelMissing,
    RateLimited,
    ServerError,
)
from assay.providers.body import json_body, schema_json
from assay.providers.client import ProviderClient
from assay.providers.failures import Dialect
from assay.providers.finish_words import FINISHES
from assay.providers.shapes import count_of, first_of, list_of, mapping_of, text_of
from assay.providers.stream_accumulator import StreamAccumulator, usage, weighed

T = TypeVar("T")

LOGPROBS_MAX = 20

_DIALECT = Dialect(
    codes={
        # The reason is more specific than the status next to it, which may be a 400.
        "API_KEY_INVALID": KeyRejected,
        "API_KEY_EXPIRED": KeyRejected,
        "PERMISSION_DENIED": KeyRejected,
        "UNAUTHENTICATED": KeyRejected,
        "FAILED_PRECONDITION": KeyRejected,  # no billing, or an unsupported region
        "NOT_FOUND": ModelMissing,
        "RESOURCE_EXHAUSTED": RateLimited,
        "DEADLINE_EXCEEDED": ServerError,
        "INTERNAL": ServerError,
        "UNAVAILABLE": ServerError,
    },
    # The model gave neither an answer nor an error.
    finishes={**FINISHES, "language": "refusal", "other": "refusal"},
)
_ROLES = {"user": "user", "assistant": "model"}


class Gemini:
    """A Gemini model; thinking is billed, so its tokens count as output."""

    def __init__(self, model: Model, client: ProviderClient) -> None:
        self._model = model
        self._client = client
        name = quote(model.name, safe="/")
        verb = "streamGenerateContent?alt=sse" if client.config.stream else "generateContent"
        self._path = f"{name if '/' in name else f'models/{name}'}:{verb}"

    async def complete(self, prompt: Prompt[T], context: CallContext) -> Completion[T]:
        accumulator = GeminiStream(self._model)
        body = json_body(self._document(prompt))
        timing = await self._client.post(self._path, _headers, body, accumulator, context.deadline)
        return accumulator.completion(timing)

    def _document(self, prompt: Prompt[T]) -> dict[str, Any]:
        system = [turn for turn in prompt.turns if turn.role == "system"]
        document: dict[str, Any] = {
            "contents": [
                {"role": _ROLES[turn.role], "parts": [{"text": turn}]}
                for turn in prompt.turns
                if turn.role != "system"
            ],
            "generationConfig": self._generation(prompt),
        }
        if system:
            document["systemInstruction"] = {"parts": [{"text": turn} for turn in system]}
        return document

    def _generation(self, prompt: Prompt[T]) -> dict[str, Any]:
        sampling, able = prompt.sampling, self._model.capabilities
        config: dict[str, Any] = {
            "maxOutputTokens": min(sampling.max_output_tokens, self._model.max_output_tokens)
        }
        if able.temperature and sampling.temperature is not None:
            config["temperature"] = sampling.temperature
        if able.seed and sampling.seed is not None:
            config["seed"] = sampling.seed
        if able.logprobs and sampling.top_logprobs:
            config |= {
                "responseLogprobs": True,
                "logprobs": min(sampling.top_logprobs, LOGPROBS_MAX),
            }
        if able.schema and prompt.answer is not None:
            config |= {
                "responseMimeType": "application/json",
                "responseJsonSchema": schema_json(prompt.answer.schema),
            }
        return config


def _headers(key: str | None) -> dict[str, str]:
    return {"x-goog-api-key": key} if key else {}


class GeminiStream(StreamAccumulator):
    """Reads responses; each one in a stream has the next part of the text."""

    dialect = _DIALECT

    def read_event(self, event: Any) -> None:
        self.served_by = text_of(event.get("modelVersion")) or self.served_by
        if counts := mapping_of(event.get("usageMetadata")):
            text_tokens = count_of(counts.get("candidatesTokenCount"))
            thought_tokens = count_of(counts.get("thoughtsTokenCount"))
            self.usage = usage(counts.get("promptTokenCount"), text_tokens + thought_tokens)
        if mapping_of(event.get("promptFeedback")).get("blockReason"):
            self.finish("content_filter")
        candidate = first_of(event.get("candidates"))
        for part in map(mapping_of, list_of(mapping_of(candidate.get("content")).get("parts"))):
            if not part.get("thought"):
                self.write(part.get("text"))
        if logprobs := candidate.get("logprobsResult"):
            self.add_logprobs(_token_logprobs, logprobs)
        self.finish(candidate.get("finishReason"))

    def read_answer(self, answer: Any) -> None:
        self.read_event(answer)


def _token_logprobs(result: Mapping[str, Any]) -> list[TokenLogprob]:
    chosen = result["chosenCandidates"]
    tops = result.get("topCandidates") or [{}] * len(chosen)
    return [
        TokenLogprob(
            *weighed(token["token"], token["logProbability"]),
            tuple(
                weighed(candidate["token"], candidate["logProbability"])
                for candidate in top.get("candidates") or ()
            ),
        )
        for token, top in zip(chosen, tops, strict=True)
    ]
