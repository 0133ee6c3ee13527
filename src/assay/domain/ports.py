"""The seams of the house: what the layers ask of each other."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from assay.domain.completion import Completion, Model, Prompt
from assay.domain.evaluation import JudgeSpec
from assay.domain.events import Event
from assay.domain.policy import Deadline


class ChatModel(Protocol):
    """Anything that answers a prompt: a provider, or a layer of resilience around one."""

    async def complete(self, prompt: Prompt, deadline: Deadline) -> Completion:
        """Answer before the deadline or raise a `ModelError`."""
        ...


class Judges(Protocol):
    """Finds the models that a judge specification names."""

    def select(self, spec: JudgeSpec) -> ChatModel:
        """The model to ask; raises `RequestError` (`unknown_model`) for a name not configured."""
        ...

    def members(self, spec: JudgeSpec) -> Sequence[JudgeSpec]:
        """The models of a panel, each as a specification of its own; else `spec` alone."""
        ...

    def window_tokens(self, spec: JudgeSpec) -> float:
        """The largest window among the models that may answer; infinite where one is unknown."""
        ...


BreakerState = Literal["closed", "open", "half_open", "forced_open", "disabled"]


@dataclass(frozen=True, slots=True)
class ModelStatus:
    """A configured model as it stands now; what is left of its quota is None where unlimited."""

    model: Model
    breaker: BreakerState = "closed"
    requests_left: float | None = None
    tokens_left: float | None = None


BreakerOrder = Literal["forced_open", "disabled", "reset"]
"""What an operator can order: refuse every call, let every call through, or go back to work."""


class ModelDirectory(Protocol):
    """The configured models, as `/v1/models` shows and steers them."""

    async def statuses(self) -> Sequence[ModelStatus]: ...

    async def order(self, model_id: str, order: BreakerOrder) -> ModelStatus:
        """Set a model's breaker in all processes.

        Raises `RequestError` (`not_found`) for a model not configured, and `StoreUnavailable`.
        """
        ...


@dataclass(frozen=True, slots=True)
class KeptAnswer:
    """An HTTP answer as it was first given, kept to be given again."""

    status: int
    headers: tuple[tuple[str, str], ...]
    body: bytes


class Lease(Protocol):
    """The right to run the one request that an idempotency key stands for."""

    async def keep(self, answer: KeptAnswer) -> None:
        """Give `answer` to every later request with the key; a store that fails is passed over."""
        ...

    async def release(self) -> None:
        """Let the next request with the key run; a store that fails is passed over."""
        ...


class IdempotencyStore(Protocol):
    """Remembers the answers of requests that carry an idempotency key, for all processes."""

    async def claim(
        self, tenant: str, key: str, digest: str, deadline: Deadline
    ) -> Lease | KeptAnswer:
        """The right to run the request, or the answer of the one that ran; waits while one runs.

        Raises:
            RequestError: `idempotency_key_reused`, the key stands for a request of other content.
            DeadlineExceeded: the first request still runs.
            StoreUnavailable: nobody can say whether it ran.
        """
        ...


class EventSink(Protocol):
    """Takes facts; must not raise and must not block."""

    def emit(self, event: Event) -> None: ...
