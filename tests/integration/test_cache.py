"""The result cache on a real Redis."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace

import pytest
from redis.asyncio import Redis

from assay.domain.completion import (
    NO_USAGE,
    Caller,
    Completion,
    Prompt,
    TokenLogprob,
)
from assay.domain.errors import AnswerUnreadable, ProviderDown
from assay.domain.sampling import Sampling
from assay.resilience.cached import ANSWER_BYTES_MAX, Cached
from fakes.batches import until
from fakes.calls import ANYONE, call
from fakes.models import MODEL, GatedModel, ScriptedModel, answer, ask
from fakes.redis_process import RedisProcess

QUESTION = ask(key=("v1", "criterion", "content"), read=lambda each: each.text.upper())


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisProcess]:
    process = RedisProcess(tmp_path_factory.mktemp("redis"), keep=False)
    yield process
    process.stop()


@pytest.fixture
async def redis(server: RedisProcess) -> AsyncIterator[Redis]:
    async with Redis.from_url(server.url) as client:
        await client.flushall()
        yield client


def caching(model: ScriptedModel, redis: Redis, ttl_s: float = 60.0) -> Cached:
    """A cache with a generous budget, lest a busy test machine be taken for a silent Redis."""
    return Cached(model, MODEL, redis, ttl_s, budget_s=5.0)


async def complete(chat: Cached, prompt: Prompt = QUESTION, caller: Caller = ANYONE) -> Completion:
    return await chat.complete(prompt, call(5.0, caller, cacheable=True))


async def test_second_answer_comes_from_the_cache_and_is_read_again(redis: Redis) -> None:
    """The kept answer is the same, costs nothing, says so, and outlives the process."""
    logprobs = (TokenLogprob("yes", -0.1, (("yes", -0.1), ("no", -2.3))),)
    model = ScriptedModel(answer("yes", cost_usd=2.0, logprobs=logprobs, simulated=True))
    assert not (await complete(caching(model, redis))).cached
    kept = await complete(caching(model, redis))
    assert model.calls == 1
    assert (kept.text, kept.reading, kept.logprobs, kept.simulated) == (
        "yes",
        "YES",
        logprobs,
        True,
    )
    assert (kept.cached, kept.cost_usd, kept.usage, kept.attempts) == (True, 0.0, NO_USAGE, ())


async def test_the_first_stored_answer_stands_for_all_processes(redis: Redis) -> None:
    """Who asked at the same time takes it over, at the cost of its own call."""
    slow = GatedModel(lambda _: answer("slow", cost_usd=2.0))
    quick = ScriptedModel(answer("quick"))
    waiting = asyncio.create_task(complete(Cached(slow, MODEL, redis, 60.0, budget_s=5.0)))
    await until(lambda: slow.prompts)
    assert (await complete(caching(quick, redis))).text == "quick"
    slow.gate.set()
    late = await waiting
    assert (late.reading, late.text, late.cost_usd, late.cached) == ("QUICK", "quick", 2.0, False)


async def test_a_stored_answer_that_cannot_be_read_is_replaced(redis: Redis) -> None:
    """Another version may have stored it."""
    model = ScriptedModel(answer("yes"))
    await complete(caching(model, redis))
    [name] = await redis.keys("*")
    await redis.set(name, "{}")
    assert not (await complete(caching(model, redis))).cached
    assert (await complete(caching(model, redis))).reading == "YES"


async def test_a_marked_answer_is_read_with_the_marker_of_the_present_call(redis: Redis) -> None:
    """The stored line carries the marker of the call that it answered."""

    def marked(marker: str) -> Prompt:
        return replace(
            QUESTION, marker=marker, read=lambda each: each.text.partition(f"VERDICT {marker}: ")[2]
        )

    model = ScriptedModel(answer("VERDICT 1111: yes"))
    await complete(caching(model, redis), marked("1111"))
    kept = await complete(caching(model, redis), marked("2222"))
    assert (kept.cached, kept.reading, model.calls) == (True, "yes", 1)


async def test_a_quoted_placeholder_does_not_become_a_marker(redis: Redis) -> None:
    """Only the marker that the answer was asked for is replaced."""
    quoted = "VERDICT 2222: yes, VERDICT {marker}: yes, VERDICT …: yes"
    model = ScriptedModel(answer(quoted))
    plain = replace(QUESTION, marker="1111", read=lambda each: each.text)
    await complete(caching(model, redis), plain)
    kept = await complete(caching(model, redis), replace(plain, marker="3333"))
    assert (kept.cached, kept.reading) == (True, quoted)


@pytest.mark.parametrize(
    ("other", "caller"),
    [
        (QUESTION, Caller("another tenant")),
        (replace(QUESTION, sampling=Sampling(seed=1)), ANYONE),
        (replace(QUESTION, key=("v2", "criterion", "content")), ANYONE),
        (replace(QUESTION, key=("v1", "criterioncontent", "")), ANYONE),
        (replace(QUESTION, key=("v1", ("criterion",), "content")), ANYONE),
        (replace(QUESTION, key=None), ANYONE),
    ],
    ids=["tenant", "sampling", "prompt version", "other cut", "other nesting", "no key"],
)
async def test_other_questions_miss(redis: Redis, other: Prompt, caller: Caller) -> None:
    """An answer is found by exactly its own tenant and question."""
    model = ScriptedModel()
    chat = caching(model, redis)
    await complete(chat)
    assert not (await complete(chat, other, caller)).cached
    other_model = Cached(model, replace(MODEL, id="fake/other"), redis, 60.0, budget_s=5.0)
    assert not (await complete(other_model)).cached


@pytest.mark.parametrize(
    "uncachable",
    [
        answer(finish="length"),
        answer(cached=True),
        answer("x" * ANSWER_BYTES_MAX),
    ],
    ids=["cut", "shared", "huge"],
)
async def test_only_whole_answers_are_kept(redis: Redis, uncachable: Completion) -> None:
    """What was cut, came from elsewhere or is out of bounds is asked for again."""
    await complete(caching(ScriptedModel(uncachable), redis))
    assert await redis.dbsize() == 0


async def test_failures_are_never_kept(redis: Redis) -> None:
    """After a failure the model is asked again."""
    chat = caching(ScriptedModel(ProviderDown("503"), answer()), redis)
    with pytest.raises(ProviderDown):
        await complete(chat)
    assert (await complete(chat)).text == "yes"


async def test_kept_answer_that_no_longer_reads_is_asked_for_anew(redis: Redis) -> None:
    """A stricter reader, or a value that is not ours, is a miss and not an error."""

    def strict(completion: Completion) -> str:
        if completion.text == "old":
            raise AnswerUnreadable("no")
        return completion.text

    await complete(caching(ScriptedModel(answer("old")), redis))
    chat = caching(ScriptedModel(answer("new")), redis)
    assert (await complete(chat, replace(QUESTION, read=strict))).text == "new"
    (name,) = await redis.keys()
    for junk in ("junk", "[]", "{}", '{"text": 1, "logprobs": 3}'):
        await redis.set(name, junk)
        assert not (await complete(chat)).cached


async def test_answers_are_forgotten_in_time(redis: Redis) -> None:
    """Every kept answer has its time to live."""
    await complete(caching(ScriptedModel(), redis))
    (name,) = await redis.keys()
    assert 0 < await redis.pttl(name) <= 60_000


async def test_without_redis_every_look_up_misses(server: RedisProcess, redis: Redis) -> None:
    """A Redis that keeps silent costs an answer nothing but its place in the cache."""
    model = ScriptedModel()
    await complete(caching(model, redis))
    chat = Cached(model, MODEL, redis, 60.0)
    await complete(chat)
    server.pause()
    try:
        assert [(await complete(chat)).text for _ in range(3)] == ["yes"] * 3
        assert model.calls == 4
    finally:
        server.resume()
    assert (await complete(caching(model, redis))).cached


async def test_a_stalled_event_loop_is_not_a_redis_that_is_gone() -> None:
    """An answer that arrived while the loop was busy counts, however late it is read."""

    class PromptRedis:
        """Answers in 20 ms, while something else holds the event loop up for 200 ms."""

        async def get(self, _: str) -> bytes | None:
            loop = asyncio.get_running_loop()
            answered = loop.create_future()
            loop.call_later(0.02, answered.set_result, stored)
            loop.call_soon(time.sleep, 0.2)
            return await answered

        async def set(self, _: str, value: str, *, px: int, nx: bool = False) -> bool:
            nonlocal stored
            stored = value.encode()
            return True

    stored: bytes | None = None
    model = ScriptedModel()
    chat = Cached(model, MODEL, PromptRedis(), 60.0)
    assert not (await complete(chat)).cached
    assert (await complete(chat)).cached
    assert model.calls == 1


async def test_a_caller_who_did_not_ask_for_kept_answers_gets_none(redis: Redis) -> None:
    """Without `cacheable` the model is asked again, and nothing is kept."""
    inner = ScriptedModel(answer(), answer())
    chat = caching(inner, redis)
    for _ in range(2):
        assert not (await chat.complete(QUESTION, call(5.0))).cached
    assert len(inner.prompts) == 2
