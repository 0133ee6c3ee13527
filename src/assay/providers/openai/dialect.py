"""What both protocols of OpenAI have in common: error codes and log probabilities."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from assay.domain.completion import TokenLogprob, Usage
from assay.domain.errors import (
    ContentFiltered,
    ContextExceeded,
    KeyRejected,
    ModelMissing,
    RateLimited,
    ServerError,
)
from assay.domain.images import Image
from assay.providers.failures import Dialect
from assay.providers.shapes import mapping_of
from assay.providers.stream_accumulator import token_logprob, usage

TOP_LOGPROBS_MAX = 20

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
    },
)


def detail_of(image: Image) -> dict[str, str]:
    """How closely to look, where the caller says."""
    return {"detail": image.detail} if image.detail else {}


def usage_of(answer: Any, input_: str, output: str) -> Usage | None:
    """The counts of an answer, by the names that the protocol has for input and output."""
    if not (counts := mapping_of(answer.get("usage"))):
        return None
    return usage(
        counts.get(f"{input_}_tokens"),
        counts.get(f"{output}_tokens"),
        mapping_of(counts.get(f"{output}_tokens_details")).get("reasoning_tokens"),
        mapping_of(counts.get(f"{input_}_tokens_details")).get("cached_tokens"),
    )


def token_logprobs(entries: Iterable[Mapping[str, Any]]) -> list[TokenLogprob]:
    return [token_logprob(entry, entry.get("top_logprobs")) for entry in entries]
