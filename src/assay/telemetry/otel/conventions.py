"""Names and attributes as OpenTelemetry's conventions for generative AI and for HTTP have them.

Version 0.1.0 of the GenAI conventions, all of it in development. What they have no word for is
under `assay.`. No attribute is a text of a case.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from assay.domain.evaluation import CriterionResult, EvaluatorRecord
from assay.domain.events import AttemptFinished, RequestFinished
from assay.domain.models import Model
from assay.domain.trace_context import Subject

Value = str | bool | int | float | tuple[str, ...]
Attributes = dict[str, Value]

OK = "ok"
SERVER_ERROR = 500
OTHER_METHOD = "OTHER"
EVALUATION_RESULT = "gen_ai.evaluation.result"

BY_PROTOCOL = {
    "anthropic": "anthropic",
    "azure": "azure.ai.openai",
    "bedrock": "aws.bedrock",
    "gemini": "gcp.gemini",
    "vertex": "gcp.vertex_ai",
}
BY_DOMAIN = {
    "openai.com": "openai",
    "anthropic.com": "anthropic",
    "openai.azure.com": "azure.ai.openai",
    "services.ai.azure.com": "azure.ai.inference",
    "googleapis.com": "gcp.gemini",
    "mistral.ai": "mistral_ai",
    "groq.com": "groq",
    "deepseek.com": "deepseek",
    "cohere.com": "cohere",
    "cohere.ai": "cohere",
    "x.ai": "x_ai",
    "perplexity.ai": "perplexity",
    "moonshot.ai": "moonshot_ai",
    "moonshot.cn": "moonshot_ai",
}
"""Well-known values of `gen_ai.provider.name`; a server of one's own has its configured name."""


@dataclass(frozen=True, slots=True)
class Upstream:
    """A model as its calls are described: `provider` is the conventions' name for it."""

    model: Model
    provider: str
    port: int | None = None
    streams: bool = True


def provider_name(configured: str, protocol: str, host: str) -> str:
    """The value of `gen_ai.provider.name` for a configured provider."""
    domains = (name for domain, name in BY_DOMAIN.items() if f".{host}".endswith(f".{domain}"))
    return BY_PROTOCOL.get(protocol) or next(domains, configured)


def request_attributes(event: RequestFinished) -> Attributes:
    """Of a server span."""
    attributes: Attributes = {
        "http.request.method": "_OTHER" if event.method == OTHER_METHOD else event.method,
        "http.response.status_code": event.status,
        "http.request.body.size": event.body_bytes,
        "assay.request.id": event.caller.request_id,
        "assay.tenant": event.caller.tenant,
    }
    if event.status >= SERVER_ERROR:
        attributes["error.type"] = str(event.status)
    return attributes


def call_attributes(upstream: Upstream) -> Attributes:
    """What is known of a call before it is made: for samplers, and for metrics."""
    model = upstream.model
    attributes: Attributes = {
        "gen_ai.operation.name": "embeddings" if model.kind == "embedding" else "chat",
        "gen_ai.provider.name": upstream.provider,
        "gen_ai.request.model": model.name,
    }
    if model.host:
        attributes["server.address"] = model.host
        if upstream.port is not None:
            attributes["server.port"] = upstream.port
    return attributes


def attempt_attributes(event: AttemptFinished, upstream: Upstream) -> Attributes:
    """Of a client span, besides `call_attributes`."""
    sampling, usage = event.sampling.for_model(upstream.model), event.usage
    is_chat = upstream.model.kind == "chat"
    given: dict[str, Value | None] = {
        "error.type": None if event.outcome == OK else event.outcome,
        "gen_ai.output.type": _output_type(event, upstream) if is_chat else None,
        "gen_ai.request.stream": (upstream.streams or None) if is_chat else None,
        "gen_ai.request.seed": sampling.seed if is_chat else None,
        "gen_ai.request.temperature": sampling.temperature if is_chat else None,
        "gen_ai.request.top_p": sampling.top_p if is_chat else None,
        "gen_ai.request.max_tokens": sampling.max_output_tokens if is_chat else None,
        "gen_ai.request.reasoning.level": sampling.reasoning_effort,
        "gen_ai.response.model": event.served_by or None,
        "gen_ai.response.finish_reasons": (event.finish,) if event.finish else None,
        "gen_ai.response.time_to_first_chunk": first_chunk_s(event, upstream),
        "gen_ai.usage.input_tokens": usage.input_tokens or None,
        "gen_ai.usage.output_tokens": usage.output_tokens or None,
        "gen_ai.usage.cache_read.input_tokens": usage.cached_tokens or None,
        "gen_ai.usage.reasoning.output_tokens": usage.thinking_tokens or None,
        "assay.cost_usd": event.cost_usd,
        "assay.model.id": event.model,
        "assay.tenant": event.caller.tenant,
        "assay.simulated": upstream.model.simulated or None,
    }
    return {name: value for name, value in given.items() if value is not None}


def _output_type(event: AttemptFinished, upstream: Upstream) -> str:
    is_json = event.structured and upstream.model.capabilities.schema
    return "json" if is_json else "text"


def first_chunk_s(event: AttemptFinished, upstream: Upstream) -> float | None:
    """Seconds to the first chunk; None where the answer comes in one piece."""
    return event.first_byte_seconds if upstream.streams else None


def evaluation_attributes(
    result: CriterionResult,
    evaluator: EvaluatorRecord,
    subject: Subject | None,
    *,
    explains: bool,
) -> Attributes:
    """Of an event `gen_ai.evaluation.result`.

    The score is the normalised one, from 0 to 1, and `assay.evaluation.value` the verdict on the
    criterion's own scale. Unscored, there is no score, and `error.type` is the reason.
    """
    scored = result.status == "scored"
    passed = None if result.passed is None else "pass" if result.passed else "fail"
    value = result.value
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    given: Mapping[str, Value | None] = {
        "gen_ai.evaluation.name": result.name,
        "gen_ai.evaluation.score.value": _as_float(result.score) if scored else None,
        "gen_ai.evaluation.score.label": (result.label or passed) if scored else None,
        "gen_ai.evaluation.explanation": (result.explanation or None) if explains else None,
        "gen_ai.response.id": subject.response_id if subject else None,
        "error.type": None if scored else (result.reason or "_OTHER"),
        "assay.criterion.type": result.type,
        "assay.evaluation.value": float(value) if scored and is_number else None,
        "assay.evaluation.score.min": 0.0 if scored and result.score is not None else None,
        "assay.evaluation.score.max": 1.0 if scored and result.score is not None else None,
        "assay.evaluation.passed": result.passed if scored else None,
        "assay.evaluator.revision": evaluator.revision,
        "assay.evaluator.name": evaluator.name,
        "assay.evaluator.version": evaluator.version,
        "assay.cost_usd": result.cost_usd,
        "assay.simulated": result.simulated or None,
    }
    return {name: value for name, value in given.items() if value is not None}


def _as_float(score: float | None) -> float | None:
    return None if score is None else float(score)
