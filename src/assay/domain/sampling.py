"""How a model samples and thinks, and what of that its API may refuse."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from assay.domain.models import Model

Effort = Literal["none", "minimal", "low", "medium", "high", "xhigh", "max"]
"""How much a model thinks before it answers; not every model knows every word."""
Parameter = Literal[
    "temperature",
    "seed",
    "top_p",
    "logprobs",
    "structured_output",
    "reasoning_effort",
    "thinking_budget",
    "max_output_tokens",
    "prompt_cache",
]
"""Parts of a request that the API of a model may refuse."""

THINKING_TOKENS: Mapping[Effort, int] = {
    "none": 0,
    "minimal": 1_024,
    "low": 2_048,
    "medium": 8_192,
    "high": 16_384,
    "xhigh": 32_768,
    "max": 65_536,
}
"""The budget that stands for an effort, and the room for thinking in the output limit."""


@dataclass(frozen=True, slots=True)
class Sampling:
    """How the model samples and thinks; None leaves the model's own default untouched.

    The output limit includes thinking once `for_model` has made room for it.
    """

    max_output_tokens: int = 2_048
    temperature: float | None = None
    seed: int | None = None
    top_logprobs: int = 0
    reasoning_effort: Effort | None = None
    thinking_budget_tokens: int | None = None
    top_p: float | None = None

    def for_model(self, model: Model) -> Sampling:
        """As `model` is asked: within its limits, without what it cannot do, with room to think.

        Effort and budget are those of the call, else those of the model.
        """
        able, room_tokens = model.capabilities, 0
        is_given = self.reasoning_effort or self.thinking_budget_tokens is not None
        source = self if is_given else model
        effort, budget = source.reasoning_effort, source.thinking_budget_tokens
        if not model.reasoning:
            effort = budget = None
        elif budget is not None:
            room_tokens = budget = min(budget, model.max_output_tokens // 2)
        else:
            room_tokens = THINKING_TOKENS[effort or "medium"]
        return Sampling(
            min(self.max_output_tokens + room_tokens, model.max_output_tokens),
            self.temperature if able.temperature else None,
            self.seed if able.seed else None,
            self.top_logprobs if able.logprobs else 0,
            effort,
            budget,
            self.top_p if able.temperature else None,
        )

    def without(self, refused: frozenset[str]) -> Sampling:
        """The same without refused parameters; effort and budget stand in for each other."""
        effort, budget = self.reasoning_effort, self.thinking_budget_tokens
        if effort and f"reasoning_effort={effort}" in refused:
            budget = THINKING_TOKENS[effort] if budget is None else budget
            effort = None
        if budget is not None and "thinking_budget" in refused:
            if self.reasoning_effort is None:
                effort = next(
                    (e for e, tokens in THINKING_TOKENS.items() if tokens >= budget), "max"
                )
                effort = None if f"reasoning_effort={effort}" in refused else effort
            budget = None
        return Sampling(
            self.max_output_tokens,
            None if "temperature" in refused else self.temperature,
            None if "seed" in refused else self.seed,
            0 if "logprobs" in refused else self.top_logprobs,
            effort,
            budget,
            None if "top_p" in refused else self.top_p,
        )


DEFAULT_SAMPLING = Sampling()
