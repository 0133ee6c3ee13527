"""Cost budgets: what one request, and one tenant in a day, may spend at most."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import TypeVar

from assay.domain.completion import CallContext, Completion, Prompt
from assay.domain.errors import CostCapReached, ModelError, StoreUnavailable
from assay.domain.ids import random_hex
from assay.domain.models import Model
from assay.domain.ports import ChatModel
from assay.domain.supervision import Supervisor
from assay.redis.circuit import RedisCircuit, write_probe
from assay.redis.scripts import ScriptRunner, load_script
from assay.redis.time_budget import CALL_BUDGET_S
from assay.resilience.settlements import Settlements
from assay.resilience.token_estimates import TokenEstimates

T = TypeVar("T")

RESERVE = load_script("assay.resilience.budget", "reserve")
SETTLE = load_script("assay.resilience.budget", "settle")

SETTLE_WITHIN_S = 600.0


class DailyBudgets:
    """What each tenant may spend in a day (UTC, by Redis' clock), in US dollars.

    Calls are charged their upper bound before they are sent, and settled afterwards. Without Redis,
    the spending is unknown, and calls of a tenant with a cap are refused.
    """

    def __init__(
        self,
        redis: ScriptRunner,
        caps_usd: Mapping[str, float],
        supervisor: Supervisor,
        *,
        budget_s: float = CALL_BUDGET_S,
    ) -> None:
        self._redis = redis
        self._caps_usd = dict(caps_usd)
        probe = write_probe(redis, "assay:v1:{cost}")
        self._circuit = RedisCircuit(probe, supervisor, budget_s=budget_s)
        self.settlements = Settlements(self._settle, supervisor)

    async def reserve(
        self, tenant: str, usd: float, settle_within_s: float = SETTLE_WITHIN_S
    ) -> str:
        """Charge an estimate and return its id, empty for a tenant without a cap.

        Raises `CostCapReached` if the cap could be exceeded, or cannot be checked.
        """
        cap_usd = self._caps_usd.get(tenant)
        if cap_usd is None:
            return ""
        id_ = random_hex(16)
        arguments = (repr(usd), repr(cap_usd), round(settle_within_s * 1_000))
        try:
            fits, rest_s = await self._circuit.call(
                lambda: RESERVE.run(self._redis, _keys(tenant, id_), arguments)
            )
        except StoreUnavailable:
            raise CostCapReached(
                "The tenant's daily cost cap cannot be checked: storage is unavailable."
            ) from None
        if not fits:
            raise CostCapReached(
                "The tenant's daily cost cap is reached.", retry_after_s=float(rest_s)
            )
        return id_

    def is_capped(self, tenant: str) -> bool:
        """Whether the tenant has a cap."""
        return tenant in self._caps_usd

    def settle(self, tenant: str, id_: str, usd: float) -> None:
        """Replace the estimate by the real cost, in the background."""
        if id_:
            self.settlements.add((tenant, id_, usd))

    async def aclose(self) -> None:
        await self.settlements.aclose()
        await self._circuit.aclose()

    async def _settle(self, batch: Sequence[tuple[str, str, float]]) -> None:
        for tenant, id_, usd in batch:
            settle = partial(SETTLE.run, self._redis, _keys(tenant, id_), (repr(usd),))
            await self._circuit.call(settle)


class BudgetCapped:
    """A `ChatModel` that does not send a call that could exceed its cost caps."""

    def __init__(
        self, inner: ChatModel, model: Model, budgets: DailyBudgets, estimates: TokenEstimates
    ) -> None:
        self._inner = inner
        self._model = model
        self._budgets = budgets
        self._estimates = estimates

    async def complete(self, prompt: Prompt[T], context: CallContext) -> Completion[T]:
        """The inner model's answer; raises `CostCapReached` before anything is sent."""
        budget = context.budget
        if budget is None and not self._budgets.is_capped(context.caller.tenant):
            return await self._inner.complete(prompt, context)
        most_usd = self._model.cost_usd(self._estimates.most(prompt))
        if not self._model.is_priced:
            raise CostCapReached("The model has no known price, so a cost cap cannot be kept.")
        if budget is not None and not budget.reserve(most_usd):
            raise CostCapReached("The next call could exceed the request's cost cap.")
        tenant, spent_usd, id_ = context.caller.tenant, most_usd, ""
        try:
            id_ = await self._budgets.reserve(tenant, most_usd)
            completion = await self._inner.complete(prompt, context)
            spent_usd = completion.cost_usd
        except ModelError as error:
            if error.usage is not None:
                spent_usd = self._model.cost_usd(error.usage)
            elif not error.billable:
                spent_usd = 0.0
            raise
        finally:
            if budget is not None:
                budget.release(most_usd - spent_usd)
            if spent_usd != most_usd:
                self._budgets.settle(tenant, id_, spent_usd)
        return completion


def _keys(tenant: str, id_: str) -> tuple[str, str]:
    tag = f"assay:v1:{{cost:{tenant}}}"
    return f"{tag}:day", f"{tag}:call:{id_}"
