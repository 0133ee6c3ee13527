"""A stand-in for a model: repeatable answers that fit their schema, and repeatable embeddings."""

from __future__ import annotations

import asyncio
import hashlib
import random
import time
from typing import TypeVar

import orjson

from assay.domain.completion import CallContext, Completion, Prompt, Usage
from assay.domain.errors import DeadlineExceeded
from assay.domain.models import Model
from assay.domain.tokens import estimated_tokens
from assay.domain.vectors import to_text
from assay.providers.schema_instances import instance

T = TypeVar("T")

DIMENSIONS = 8
SIMULATED_TEXT = "Simulated: no model was asked, and this says nothing about the output."


class Simulated:
    """Answers without a network, and the same question always in the same way."""

    def __init__(self, model: Model, latency_s: float = 0.0) -> None:
        self._model = model
        self._latency_s = latency_s

    async def complete(self, prompt: Prompt[T], context: CallContext) -> Completion[T]:
        started_s = time.perf_counter()
        if context.deadline.remaining_s() <= self._latency_s:
            await asyncio.sleep(max(context.deadline.remaining_s(), 0.0))
            raise DeadlineExceeded(f"{self._model.provider} did not answer before the deadline")
        await asyncio.sleep(self._latency_s)
        embeds = self._model.kind == "embedding"
        text = (
            _embeddings(prompt, self._model.dimensions or DIMENSIONS)
            if embeds
            else self.answer(prompt)
        )
        asked = (part for turn in prompt.turns for part in turn.parts)
        usage = Usage(estimated_tokens(asked), 0 if embeds else estimated_tokens([text]))
        elapsed_ms = (time.perf_counter() - started_s) * 1_000
        return Completion(
            text=text,
            finish="stop",
            provider=self._model.provider,
            model=self._model.name,
            usage=usage,
            cost_usd=self._model.cost_usd(usage),
            first_byte_ms=elapsed_ms,
            latency_ms=elapsed_ms,
            simulated=True,
        )

    def answer(self, prompt: Prompt[T]) -> str:
        """What it answers."""
        if prompt.answer is None:
            return SIMULATED_TEXT
        rng = random.Random(_question_hash(prompt))  # noqa: S311  # repeatable on purpose, and no secret
        return orjson.dumps(instance(prompt.answer.schema, rng, SIMULATED_TEXT)).decode()


def _embeddings(prompt: Prompt[T], dimensions: int) -> str:
    """A random direction for each text, and the same one for the same text."""
    chances = (random.Random(turn.text.encode(errors="replace")) for turn in prompt.turns)  # noqa: S311  # as below
    return " ".join(to_text([rng.gauss() for _ in range(dimensions)]) for rng in chances)


def _question_hash(prompt: Prompt[T]) -> bytes:
    """A stable hash of the question: of its key, since the text may contain a random delimiter."""
    digest = hashlib.blake2b(repr(prompt.sampling.seed).encode(), digest_size=16)
    if prompt.key is not None:
        digest.update(repr(prompt.key).encode(errors="replace"))
        return digest.digest()
    for turn in prompt.turns:
        digest.update(f"\0{turn.role}\0".encode())
        for part in turn.parts:
            digest.update(str(part).encode(errors="replace"))
    return digest.digest()
