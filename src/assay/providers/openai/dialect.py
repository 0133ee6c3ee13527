"""What both protocols of OpenAI have in common: error codes and log probabilities."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from yarl import URL

from assay.domain.completion import Prompt, TokenLogprob, Usage
from assay.domain.errors import (
    ContentFiltered,
    ContextExceeded,
    KeyRejected,
    ModelMissing,
    RateLimited,
    ServerError,
)
from assay.domain.images import Image
from assay.domain.models import Model
from assay.providers.client import ProviderClient
from assay.providers.failures import Dialect
from assay.providers.http_model import HttpModel
from assay.providers.shapes import mapping_of
from assay.providers.stream_accumulator import token_logprob, usage

TOP_LOGPROBS_MAX = 20
OPENAI_DOMAINS = (".openai.com", ".azure.com")
MARKED_FROM = (5, 6)
_VERSION = re.compile(r"gpt-(\d)(?:\.(\d+))?(?!\d)")
_MARKED_ONLY = {"mode": "explicit"}

OPENAI = Dialect(
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
        "invalid_prompt": ContentFiltered,  # flagged by the usage policy
        "context_length_exceeded": ContextExceeded,
        "exceed_context_size_error": ContextExceeded,
        "string_above_max_length": ContextExceeded,
        "model_not_found": ModelMissing,
        "DeploymentNotFound": ModelMissing,
        "unknown_model": ModelMissing,
        "rate_limit_exceeded": RateLimited,
        "server_error": ServerError,
    },
    parameters={
        "temperature": "temperature",
        "seed": "seed",
        "top_p": "top_p",
        "logprobs": "logprobs",
        "top_logprobs": "logprobs",
        "include": "logprobs",
        "message.output_text.logprobs": "logprobs",
        "response_format": "structured_output",
        "response format": "structured_output",
        "json_schema": "structured_output",
        "text.format": "structured_output",
        "reasoning_effort": "reasoning_effort",
        "reasoning.effort": "reasoning_effort",
        "reasoning effort": "reasoning_effort",
        "reasoning": "reasoning_effort",
        "max_tokens": "max_output_tokens",
        "max_completion_tokens": "max_output_tokens",
        "prompt_cache_key": "prompt_cache",
        "prompt_cache_options": "prompt_cache",
        "prompt_cache_breakpoint": "prompt_cache",
    },
)


class OpenAIModel(HttpModel):
    """A model behind one of OpenAI's protocols, at OpenAI, Azure or a compatible server.

    OpenAI shows the schema of an answer to the model before all else, and caches by itself. Its
    models from GPT-5.6 on cache whole prompts, at a higher price, unless a mark says how much.
    """

    def __init__(self, model: Model, client: ProviderClient) -> None:
        super().__init__(model, client)
        host = f".{URL(client.config.base_url).host or ''}"
        self.is_openais = self.shows_schema = host.endswith(OPENAI_DOMAINS)
        version = _VERSION.search(model.name)
        newer = version is not None and (int(version[1]), int(version[2] or 0)) >= MARKED_FROM
        self.marks_prefixes = self.is_openais and newer

    def caching(self, prompt: Prompt[Any]) -> dict[str, Any]:
        """How the prompt is cached: with a key, calls that begin alike reach the same machine."""
        if not self.is_openais or "prompt_cache" in prompt.refused:
            return {}
        fields = {} if prompt.shared is None else {"prompt_cache_key": prompt.shared.key}
        return fields | ({"prompt_cache_options": _MARKED_ONLY} if self.marks_prefixes else {})

    @staticmethod
    def marked(blocks: list[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
        *before, last = blocks
        return [*before, {**last, "prompt_cache_breakpoint": _MARKED_ONLY}]


def detail_of(image: Image) -> dict[str, str]:
    """How closely to look, where the caller says."""
    return {"detail": image.detail} if image.detail else {}


def usage_of(answer: Any, input_: str, output: str) -> Usage | None:
    """The counts of an answer, by the names that the protocol has for input and output."""
    if not (counts := mapping_of(answer.get("usage"))):
        return None
    details = mapping_of(counts.get(f"{input_}_tokens_details"))
    return usage(
        counts.get(f"{input_}_tokens"),
        counts.get(f"{output}_tokens"),
        mapping_of(counts.get(f"{output}_tokens_details")).get("reasoning_tokens"),
        details.get("cached_tokens"),
        details.get("cache_write_tokens"),
    )


def token_logprobs(entries: Iterable[Mapping[str, Any]]) -> list[TokenLogprob]:
    return [token_logprob(entry, entry.get("top_logprobs")) for entry in entries]
