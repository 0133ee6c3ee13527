"""The quota's laws over random schedules, on a real Redis with a clock that the test sets."""

from __future__ import annotations

import asyncio
import uuid
from dataclasses import dataclass, field
from typing import ClassVar

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from redis import Redis

from assay.domain.policy import BucketName, Quota
from assay.domain.supervision import Supervisor
from assay.resilience.quota.quotas import ModelQuota, Quotas
from assay.resilience.quota.reservations import ReservationRequest, Reserved, SettledReservation
from fakes.recorded_events import RecordedEvents
from fakes.redis_process import RedisProcess, servers
from fakes.scripted_clock import ScriptedClock

START_US = 1_700_000_000_000_000
SLACK = 1e-3
"""Sending times are whole microseconds."""

parts = st.sampled_from([0.1, 0.5, 1.0])
"""Of a bucket's capacity."""
pauses = st.sampled_from([0.1, 0.3, 2.0, 7.0, 60.0])


@dataclass
class Sent:
    """One granted request: when it is sent and what it costs in each bucket."""

    granted: Reserved
    at_s: float
    charged: dict[str, float]
    costs: dict[str, float] = field(default_factory=dict)
    settled: bool = False


class AnySchedule(RuleBasedStateMachine):
    """Any number of clients that reserve, wait, settle, crash, while clocks jump."""

    redis: Redis
    quota = Quota(requests_per_minute=100, tokens_per_minute=400, burst_share=0.1)
    shares: ClassVar[dict[str, float]] = {}
    cost_max = 1.0
    """Of a bucket's capacity."""
    over = 0.0
    """How far an actual cost may lie above the estimate, as a part of it."""

    @initialize()
    def begin(self) -> None:
        self.runner = asyncio.Runner()
        self.redis.flushall()
        self.clock = ScriptedClock(self.redis)
        self.now_s = self.seen_s = 0.0
        self.jumped_us = 0
        self._set_time()
        self.quotas = self._process("a")
        self.model: ModelQuota = self.quotas.of(uuid.uuid4().hex, self.quota)
        self.others = [self._process(name) for name in ("b", "c")]
        self.sent: list[Sent] = []
        self.debt = dict.fromkeys(("requests", "tokens"), 0.0)

    def teardown(self) -> None:
        if hasattr(self, "runner"):
            self.runner.close()

    def _process(self, owner: str) -> Quotas:
        events = RecordedEvents()
        return Quotas(self.clock, Supervisor(events), shares=self.shares, budget_s=10, owner=owner)

    def _set_time(self) -> None:
        now_us = START_US + self.jumped_us + round(self.now_s * 1e6)
        self.clock.set_us(now_us)

    @rule(
        requests=parts,
        tokens=parts,
        lookahead_s=st.sampled_from([0.0, 0.25, 5.0, 60.0]),
        tenant=st.sampled_from(["gold", "silver", "other"]),
        joins_queue=st.booleans(),
    )
    def reserve(self, requests, tokens, lookahead_s, tenant, joins_queue) -> None:
        question = ReservationRequest(
            self._costs(requests, tokens),
            tenant=tenant,
            lookahead_s=lookahead_s,
            joins_queue=joins_queue,
        )
        before = self._left()
        answer = self.runner.run(self.model.reserve(question))
        if not isinstance(answer, Reserved):
            assert self._left() == pytest.approx(before, abs=1e-3)
            return
        at_s = self.now_s + answer.wait_s
        if self.sent:
            assert at_s >= self.sent[-1].at_s - 1e-5, "a later caller overtook"
        self.seen_s = self.now_s
        costs = dict(question.costs)
        self.sent.append(Sent(answer, at_s, costs, dict(costs)))
        repeated = self.runner.run(self.model.reserve(question))
        assert repeated.wait_s == pytest.approx(answer.wait_s, abs=2e-6)

    @rule(seconds=pauses)
    def wait(self, seconds) -> None:
        self.now_s += seconds
        self._set_time()

    @rule(seconds=st.floats(0.1, 1_000))
    def clock_jumps_back(self, seconds) -> None:
        question = ReservationRequest({"requests": 1, "tokens": 1}, lookahead_s=-1)
        before = self.runner.run(self.model.reserve(question))
        self.jumped_us -= round(seconds * 1e6)
        self._set_time()
        after = self.runner.run(self.model.reserve(question))
        # What Redis had not yet seen of the time before the jump is waited for once more, at the
        # rate of then, which feedback may have lowered to a tenth: never for the jump itself.
        assert after.wait_s <= 10 * (before.wait_s + self.now_s - self.seen_s) + SLACK

    @precondition(lambda self: any(not request.settled for request in self.sent))
    @rule(data=st.data(), used=st.sampled_from([0.0, 0.5, 1.0]))
    def settle(self, data, used) -> None:
        each = data.draw(st.sampled_from([each for each in self.sent if not each.settled]))
        used *= 1 + self.over
        each.costs = {name: cost * used for name, cost in each.charged.items()}
        for name, cost in each.charged.items():
            self.debt[name] += max(0.0, each.costs[name] - cost)
        each.settled = True
        self.runner.run(self.model.settle([SettledReservation(each.granted, each.costs)]))
        once = self._left()
        self.runner.run(self.model.settle([SettledReservation(each.granted, each.costs)]))
        assert self._left() == pytest.approx(once, abs=1e-3)

    @precondition(lambda self: any(self._unsent()))
    @rule(data=st.data())
    def settle_unsent(self, data) -> None:
        each = data.draw(st.sampled_from(self._unsent()))
        before = self._left()
        self.runner.run(self.model.settle([self.model.unsent(each.granted)]))
        after = self._left()
        assert all(after[name] >= before[name] - 1e-3 for name in after)
        each.costs = dict.fromkeys(each.costs, 0.0)
        each.settled = True

    @precondition(lambda self: self.sent)
    @rule(retry_after_s=st.one_of(st.none(), st.floats(0, 5)))
    def provider_refuses(self, retry_after_s) -> None:
        self.runner.run(self.model.refused_by_provider(self.sent[-1].granted, retry_after_s))

    @precondition(lambda self: self.sent)
    @rule(left=st.floats(0, 20))
    def provider_tells(self, left) -> None:
        before = self._left()
        self.runner.run(self.model.left_by_provider(self.sent[-1].granted, {"tokens": left}))
        assert self._left()["tokens"] <= before["tokens"] + 1e-3

    @rule()
    def a_process_dies_joins_queue(self) -> None:
        """It has a place in the queue and never comes back; the place lapses when it is due."""
        other = self.others[0].of(next(iter(self.quotas._models)), self.quota)
        costs = self._costs(1.0, 1.0)
        answer = self.runner.run(other.reserve(ReservationRequest(costs, lookahead_s=0)))
        if isinstance(answer, Reserved):
            self.sent.append(Sent(answer, self.now_s + answer.wait_s, costs, dict(costs)))

    @invariant()
    def no_window_has_more_than_its_capacity_and_refill(self) -> None:
        if not hasattr(self, "model"):
            return
        for bucket in self.model.buckets:
            for first in range(len(self.sent)):
                total = 0.0
                for each in self.sent[first:]:
                    total += each.costs[bucket.name]
                    window_s = each.at_s - self.sent[first].at_s
                    allowed = bucket.capacity + bucket.rate_per_s * window_s
                    assert total <= allowed + self.debt[bucket.name] + SLACK

    def _costs(self, requests: float, tokens: float) -> dict[BucketName, float]:
        return {
            "requests": 10 * self.cost_max * requests,
            "tokens": 40 * self.cost_max * tokens,
        }

    def _left(self) -> dict[str, float]:
        return dict(self.runner.run(self.model.status()).left)

    def _unsent(self) -> list[Sent]:
        return [
            request for request in self.sent if not request.settled and request.at_s > self.now_s
        ]


