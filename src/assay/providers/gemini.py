"""Google's Gemini API; the key goes in a header, never in the URL.

Sources: https://ai.google.dev/api/generate-content and …/embeddings
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar
from urllib.parse import quote

from assay.domain.completion import AnswerSchema, Prompt, TokenLogprob
from assay.domain.errors import KeyRejected, ModelMissing, RateLimited, ServerError
from assay.domain.images import Image
from assay.domain.models import Model
from assay.domain.sampling import Effort, Sampling
from assay.providers.body import given, schema_json
from assay.providers.client import ProviderClient
from assay.providers.embedding_answer import EmbeddingAnswer
from assay.providers.failures import Dialect
from assay.providers.finish_words import FINISHES
from assay.providers.http_model import HttpModel
from assay.providers.shapes import count_of, first_of, list_of, mapping_of, text_of
from assay.providers.stream_accumulator import StreamAccumulator, token_logprob, usage

LOGPROBS_MAX = 20
KEY_HEADER = "x-goog-api-key"

GEMINI = Dialect(
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
    parameters={
        "temperature": "temperature",
        "seed": "seed",
        "topp": "top_p",
        "top_p": "top_p",
        "logprobs": "logprobs",
        "responselogprobs": "logprobs",
        "response_logprobs": "logprobs",
        "json mode": "structured_output",
        "responsejsonschema": "structured_output",
        "response_json_schema": "structured_output",
        "responsemimetype": "structured_output",
        "response_mime_type": "structured_output",
        "thinking level": "reasoning_effort",
        "thinkinglevel": "reasoning_effort",
        "thinking_level": "reasoning_effort",
        "thinking budget": "thinking_budget",
        "thinkingbudget": "thinking_budget",
        "thinking_budget": "thinking_budget",
    },
    # The model gave neither an answer nor an error.
    finishes={**FINISHES, "language": "refusal", "other": "refusal"},
)
_ROLES = {"user": "user", "assistant": "model"}
_LEVELS: Mapping[Effort, str] = {"xhigh": "high", "max": "high"}
"""What the API calls an effort, where it has another word."""


def _resource(model: Model) -> str:
    return model.name if "/" in model.name else f"models/{model.name}"


class GeminiStream(StreamAccumulator):
    """Reads responses; each one in a stream has the next part of the text."""

    dialect = GEMINI

    def read_event(self, event: Any) -> None:
        self.served_by = text_of(event.get("modelVersion")) or self.served_by
        if counts := mapping_of(event.get("usageMetadata")):
            thought_tokens = count_of(counts.get("thoughtsTokenCount"))
            self.usage = usage(
                counts.get("promptTokenCount"),
                count_of(counts.get("candidatesTokenCount")) + thought_tokens,
                thought_tokens,
                counts.get("cachedContentTokenCount"),
            )
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


class Gemini(HttpModel):
    """A Gemini model; thinking is billed, so its tokens count as output."""

    accumulator = GeminiStream
    key_header = KEY_HEADER
    text_block: ClassVar[Mapping[str, Any]] = {}

    def __init__(self, model: Model, client: ProviderClient) -> None:
        super().__init__(model, client)
        verb = "streamGenerateContent?alt=sse" if client.config.stream else "generateContent"
        self.path = f"{quote(_resource(model), safe='/')}:{verb}"

    def document(self, prompt: Prompt[Any]) -> dict[str, Any]:
        system = [turn for turn in prompt.turns if turn.role == "system"]
        document: dict[str, Any] = {
            "contents": [
                {"role": _ROLES[turn.role], "parts": self.blocks(turn)}
                for turn in prompt.turns
                if turn.role != "system"
            ],
            "generationConfig": _generation(prompt, self.answer(prompt)),
        }
        if system:
            document["systemInstruction"] = {"parts": [{"text": turn} for turn in system]}
        return document

    @staticmethod
    def image_block(image: Image) -> dict[str, Any]:
        return {"inlineData": {"mimeType": image.media_type, "data": image.data}}


class GeminiEmbeddingAnswer(EmbeddingAnswer):
    """Reads vectors, which stand in the order of the texts."""

    dialect = GEMINI

    def vectors(self, answer: Any) -> Sequence[Any]:
        self.usage = usage(mapping_of(answer.get("usageMetadata")).get("promptTokenCount"), 0)
        return [mapping_of(each).get("values") for each in list_of(answer.get("embeddings"))]


class GeminiEmbeddings(HttpModel):
    """An embedding model of Gemini; older ones report no usage."""

    accumulator = GeminiEmbeddingAnswer
    key_header = KEY_HEADER

    def __init__(self, model: Model, client: ProviderClient) -> None:
        super().__init__(model, client)
        self.path = f"{quote(_resource(model), safe='/')}:batchEmbedContents"

    def document(self, prompt: Prompt[Any]) -> dict[str, Any]:
        asked = {
            "model": _resource(self._model),
            "taskType": "SEMANTIC_SIMILARITY",
            **given(outputDimensionality=self._model.dimensions),
        }
        return {
            "requests": [asked | {"content": {"parts": [{"text": turn}]}} for turn in prompt.turns]
        }


def _generation(prompt: Prompt[Any], answer: AnswerSchema | None) -> dict[str, Any]:
    sampling = prompt.sampling
    config: dict[str, Any] = {
        "maxOutputTokens": sampling.max_output_tokens,
        **given(
            temperature=sampling.temperature,
            topP=sampling.top_p,
            seed=sampling.seed,
            thinkingConfig=_thinking(sampling),
        ),
    }
    if sampling.top_logprobs:
        top = min(sampling.top_logprobs, LOGPROBS_MAX)
        config |= {"responseLogprobs": True, "logprobs": top}
    if answer is not None:
        config["responseMimeType"] = "application/json"
        if not answer.is_any_object:
            config["responseJsonSchema"] = schema_json(answer.schema)
    return config


def _thinking(sampling: Sampling) -> dict[str, Any] | None:
    """The API takes a budget or a level, not both."""
    effort, budget = sampling.reasoning_effort, sampling.thinking_budget_tokens
    if budget is not None:
        return {"thinkingBudget": budget}
    if effort == "none":
        return {"thinkingBudget": 0}
    return {"thinkingLevel": _LEVELS.get(effort, effort)} if effort else None


def _token_logprobs(result: Mapping[str, Any]) -> list[TokenLogprob]:
    chosen = result["chosenCandidates"]
    tops = result.get("topCandidates") or [{}] * len(chosen)
    return [
        token_logprob(token, top.get("candidates"), "logProbability")
        for token, top in zip(chosen, tops, strict=True)
    ]
