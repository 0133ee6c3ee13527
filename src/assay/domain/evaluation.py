"""What is judged and what the judgement says."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any, Literal

from assay.domain.completion import NO_USAGE, Attempt, Usage
from assay.domain.errors import Reason
from assay.domain.policy import CostBudget, SpentQuota

Message = Mapping[str, Any]
"""A chat message in the OpenAI shape: role, content, and for agents tool_calls."""

Text = str | tuple[Message, ...]

Status = Literal["scored", "unscored", "skipped"]
Fallback = Literal["any", "same_model", "none"]
Strategy = Literal["ordered", "cheapest", "fastest", "weighted", "panel"]
InjectionPolicy = Literal["flag", "quarantine", "off"]
"""What follows from signs of injection: scored and flagged, unscored, or nobody looks."""
Sign = Literal[
    "delimiter",
    "addresses_grader",
    "override",
    "verdict",
    "role_confusion",
    "encoded",
    "master_key",
    "constant_answer",
]
"""What a text may show that was written to sway its judge."""
ScoreMethod = Literal["single", "samples", "logprobs", "panel"]
Aggregate = Literal["mean", "median", "majority"]
LongInput = Literal["reject", "truncate", "map_reduce"]


@dataclass(frozen=True, slots=True)
class Case:
    """One thing to judge: an output, with what it answers and what it is compared to."""

    output: Text
    input: Text | None = None
    reference: tuple[str, ...] = ()
    context: tuple[str, ...] = ()
    tools: tuple[Mapping[str, Any], ...] = ()
    expected_tools: tuple[Mapping[str, Any], ...] = ()

    @classmethod
    def from_fields(cls, values: Mapping[str, Any]) -> Case:
        """A case from the checked fields of a request or a row; other fields are ignored.

        The case holds the very strings of `values`: nothing is copied but lists.
        """
        given = ((field.name, values.get(field.name)) for field in fields(cls))
        return cls(
            **{
                name: tuple(value) if isinstance(value, list) else value
                for name, value in given
                if value is not None
            }
        )


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
    purse: CostBudget | None = None
    cache: bool = False
    injection: InjectionPolicy = "flag"
    aggregate: Aggregate | None = None
    batch_criteria: bool = False
    long_input: LongInput = "reject"


@dataclass(frozen=True, slots=True)
class Vote:
    """One of several verdicts on one question; without a score it has a reason and no say."""

    provider: str
    model: str
    score: float | None = None
    value: Any = None
    label: str | None = None
    passed: bool | None = None
    explanation: str = ""
    reason: Reason | None = None


@dataclass(frozen=True, slots=True)
class PanelRecord:
    """How many models a panel has, and how many of them gave a verdict."""

    asked: int
    answered: int


@dataclass(frozen=True, slots=True)
class SharedCall:
    """A call that several criteria shared; what it saved is estimated from the prompts' lengths."""

    criteria: int
    input_tokens: int
    input_tokens_saved: int


@dataclass(frozen=True, slots=True)
class LongInputRecord:
    """How a piece that is too long for the judge's window was judged; sizes in characters."""

    method: LongInput
    title: str
    chars: int
    chars_kept: int
    parts: int


@dataclass(frozen=True, slots=True)
class JudgeRecord:
    """Who judged: the model that served, what was asked for, and every call it took.

    `spread` is the standard deviation of the votes on the criterion's own scale, `agreement` the
    share of them that equal the most frequent one, `probability_left` what the model gave to
    tokens that are no verdict (0 to 1).
    """

    provider: str
    model: str
    requested: str
    prompt_version: str
    score_method: ScoreMethod
    attempts: tuple[Attempt, ...]
    votes: tuple[Vote, ...] = ()
    spread: float | None = None
    agreement: float | None = None
    panel: PanelRecord | None = None
    probability_left: float | None = None
    shared_call: SharedCall | None = None
    long_input: LongInputRecord | None = None


@dataclass(frozen=True, slots=True)
class Suspicion:
    """One sign of injection: in which field of the case, and an escaped excerpt of it."""

    sign: Sign
    field: str
    excerpt: str


@dataclass(frozen=True, slots=True)
class CriterionResult:
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
    suspect: tuple[Suspicion, ...] = ()
    spent: SpentQuota | None = None


@dataclass(frozen=True, slots=True)
class Evaluation:
    """All scores of one case, and their sum: never a pass by default."""

    id: str
    created_at: str
    status: Literal["completed", "partial"]
    passed: bool | None
    score: float | None
    results: tuple[CriterionResult, ...]
    usage: Usage
    cost_usd: float
    latency_ms: float
    metadata: Mapping[str, Any] = field(default_factory=dict)
