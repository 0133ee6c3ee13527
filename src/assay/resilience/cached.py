"""The result cache: readable answers, stored per tenant in Redis for a while.

Off unless composed into the nest, `Cached(Coalesced(Retried(...)))`. Only complete
and readable answers are stored, never a failure. Without Redis every look-up misses.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import replace
from typing import Any, TypeVar

from assay.domain.completion import CallContext, Completion, Prompt, TokenLogprob
from assay.domain.errors import ModelError
from assay.domain.models import Model
from assay.domain.ports import ChatModel
from assay.redis.client import Client
from assay.redis.outages import OUTAGES
from assay.redis.time_budget import CALL_BUDGET_S, TimeBudget
from assay.resilience.coalesced import without_cost

T = TypeVar("T")

PAUSE_S = 1.0
"""After Redis failed, no caller waits for it again for this long."""

ANSWER_BYTES_MAX = 256 * 1024
"""A longer answer is not stored."""


class Cached:
    """A `ChatModel` that answers from the cache where it can."""

    def __init__(
        self,
        inner: ChatModel,
        model: Model,
        redis: Client,
        ttl_s: float,
        budget_s: float = CALL_BUDGET_S,
    ) -> None:
        self._inner = inner
        self._model = model
        self._redis = redis
        self._ttl_s = ttl_s
        self._budget_s = budget_s
        self._paused_until_s = 0.0

    async def complete(self, prompt: Prompt[T], context: CallContext) -> Completion[T]:
        """The stored answer, read again and marked as `cached`; else the model's, to be stored."""
        if prompt.key is None or not context.cacheable:
            return await self._inner.complete(prompt, context)
        name = _name(self._model, prompt, context.caller.tenant)
        started_s = time.monotonic()
        stored = await self._look_up(name, prompt)
        if stored is not None:
            return replace(stored, latency_ms=(time.monotonic() - started_s) * 1000)
        completion = await self._inner.complete(prompt, context)
        if completion.finish == "stop" and not completion.cached:
            return await self._store(name, completion, prompt)
        return completion

    async def _look_up(self, name: str, prompt: Prompt[T]) -> Completion[T] | None:
        stored = await self._ask(lambda: self._redis.get(name))
        if stored is None:
            return None
        try:
            completion = _completion_from(json.loads(stored), prompt.marker)
            return without_cost(completion).with_reading(prompt.read(completion))
        except (ModelError, ValueError, KeyError, TypeError):
            # Stored by another version, or no longer what the reader accepts: ask the model.
            return None

    async def _store(self, name: str, answer: Completion[T], prompt: Prompt[T]) -> Completion[T]:
        """The answer that is stored: that of another process, if it came first and is readable."""
        value, ttl_ms = json.dumps(_to_store(answer, prompt.marker)), int(self._ttl_s * 1000)
        if len(value) > ANSWER_BYTES_MAX:
            return answer
        if await self._ask(lambda: self._redis.set(name, value, px=ttl_ms, nx=True)):
            return answer
        first = await self._look_up(name, prompt)
        if first is None:
            await self._ask(lambda: self._redis.set(name, value, px=ttl_ms))
            return answer
        return replace(answer, text=first.text, logprobs=first.logprobs, reading=first.reading)

    async def _ask(self, command: Callable[[], Awaitable[Any]]) -> Any:
        """Redis' reply, or None where it does not answer in time."""
        if time.monotonic() < self._paused_until_s:
            return None
        try:
            async with TimeBudget(self._budget_s):
                return await command()
        except OUTAGES:
            self._paused_until_s = time.monotonic() + PAUSE_S
            return None


def _name(model: Model, prompt: Prompt[Any], tenant: str) -> str:
    """The key in Redis: a digest of tenant, model, sampling and question."""
    digest = hashlib.blake2b(digest_size=32)
    for part in _flat((tenant, model.id, prompt.sampling, prompt.key)):
        digest.update(part)
    return f"assay:v1:{{cache:{digest.hexdigest()}}}"


def _flat(value: object) -> Iterator[bytes]:
    """A value as bytes that no other value gives: each part after its kind and length."""
    if isinstance(value, tuple):
        yield f"t{len(value)}:".encode()
        for part in value:
            yield from _flat(part)
    else:
        kind, text = ("s", value) if isinstance(value, str) else ("o", repr(value))
        encoded = text.encode("utf-8", "surrogatepass")
        yield f"{kind}{len(encoded)}:".encode()
        yield encoded


def _to_store(completion: Completion[Any], marker: str) -> dict[str, Any]:
    """What is stored of an answer: all that reading it again may need."""
    return {
        "marker": marker,
        "text": completion.text,
        "provider": completion.provider,
        "model": completion.model,
        "simulated": completion.simulated,
        "logprobs": [[token.token, token.logprob, token.top] for token in completion.logprobs],
    }


def _completion_from(stored: dict[str, Any], marker: str) -> Completion[object]:
    """The stored answer as if it had been asked for with this call's marker."""
    text, old = stored["text"], stored["marker"]
    return Completion(
        text=text.replace(old, marker) if old else text,
        finish="stop",
        provider=stored["provider"],
        model=stored["model"],
        simulated=stored["simulated"],
        logprobs=tuple(
            TokenLogprob(token, logprob, tuple((name, value) for name, value in top))
            for token, logprob, top in stored["logprobs"]
        ),
    )
