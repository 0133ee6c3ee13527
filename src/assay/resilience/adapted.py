"""Adapts calls to what the API of a model supports: what it refuses is learned, and left out."""

from __future__ import annotations

from typing import TypeVar

from assay.domain.completion import CallContext, Completion, Prompt
from assay.domain.errors import RequestRejected
from assay.domain.models import Model
from assay.domain.ports import ChatModel
from assay.resilience.refusals import Refusals

T = TypeVar("T")

LEARNED_MAX = 6
"""Parameters that one call may learn to leave out; an API names one at a time."""


class Adapted:
    """A `ChatModel` that repeats a call without the parameter that the API named as unsupported.

    The repetition is no attempt: a rejected call costs nothing. What is refused is remembered
    where the call succeeds without it, since an error may quote the caller.
    """

    def __init__(self, inner: ChatModel, model: Model, refusals: Refusals) -> None:
        self._inner = inner
        self._model = model
        self._refusals = refusals

    @property
    def refused(self) -> frozenset[str]:
        """What the model is known to refuse."""
        return self._refusals.of(self._model)

    async def complete(self, prompt: Prompt[T], context: CallContext) -> Completion[T]:
        known = self.refused
        refused, asked = known, prompt.without(known)
        while True:
            try:
                completion = await self._inner.complete(asked, context)
            except RequestRejected as error:
                if error.parameter is None or len(refused - known) >= LEARNED_MAX:
                    raise
                name: str = error.parameter
                if name == "reasoning_effort":
                    name = f"{name}={asked.sampling.reasoning_effort}"
                changed = prompt.without(refused | {name})
                had_it = changed.sampling != asked.sampling or changed.answer is not asked.answer
                if name in refused or not (had_it or name in ("max_output_tokens", "prompt_cache")):
                    raise
                refused, asked = refused | {name}, changed
            else:
                if refused != known:
                    await self._refusals.learn(self._model, refused - known)
                return completion
