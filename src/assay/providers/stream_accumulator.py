"""An answer while it is received: a subclass for each dialect reads its events."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any, ClassVar, Never

from assay.domain.completion import (
    NO_USAGE,
    Completion,
    Finish,
    Model,
    RateLimitState,
    TokenLogprob,
    Usage,
)
from assay.domain.errors import StreamBroken
from assay.providers.failures import Dialect

TEXT_CHARS_MAX = 4 * 1024 * 1024
"""Longest answer that is read; a verdict has a few hundred characters."""


@dataclass(frozen=True, slots=True)
class Timing:
    """How long a call took, from the moment it was sent."""

    first_byte_ms: float
    latency_ms: float


class StreamAccumulator(ABC):
    """Collects one answer.

    The `read_` methods need not check shapes: a KeyError, TypeError or the like reaches the caller
    as `StreamBroken`.
    """

    dialect: ClassVar[Dialect]

    def __init__(self, model: Model) -> None:
        self._model = model
        self.provider = model.provider
        self._parts: list[str] = []
        self._chars = 0
        self.ended = False
        self.finish: Finish | None = None
        self.served_by = model.name
        self.usage = NO_USAGE
        self.logprobs: list[TokenLogprob] = []
        self.rate_limit: RateLimitState | None = None

    @abstractmethod
    def read_event(self, event: Any) -> None:
        """Read one parsed event of a stream; raises the `ModelError` that it stands for."""

    @abstractmethod
    def read_answer(self, answer: Any) -> None:
        """Read a whole answer that was not streamed."""

    def end(self) -> None:
        """The stream has ended: nothing more follows, even if it is still open."""
        self.ended = True

    def write(self, text: str, into: list[str] | None = None) -> None:
        """Add text to the answer (or to `into`), up to the longest answer."""
        if not isinstance(text, str):
            raise TypeError("text must be a string")
        self._chars += len(text)
        if self._chars > TEXT_CHARS_MAX:
            raise StreamBroken("the provider's answer is beyond the size limit")
        (self._parts if into is None else into).append(text)

    def text(self) -> str:
        return "".join(self._parts)

    def completion(self, timing: Timing) -> Completion[Never]:
        """The finished answer; raises `StreamBroken` if it has no end."""
        if self.finish is None:
            raise StreamBroken(f"{self.provider} cut off its answer")
        return Completion(
            text=self.text(),
            finish=self.finish,
            provider=self.provider,
            model=self.served_by,
            usage=self.usage,
            cost_usd=self._model.cost_usd(self.usage),
            first_byte_ms=timing.first_byte_ms,
            latency_ms=timing.latency_ms,
            logprobs=tuple(self.logprobs),
            rate_limit=self.rate_limit,
        )


def usage(input_tokens: Any, output_tokens: Any) -> Usage:
    """Token counts as a value; a count that a server leaves out is 0."""
    return Usage(max(int(input_tokens or 0), 0), max(int(output_tokens or 0), 0))
