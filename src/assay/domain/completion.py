"""What is asked of a model and what comes back."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Generic, Literal, Protocol, TypeVar, cast

from assay.domain.policy import CostBudget, Deadline

Role = Literal["system", "user", "assistant"]
Priority = Literal["interactive", "batch"]
Finish = Literal["stop", "length", "refusal", "content_filter"]

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)

ATTEMPTS_MAX = 3
"""Upstream calls for one verdict, over all models."""


@dataclass(frozen=True, slots=True)
class Caller:
    """Who a call is made for: decides shares, order and log lines, never the content."""

    tenant: str = "default"
    request_id: str = ""
    priority: Priority = "interactive"


@dataclass(frozen=True, slots=True)
class Turn:
    """One message; its text is kept in parts so that a megabyte is never joined to be sent."""

    role: Role
    parts: tuple[str, ...]

    @property
    def text(self) -> str:
        return "".join(self.parts)

    @property
    def size(self) -> int:
        """Length in characters, without joining the parts."""
        return sum(map(len, self.parts))


@dataclass(frozen=True, slots=True)
class AnswerSchema:
    """The JSON Schema of a structured answer, with the name that providers want for it."""

    name: str
    schema: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Sampling:
    """How the model samples; None leaves the model's own default untouched."""

    max_output_tokens: int = 2_048
    temperature: float | None = None
    seed: int | None = None
    top_logprobs: int = 0


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens, as the providers counted them."""

    input_tokens: int
    output_tokens: int

    def __add__(self, other: Usage) -> Usage:
        return Usage(
            self.input_tokens + other.input_tokens, self.output_tokens + other.output_tokens
        )


NO_USAGE = Usage(0, 0)


class Metered(Protocol):
    """Anything that used tokens and cost money."""

    @property
    def usage(self) -> Usage: ...

    @property
    def cost_usd(self) -> float: ...


def total_spent(parts: Iterable[Metered]) -> tuple[Usage, float]:
    """What all parts used and cost together."""
    usage, cost_usd = NO_USAGE, 0.0
    for part in parts:
        usage += part.usage
        cost_usd += part.cost_usd
    return usage, cost_usd


@dataclass(frozen=True, slots=True)
class TokenLogprob:
    """One output token with its natural-log probability and the alternatives the model weighed."""

    token: str
    logprob: float
    top: tuple[tuple[str, float], ...] = ()


def doc(description: str, **bounds: float) -> Mapping[str, Any]:
    """The metadata of a dataclass field that the OpenAPI document shows."""
    return {"description": description, **bounds}


def to_ms(seconds: float) -> float:
    """A duration as responses show it: milliseconds with three digits after the point."""
    return round(seconds * 1_000, 3)


@dataclass(frozen=True, slots=True)
class Attempt:
    """One upstream call, or one candidate that was passed over."""

    provider: str
    model: str
    outcome: str = field(metadata=doc("`ok`, or what went wrong."))
    latency_ms: float
    usage: Usage = NO_USAGE
    cost_usd: float = 0.0


@dataclass(frozen=True, slots=True)
class RateLimitState:
    """What is left of a provider's quota by its own count; None where it does not say."""

    requests_left: float | None = None
    tokens_left: float | None = None


@dataclass(frozen=True, slots=True)
class Completion(Generic[T_co]):
    """A model's answer; `attempts` holds every call it took, the serving one last.

    `reading` is the verdict that the prompt's reader found; None before the answer was read.
    """

    text: str
    finish: Finish
    provider: str
    model: str
    usage: Usage = NO_USAGE
    cost_usd: float = 0.0
    first_byte_ms: float = 0.0
    latency_ms: float = 0.0
    logprobs: tuple[TokenLogprob, ...] = ()
    simulated: bool = False
    cached: bool = False
    reading: T_co | None = None
    attempts: tuple[Attempt, ...] = ()
    rate_limit: RateLimitState | None = None

    def with_reading(self, reading: T) -> Completion[T]:
        """The same answer, with the verdict that was read in it."""
        return replace(cast("Completion[T]", self), reading=reading)


@dataclass(frozen=True, slots=True)
class Prompt(Generic[T]):
    """What to ask, and how its answer must read.

    `read` turns a completion into a verdict or raises `AnswerUnreadable`, `AnswerTruncated` or
    `AnswerRefused`; its result is the completion's `reading`. `key` identifies the question
    whatever random delimiter it carries (None: never share or cache its answer).
    """

    turns: tuple[Turn, ...]
    read: Callable[[Completion[object]], T]
    sampling: Sampling = Sampling()
    answer: AnswerSchema | None = None
    key: tuple[object, ...] | None = None

    @property
    def size(self) -> int:
        """Length of all turns, in characters."""
        return sum(turn.size for turn in self.turns)

    def repaired(self, answer: str, advice: str) -> Prompt[T]:
        """Ask again, with the unreadable answer and what was wrong with it; not to be shared."""
        turns = (*self.turns, Turn("assistant", (answer,)), Turn("user", (advice,)))
        return replace(self, turns=turns, key=None)


@dataclass(frozen=True, slots=True)
class CallContext:
    """What belongs to a call and not to its text.

    `attempts_left` bounds the upstream calls for one verdict. `patience_s` is the longest wait for
    a rate-limited model: the router shortens it while another candidate could serve. `budget` is
    what the request may still spend, and `cacheable` says that a stored answer will do.
    """

    caller: Caller
    deadline: Deadline
    attempts_left: int = ATTEMPTS_MAX
    patience_s: float = math.inf
    budget: CostBudget | None = None
    cacheable: bool = False


@dataclass(frozen=True, slots=True)
class Capabilities:
    """What a model can do beyond text; what it cannot is left out of the request."""

    schema: bool = True
    logprobs: bool = False
    seed: bool = False
    temperature: bool = True


@dataclass(frozen=True, slots=True)
class Model:
    """A model as configured; prices in US dollars per million tokens."""

    id: str
    provider: str
    name: str
    context_tokens: int | None = None
    max_output_tokens: int = 2_048
    input_usd_per_mtok: float | None = None
    output_usd_per_mtok: float | None = None
    capabilities: Capabilities = Capabilities()
    simulated: bool = False

    def cost_usd(self, usage: Usage) -> float:
        """Price of `usage`; 0 where no price is configured."""
        return (
            usage.input_tokens * (self.input_usd_per_mtok or 0.0)
            + usage.output_tokens * (self.output_usd_per_mtok or 0.0)
        ) / 1_000_000
