"""What is judged and what the judgement says."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from assay.domain.completion import NO_USAGE, Attempt, Usage
from assay.domain.errors import Reason
from assay.domain.policy import Purse

Message = Mapping[str, Any]
"""A chat message in the OpenAI shape: role, content, and for agents tool_calls."""

Text = str | tuple[Message, ...]

Status = Literal["scored", "unscored", "skipped"]
Fallback = Literal["any", "same_model", "none"]
Strategy = Literal["ordered", "cheapest", "fastest", "weighted", "panel"]
ScoreMethod = Literal["single", "samples", "logprobs", "panel"]


@dataclass(frozen=True, slots=True)
class Case:
    """One thing to judge: an output, with what it answers and what it is compared to."""

    output: Text
    input: Text | None = None
    reference: tuple[str, ...] = ()
    context: tuple[str, ...] = ()
    tools: tuple[Mapping[str, Any], ...] = ()
    expected_tools: tuple[Mapping[str, Any], ...] = ()


@dataclass(frozen=True, slots=True)
class JudgeSpec:
    """Which models judge and how; `name` is a configured judge, `models` overrides its list."""

    name: str = "default"
    models: tuple[str, ...] = ()
    strategy: Strategy | None = None
    samples: int = 1
    temperature: float | None = None
    seed: int | None = None
    fallback: Fallback = "any"
    purse: Purse | None = None
    cache: bool = False


@dataclass(frozen=True, slots=True)
class JudgeRecord:
    """Who judged: the model that served, what was asked for, and every call it took."""

    provider: str
    model: str
    requested: str
    prompt_version: str
    score_method: ScoreMethod
    attempts: tuple[Attempt, ...]


@dataclass(frozen=True, slots=True)
class Score:
    """The result of one criterion; an unscored one has a reason and no score."""

    name: str
    type: str
    status: Status
    score: float | None = None
    value: Any = None
    label: str | None = None
    passed: bool | None = None
    threshold: float | None = None
    weight: float = 1.0
    explanation: str = ""
    reason: Reason | None = None
    judge: JudgeRecord | None = None
    usage: Usage = NO_USAGE
    cost_usd: float = 0.0
    latency_ms: float = 0.0
    cached: bool = False
    simulated: bool = False
    retry_after_s: float | None = None


@dataclass(frozen=True, slots=True)
class Evaluation:
    """All scores of one case, and their sum: never a pass by default."""

    id: str
    created_at: str
    status: Literal["completed", "partial"]
    passed: bool | None
    score: float | None
    results: tuple[Score, ...]
    usage: Usage
    cost_usd: float
    latency_ms: float
    metadata: Mapping[str, Any] = field(default_factory=dict)
