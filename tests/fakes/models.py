"""Models that tests put in the place of real ones."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from dataclasses import replace

from assay.domain.completion import CallContext, Completion, Prompt, Turn, Usage
from assay.domain.models import Model
from fakes.calls import read_text

MODEL = Model(
    "fake/judge", "fake", "judge", input_usd_per_mtok=1_000_000.0, output_usd_per_mtok=0.0
)
USAGE = Usage(input_tokens=2, output_tokens=1)
"""Costs 2 US dollars at the prices of `MODEL`."""


def ask(text: str = "Is it so?", **fields: object) -> Prompt:
    """A prompt of one turn."""
    return replace(Prompt((Turn("user", (text,)),), read_text), **fields)  # type: ignore[arg-type]


def answer(text: str = "yes", **fields: object) -> Completion:
    """A completion of `MODEL` that took 10 ms."""
    completion = Completion(text, "stop", "fake", "fake/judge", USAGE, latency_ms=10.0)
    return replace(completion, **fields)  # type: ignore[arg-type]


class ScriptedModel:
    """Answers each call with the next step of its script; the last step repeats for ever.

    A step is a completion to return, an error to raise, or seconds to stay silent before the
    usual answer.
    """

    def __init__(self, *script: Completion | Exception | float) -> None:
        self._script = list(script) or [answer()]
        self.prompts: list[Prompt] = []
        self.contexts: list[CallContext] = []
        self.cancelled = 0

    @property
    def calls(self) -> int:
        return len(self.prompts)

    async def complete(self, prompt: Prompt, context: CallContext) -> Completion:
        self.prompts.append(prompt)
        self.contexts.append(context)
        step = self._script.pop(0) if len(self._script) > 1 else self._script[0]
        if isinstance(step, Exception):
            raise step
        if isinstance(step, Completion):
            return step
        try:
            await asyncio.sleep(step)
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        return answer()


class GatedModel:
    """Holds every call until the test opens its gate; `answering` makes the answer."""

    def __init__(self, answering: Callable[[Prompt], Completion] = lambda _: answer()) -> None:
        self.gate = asyncio.Event()
        self.prompts: list[Prompt] = []
        self.contexts: list[CallContext] = []
        self.in_flight = 0
        self.in_flight_max = 0
        self.cancelled = 0
        self._answering = answering

    async def complete(self, prompt: Prompt, context: CallContext) -> Completion:
        self.prompts.append(prompt)
        self.contexts.append(context)
        self.in_flight += 1
        self.in_flight_max = max(self.in_flight_max, self.in_flight)
        try:
            await self.gate.wait()
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        finally:
            self.in_flight -= 1
        return self._answering(prompt)


def outcomes(attempts: Iterable[object]) -> list[str]:
    """The outcomes of attempts or of their events."""
    return [attempt.outcome for attempt in attempts]  # type: ignore[attr-defined]
