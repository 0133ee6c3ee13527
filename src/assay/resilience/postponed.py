"""Calls through a provider's batch API, for the rows of a batch.

A row is evaluated as always, again and again: a call whose answer is there goes on with it, and any
other is put down for a job and ends with `AnswerPending`. The row's next round finds its answer. So
the engine knows nothing of jobs.
"""

from __future__ import annotations

import hashlib
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from typing import Any, TypeVar

import orjson

from assay.domain.completion import (
    Attempt,
    CallContext,
    Completion,
    Prompt,
    TokenLogprob,
    Usage,
    total_spent,
)
from assay.domain.deferral import Deferral
from assay.domain.errors import AnswerPending, AnswerUndelivered, StoreUnavailable
from assay.domain.events import AttemptFinished, Event
from assay.domain.models import Model
from assay.domain.ports import ChatModel, EventSink
from assay.domain.provider_jobs import DeferredCall, DeferredCalls, JobApi
from assay.resilience.budget_capped import DailyBudgets
from assay.resilience.refusals import Refusals
from assay.resilience.token_estimates import TokenEstimates

T = TypeVar("T")

SETTLE_WITHIN_S = 3 * 86_400.0


class Postponed:
    """A `ChatModel` that answers from the jobs of a batch, or else puts the call down for one."""

    def __init__(
        self,
        api: JobApi,
        model: Model,
        calls: DeferredCalls,
        budgets: DailyBudgets,
        estimates: TokenEstimates,
        refusals: Refusals,
    ) -> None:
        self._api = api
        self._model = model
        self._calls = calls
        self._budgets = budgets
        self._estimates = estimates
        self._refusals = refusals

    async def complete(self, prompt: Prompt[T], context: CallContext) -> Completion[T]:
        """The answer that a job brought.

        Raises `AnswerPending` before there is one, and `AnswerUndelivered` if there is to be none.
        """
        deferral = context.caller.deferral
        if deferral is None:
            raise AnswerUndelivered("The call belongs to no batch.")
        if deferral.follows_from_waiting(context.criteria):
            raise AnswerPending("An earlier call waits for its answer.")
        # Of the question alone: what the API refuses may become known between two rounds.
        key = _key(deferral, self._model, prompt, context, self._api.question(prompt))
        try:
            found = await self._calls.find(deferral.batch_id, key)
            if found is None:
                await self._put(deferral, key, prompt, context)
        except StoreUnavailable:
            # The row is parked as soon as the store answers, and goes on at once.
            found = None
        if found is None or found.state == "waiting":
            deferral.wait(key, context.criteria)
            raise AnswerPending("The answer comes later.")
        if found.state == "undelivered":
            raise AnswerUndelivered("The provider's job brought no answer.", key)
        if found.state == "asked":
            return _completion(found.answer)
        completion = self._api.read(found.answer)
        self._estimates.learn(prompt, completion.usage)
        return completion

    async def _put(
        self, deferral: Deferral, key: str, prompt: Prompt[Any], context: CallContext
    ) -> None:
        asked, tenant = prompt.without(self._refusals.of(self._model)), context.caller.tenant
        most_usd = self._model.cost_usd(self._estimates.most(prompt))
        reservation = await self._budgets.reserve(tenant, most_usd, SETTLE_WITHIN_S)
        call = DeferredCall(
            key,
            deferral.row,
            self._model.id,
            self._api.body(asked),
            tenant,
            context.criteria,
            reservation,
        )
        if not await self._calls.put(deferral.batch_id, call):
            self._budgets.settle(tenant, reservation, 0.0)


class DirectWhereUndelivered:
    """A `ChatModel` that asks directly, at the full price, what a job did not answer, once."""

    def __init__(self, inner: ChatModel, direct: ChatModel, calls: DeferredCalls) -> None:
        self._inner = inner
        self._direct = direct
        self._calls = calls

    async def complete(self, prompt: Prompt[T], context: CallContext) -> Completion[T]:
        try:
            return await self._inner.complete(prompt, context)
        except AnswerUndelivered as error:
            undelivered = error
        completion = await self._direct.complete(prompt, context)
        deferral = context.caller.deferral
        if deferral is not None and undelivered.key:
            # Another round would pay for it again.
            kept = orjson.dumps(_to_keep(completion))
            with suppress(StoreUnavailable):
                await self._calls.keep(deferral.batch_id, undelivered.key, kept)
        earlier = [one for one in undelivered.attempts if one.outcome == "ok"]
        return replace(completion, attempts=(*earlier, *completion.attempts))


class OncePerRow:
    """A `ChatModel` that no job asks, such as a grader: once for all rounds of a row."""

    def __init__(self, inner: ChatModel, model: Model, calls: DeferredCalls) -> None:
        self._inner = inner
        self._model = model
        self._calls = calls

    async def complete(self, prompt: Prompt[T], context: CallContext) -> Completion[T]:
        """The answer of an earlier round, else one that is kept for the later ones."""
        deferral = context.caller.deferral
        if deferral is None:
            return await self._inner.complete(prompt, context)
        asked = "\0".join(turn.text for turn in prompt.turns).encode("utf-8", "backslashreplace")
        key, found = _key(deferral, self._model, prompt, context, asked), None
        with suppress(StoreUnavailable):
            found = await self._calls.find(deferral.batch_id, key)
        if found is not None:
            kept = _completion(found.answer)
            spent = Attempt(kept.provider, self._model.id, "ok", 0.0, kept.usage, kept.cost_usd)
            return replace(kept, attempts=(spent,)).with_reading(prompt.read(kept))
        completion = await self._inner.complete(prompt, context)
        to_keep = orjson.dumps(_to_keep(completion))
        with suppress(StoreUnavailable):
            await self._calls.keep(deferral.batch_id, key, to_keep, deferral.row)
        return completion


@dataclass(frozen=True, slots=True)
class WithoutAttempts:
    """An `EventSink` for calls that were made and counted before: reading them is no attempt."""

    inner: EventSink

    def emit(self, event: Event) -> None:
        if not isinstance(event, AttemptFinished):
            self.inner.emit(event)


def _key(
    deferral: Deferral, model: Model, prompt: Prompt[Any], context: CallContext, asked: bytes
) -> str:
    of = (deferral.batch_id, deferral.row, model.id, context.criteria, prompt.sample)
    whole = repr(of).encode("utf-8", "backslashreplace") + asked
    return hashlib.blake2b(whole, digest_size=16).hexdigest()


def _to_keep(completion: Completion[Any]) -> dict[str, Any]:
    usage, cost_usd = total_spent(completion.attempts)
    kept = replace(completion, usage=usage, cost_usd=cost_usd, attempts=(), reading=None)
    return {**asdict(kept), "quota_left": {}}


def _completion(answer: bytes) -> Completion[Any]:
    fields = orjson.loads(answer)
    tokens = [TokenLogprob(one["token"], one["logprob"], tuple(map(tuple, one["top"])))
              for one in fields["logprobs"]]  # fmt: skip
    return Completion(
        **{
            **fields,
            "usage": Usage(**fields["usage"]),
            "logprobs": tuple(tokens),
            "attempts": (),
            "tool_calls": tuple(fields["tool_calls"]),
        }
    )