class WithDebts(AnySchedule):
    """Estimates may be too low."""

    over = 1.0


class WithShares(AnySchedule):
    """A tenant has a guaranteed share."""

    shares: ClassVar[dict[str, float]] = {"gold": 0.4, "silver": 0.2}
    cost_max = 0.4
    """What is left to borrowers; a larger cost would be a debt to those with a share."""

    @invariant()
    def what_is_set_aside_is_there(self) -> None:
        """So a tenant within its share never waits for what others took.

        Tokens are left out: the provider's count may lower their balance.
        """
        if not hasattr(self, "model"):
            return
        keys = list(self.redis.scan_iter("*:state"))
        for state in map(self.redis.hgetall, keys):
            aside = sum(float(state[f"share:{name}:requests".encode()]) for name in self.shares)
            assert float(state[b"bal:requests"]) >= aside - SLACK


@pytest.mark.parametrize("machine", [AnySchedule, WithDebts, WithShares])
@pytest.mark.parametrize("binary", servers().values(), ids=servers().keys())
def test_no_schedule_breaks_the_quota(machine, binary, tmp_path):
    """Whatever clients, clocks and the provider do, every window keeps within its limit."""
    server = RedisProcess(tmp_path, binary, keep=False)
    try:
        with Redis(port=server.port) as redis:
            machine.redis = redis
            run_state_machine_as_test(
                machine,
                settings=settings(
                    max_examples=40,
                    stateful_step_count=40,
                    deadline=None,
                    suppress_health_check=list(HealthCheck),
                ),
            )
    finally:
        server.stop()
