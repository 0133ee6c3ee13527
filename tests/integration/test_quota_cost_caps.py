"""What a request and a tenant's day may cost."""

from __future__ import annotations

import asyncio

import pytest
from redis.asyncio import Redis

from assay.domain.completion import Caller, Completion, Usage
from assay.domain.errors import (
    ContentFiltered,
    CostCapReached,
    ModelError,
    ProviderDown,
    RateLimited,
)
from assay.domain.models import Model
from assay.domain.policy import CostBudget
from assay.domain.supervision import Supervisor
from assay.resilience.budget_capped import BudgetCapped, DailyBudgets
from assay.resilience.token_estimates import TokenEstimates
from fakes.calls import call
from fakes.models import ask
from fakes.recorded_events import RecordedEvents
from fakes.redis_process import RedisProcess

MODEL = Model("m", "p", "m", input_usd_per_mtok=1.0, output_usd_per_mtok=500.0)
"""2,048 output tokens, the most that a prompt asks for, cost a little over one dollar."""


class Priced:
    """A model that answers at a price, or fails."""

    def __init__(self, cost_usd: float = 0.1, failure: ModelError | None = None) -> None:
        self.cost_usd = cost_usd
        self.failure = failure
        self.calls = 0

    async def complete(self, *_: object) -> Completion:
        self.calls += 1
        if self.failure is not None:
            raise self.failure
        return Completion("ok", "stop", "p", "m", Usage(10, 200), cost_usd=self.cost_usd)


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    process = RedisProcess(tmp_path_factory.mktemp("redis"), keep=False)
    yield process
    process.stop()


@pytest.fixture
async def caps(server):
    server.command("FLUSHALL")
    redis = Redis.from_url(server.url)
    made = DailyBudgets(redis, {"poor": 2.0}, Supervisor(RecordedEvents()), budget_s=0.5)
    yield made
    await made.aclose()
    await redis.aclose()


async def complete(
    inner: Priced, caps: DailyBudgets, tenant: str = "poor", max_cost_usd: float | None = None
) -> Completion:
    budget = None if max_cost_usd is None else CostBudget(max_cost_usd)
    context = call(5.0, Caller(tenant), budget=budget)
    return await BudgetCapped(inner, MODEL, caps, TokenEstimates()).complete(ask("x"), context)


async def settled(server: RedisProcess, caps: DailyBudgets) -> float:
    await caps.settlements.aclose()
    return float(server.command("HGET", "assay:v1:{cost:poor}:day", "spent_usd") or 0)


async def test_a_call_that_could_exceed_the_request_s_cap_is_not_sent(caps):
    """Whatever it would have turned out to cost."""
    inner = Priced()
    with pytest.raises(CostCapReached):
        await complete(inner, caps, "rich", 0.5)
    assert inner.calls == 0
    await complete(inner, caps, "rich", 1.5)
    assert inner.calls == 1


async def test_the_day_s_cap_counts_upper_bounds_in_flight(caps):
    """Two calls at once could cost more than the two dollars, so the second is not sent."""
    first = await caps.reserve("poor", 1.2)
    assert first
    with pytest.raises(CostCapReached) as refusal:
        await caps.reserve("poor", 1.2)
    assert refusal.value.retry_after_s is not None
    assert 0 < refusal.value.retry_after_s <= 86_400


async def test_a_call_is_settled_at_its_real_price(server, caps):
    """So a cap of two dollars holds many calls of ten cents."""
    for _ in range(5):
        await complete(Priced(0.1), caps)
        await asyncio.sleep(0.05)
    assert await settled(server, caps) == pytest.approx(0.5)


async def test_a_call_that_was_not_billed_costs_nothing(server, caps):
    """A refusal by the provider makes no tokens."""
    with pytest.raises(RateLimited):
        await complete(Priced(failure=RateLimited("no")), caps)
    assert await settled(server, caps) == 0


async def test_a_call_that_failed_midway_stays_charged(server, caps):
    """The provider may bill it, and the amount is unknown."""
    with pytest.raises(ProviderDown):
        await complete(Priced(failure=ProviderDown("gone")), caps)
    assert await settled(server, caps) == pytest.approx(1.024, rel=0.01)


async def test_a_filtered_answer_is_settled_at_what_the_provider_counted(server, caps):
    """The call failed, but its price is known."""
    filtered = ContentFiltered("filtered")
    filtered.usage = Usage(1_000, 200)
    with pytest.raises(ContentFiltered):
        await complete(Priced(failure=filtered), caps)
    assert await settled(server, caps) == pytest.approx(0.101)


async def test_without_redis_a_capped_tenant_spends_nothing_and_others_go_on(tmp_path):
    """Nobody knows what was spent."""
    server = RedisProcess(tmp_path)
    redis = Redis.from_url(server.url)
    caps = DailyBudgets(redis, {"poor": 2.0}, Supervisor(RecordedEvents()))
    server.stop()
    with pytest.raises(CostCapReached):
        await complete(Priced(), caps, "poor")
    assert (await complete(Priced(), caps, "rich")).text == "ok"
    await caps.aclose()
    await redis.aclose()
