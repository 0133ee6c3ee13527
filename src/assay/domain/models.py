"""A model as configured: what it can do, what it costs, and how it is asked."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from datetime import date
from typing import Literal

from assay.domain.completion import Role, Usage
from assay.domain.sampling import Effort, Sampling

DECISION = "decision"
"""The form in which a model answers that decides: a probability for each verdict, and no text."""
ModelKind = Literal["chat", "embedding", "http"]
"""A judge, a model that embeds texts, or a host to which HTTP criteria post."""


@dataclass(frozen=True, slots=True)
class Capabilities:
    """What a model can do beyond text; what it cannot is left out of the request."""

    schema: bool = True
    logprobs: bool = False
    seed: bool = False
    temperature: bool = True
    vision: bool = False


@dataclass(frozen=True, slots=True)
class Frame:
    """The words around a question for a trained judge: templates for turns by their roles.

    It `serves` types of criteria, on whole numbers of these `scales` or on labels, about cases that
    have what it `needs`.
    """

    serves: tuple[str, ...]
    needs: tuple[str, ...]
    turns: tuple[tuple[Role, str], ...]
    scales: tuple[tuple[float, float], ...] = ()


@dataclass(frozen=True, slots=True)
class Profile:
    """How a family of trained judges is asked, and the form in which it answers.

    `models` are the beginnings of their names.
    """

    name: str
    reading: str
    frames: tuple[Frame, ...]
    models: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class LongPrice:
    """The prices of a call whose prompt is longer than `over_tokens`."""

    over_tokens: int
    input_usd_per_mtok: float
    output_usd_per_mtok: float
    cached_input_usd_per_mtok: float | None = None
    cache_write_usd_per_mtok: float | None = None


@dataclass(frozen=True, slots=True)
class Model:
    """A model as configured; prices in US dollars per million tokens.

    Where no price is known of input that is read from a cache or written to it, it costs as much as
    other input. `discount` is the share that is taken off.
    `dimensions` is how many numbers an embedding is asked to have.
    `host` is where it is served, for operators alone. `reading` names the forms in which the model
    is known to write its verdicts. A model that is `reasoning` thinks before it answers, for
    `thinking_timeout_s` at the most. It `takes_tools` where they can be sent to it.
    """

    id: str
    provider: str
    name: str
    kind: ModelKind = "chat"
    dimensions: int | None = None
    host: str = ""
    context_tokens: int | None = None
    max_output_tokens: int = 2_048
    input_usd_per_mtok: float | None = None
    output_usd_per_mtok: float | None = None
    cached_input_usd_per_mtok: float | None = None
    cache_write_usd_per_mtok: float | None = None
    long_prices: tuple[LongPrice, ...] = ()
    discount: float = 0.0
    price_source: str | None = None
    price_date: date | None = None
    end_of_life: date | None = None
    reading: tuple[str, ...] = ()
    profile: Profile | None = None
    capabilities: Capabilities = Capabilities()
    takes_tools: bool = False
    simulated: bool = False
    reasoning: bool = False
    reasoning_effort: Effort | None = None
    thinking_budget_tokens: int | None = None
    thinking_timeout_s: float = math.inf
    fingerprint: str = field(init=False, compare=False, repr=False, default="")
    """Equal for models that are asked in the same way, whatever they cost and how long they may
    take."""

    def __post_init__(self) -> None:
        reading = self.reading if self.profile is None else (self.reading, self.profile)
        asked = (
            *(self.provider, self.name, self.host, self.context_tokens, self.max_output_tokens),
            *(reading, self.capabilities, self.simulated, self.reasoning),
            *(self.reasoning_effort, self.thinking_budget_tokens, self.kind, self.dimensions),
        )
        object.__setattr__(self, "fingerprint", repr(asked))

    def thinks(self, sampling: Sampling) -> bool:
        """Whether it thinks before it answers, asked in this way."""
        off = sampling.reasoning_effort == "none" or sampling.thinking_budget_tokens == 0
        return self.reasoning and not off

    @property
    def decides(self) -> bool:
        """Whether it answers typed questions with probabilities, and writes no text."""
        return DECISION in self.reading

    @property
    def is_priced(self) -> bool:
        """Whether a cap on costs can be kept over it."""
        known = self.input_usd_per_mtok is not None and self.output_usd_per_mtok is not None
        return self.simulated or known

    def cost_usd(self, usage: Usage) -> float:
        """Price of `usage`; 0 where no price is known."""
        longer = (each for each in self.long_prices if usage.input_tokens > each.over_tokens)
        price: LongPrice | Model = max(longer, key=lambda each: each.over_tokens, default=self)
        input_usd = price.input_usd_per_mtok or 0.0
        read_usd, write_usd = price.cached_input_usd_per_mtok, price.cache_write_usd_per_mtok
        read = min(usage.cached_tokens, usage.input_tokens)
        written = min(usage.cache_write_tokens, usage.input_tokens - read)
        usd = (usage.input_tokens - read - written) * input_usd
        usd += read * (input_usd if read_usd is None else read_usd)
        usd += written * (input_usd if write_usd is None else write_usd)
        usd += usage.output_tokens * (price.output_usd_per_mtok or 0.0)
        return usd * (1 - self.discount) / 1_000_000
