"""Two services on one Redis: they spend one budget, keep one line and have one breaker."""

from __future__ import annotations

import asyncio
import re
import statistics

import pytest

from fakes.fleet import Answered, Pod, most_in_a_minute, running_fleet, worst_excess
from fakes.providers.server import FaultServer
from fakes.redis_process import RedisProcess

pytestmark = pytest.mark.slow

PER_MINUTE = 60
CAPACITY = 3.0
RATE_PER_S = (PER_MINUTE - CAPACITY) / 60
LATE_S = 0.25
"""How much later than it was sent a request may be noted: processes share few CPUs with others."""

ONE_PROVIDER = """
[redis]
url = "{redis}"

[quota]
pods_max = 2

[providers.first]
dialect = "openai"
base_url = "{first}"

[models."first/judge"]
provider = "first"
name = "judge-1"
requests_per_minute = 60
"""

TWO_PROVIDERS = """
[redis]
url = "{redis}"

[breaker]
calls_min = 6
open_s = 4.0

[providers.first]
dialect = "openai"
base_url = "{first}"
silence_timeout_s = 1.0

[providers.second]
dialect = "anthropic"
base_url = "{second}"

[models."first/judge"]
provider = "first"
name = "judge-1"

[models."second/judge"]
provider = "second"
name = "judge-2"

[judges.default]
models = ["first/judge", "second/judge"]
"""

FIRST = "first/judge"
FALLBACK_ONLY = {"models": ["second/judge"]}


@pytest.fixture
def redis(tmp_path):
    folder = tmp_path / "redis"
    folder.mkdir()
    server = RedisProcess(folder, keep=False)
    yield server
    server.stop()


def names(server: FaultServer) -> list[str]:
    """Which cases reached the provider, in order of arrival."""
    found = [re.search(rb"<(case-\d+)>", request.raw) for request in server.requests]
    return [item[1].decode() for item in found if item]


async def flood(pods: list[Pod], count: int, **options: object) -> list[Answered]:
    """So many callers at each process, at once."""
    return await asyncio.gather(
        *(pod.judge(f"case-{i}", **options) for i in range(count) for pod in pods)
    )


async def test_two_floods_spend_one_budget_in_order_of_arrival(tmp_path, redis):
    """At most 60 a minute and the bucket in any window; first come first served; 429s prove true.

    The law is checked over every window of this short flood; `bench/fleet.py` floods for longer
    than a minute.
    """
    async with FaultServer(requests_kept=1_000) as provider:
        config = ONE_PROVIDER.format(redis=redis.url, first=provider.base_url("openai"))
        async with running_fleet(tmp_path, config) as pods:
            patient = []
            for number in range(12):
                asking = pods[number % 2].judge(f"case-{number}")
                patient.append(asyncio.create_task(asking))
                await asyncio.sleep(0.1)
            hasty = await asyncio.gather(
                *(pods[i % 2].judge(f"hasty-{i}", timeout_ms=3_000) for i in range(20))
            )
            again = [
                asyncio.create_task(_come_back(pod, max(hasty[i::2], key=_retry_after_s)))
                for i, pod in enumerate(pods)
            ]
            served = await asyncio.gather(*patient)
            came_back = await asyncio.gather(*again)
        sent_s = [request.at_s for request in provider.requests]
        order = names(provider)

    assert {answer.status for answer in served} == {200}
    # A process that stalls for longer than a ticket's grace lets one of the other go before.
    places = [abs(order.index(answer.name) - place) for place, answer in enumerate(served)]
    assert max(places) <= 1, order
    assert {(answer.status, answer.body["code"]) for answer in hasty} == {(429, "quota_exhausted")}
    assert {answer.headers["ratelimit-policy"] for answer in hasty} == {'"first/judge";q=60;w=60'}
    for answer in hasty:
        assert answer.headers["ratelimit"] == f'"first/judge";r=0;t={answer.headers["retry-after"]}'
    assert max(answer.seconds for answer in hasty) < 2.5, "a call waited only to fail"
    assert {answer.status for answer in came_back} == {200}, came_back
    assert len(sent_s) == len(served) + len(came_back)
    assert worst_excess(sent_s, CAPACITY, RATE_PER_S) <= RATE_PER_S * LATE_S
    assert most_in_a_minute(sent_s) <= PER_MINUTE


async def test_a_silent_provider_costs_its_callers_next_to_nothing(tmp_path, redis):
    """Open in every process, under 100 ms extra; tried again by three probes of the whole fleet."""
    async with FaultServer(requests_kept=1_000) as first, FaultServer() as second:
        first.silence_s = 20
        await first.play("silent")
        config = TWO_PROVIDERS.format(
            redis=redis.url, first=first.base_url("openai"), second=second.base_url("anthropic")
        )
        async with running_fleet(tmp_path, config) as pods:
            tripping = await flood(pods[:1], 6)
            await asyncio.gather(*(pod.until_breaker(FIRST, "open") for pod in pods))
            extra_s = [await _extra_s(pod) for pod in pods]

            probes_while_silent = await _probes(first, pods)
            await asyncio.gather(*(pod.until_breaker(FIRST, "open") for pod in pods))
            await first.play("none")
            first.latency_s = 0.8
            probes_once_well = await _probes(first, pods)
            await asyncio.gather(*(pod.until_breaker(FIRST, "closed") for pod in pods))
            first.latency_s = 0.0
            after = await flood(pods, 2)

    assert {answer.served_by for answer in tripping} == {"second"}
    assert max(extra_s) < 0.1
    assert (probes_while_silent, probes_once_well) == (3, 3)
    assert {answer.served_by for answer in after} == {"first"}


async def _come_back(pod: Pod, refused: Answered) -> Answered:
    """Ask again after the Retry-After, with the same short deadline."""
    await asyncio.sleep(_retry_after_s(refused))
    return await pod.judge("case-again", timeout_ms=3_000)


def _retry_after_s(answer: Answered) -> float:
    return float(answer.headers["retry-after"])


async def _extra_s(pod: Pod) -> float:
    """What an open breaker adds to a call that is served by the fallback: medians side by side."""
    usual, around = [], []
    for number in range(15):
        usual.append(await pod.judge(f"usual-{number}", judge=FALLBACK_ONLY))
        around.append(await pod.judge(f"around-{number}"))
    assert {answer.served_by for answer in (*usual, *around)} == {"second"}
    assert {answer.outcomes[0] for answer in around} == {(FIRST, "breaker_open")}
    medians = [statistics.median(answer.seconds for answer in side) for side in (around, usual)]
    return medians[0] - medians[1]


async def _probes(provider: FaultServer, pods: list[Pod]) -> int:
    """How many calls reach the provider when both processes try it again under load."""
    await asyncio.gather(*(pod.until_breaker(FIRST, "half_open") for pod in pods))
    before = provider.count
    answers = await flood(pods, 15)
    assert all(answer.served_by for answer in answers)
    return provider.count - before
