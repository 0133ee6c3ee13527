"""The clock that runs out first ends a call, and says which it was."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import pytest

from assay.domain.errors import DeadlineExceeded, ProviderSilent
from assay.domain.policy import Deadline
from assay.providers.idle_timeout import IdleTimeout

LONG_S = 30.0


async def for_ever() -> None:
    await asyncio.Event().wait()


async def receive(idle: IdleTimeout, times: int, every_s: float) -> None:
    """Bytes that keep coming."""
    for _ in range(times):
        await asyncio.sleep(every_s)
        idle.received(answering=True)


@dataclass
class Call:
    """What happened in a block that a clock ended."""

    idle: IdleTimeout | None = None
    received_s: float = 0.0

    async def listen(self, deadline: Deadline, silence_s: float, times: int = 0) -> None:
        """Send, receive `times` bytes, 20 ms apart, and then wait for ever for another one."""
        async with IdleTimeout("openai", deadline, silence_s) as self.idle:
            self.idle.send()
            self.received_s = time.monotonic()
            for _ in range(times):
                await receive(self.idle, 1, 0.02)
                self.received_s = time.monotonic()
            await for_ever()


async def test_silence_counts_from_the_request():
    """A provider that never says a byte is silent once its time is over."""
    with pytest.raises(ProviderSilent, match=r"openai was silent for 0\.1 s"):
        await Call().listen(Deadline.after(LONG_S), 0.1)


async def test_bytes_that_keep_coming_are_no_silence():
    """However long it takes in all: each byte starts the time anew."""
    async with IdleTimeout("openai", Deadline.after(LONG_S), 0.5) as idle:
        idle.send()
        sent_s = time.monotonic()
        await receive(idle, 12, 0.1)
        assert time.monotonic() - sent_s > 2 * 0.5
        idle.ended()


async def test_silence_counts_from_the_last_byte():
    """Bytes that arrived earlier, for longer than the silence timeout, do not shorten it."""
    call = Call()
    with pytest.raises(ProviderSilent):
        await call.listen(Deadline.after(LONG_S), 0.4, times=40)
    assert time.monotonic() - call.received_s >= 0.4 - 0.01


@pytest.mark.parametrize("silence_s", [0.5, LONG_S])
async def test_the_deadline_is_kept_though_bytes_keep_coming(silence_s):
    """An answer that is not complete in time fails, however recent its last byte is."""
    deadline = Deadline.after(0.3)
    with pytest.raises(DeadlineExceeded):
        await Call().listen(deadline, silence_s, times=1_000)
    assert deadline.remaining_s() <= 0.01


async def test_the_deadline_is_kept_before_anything_is_sent():
    """The wait for a connection is no silence of the provider's."""
    with pytest.raises(DeadlineExceeded) as exceeded:
        async with IdleTimeout("openai", Deadline.after(0.1), 0.01) as idle:
            await for_ever()
    assert exceeded.value.idle_s == idle.idle_s == 0


async def test_a_deadline_during_the_first_silence_tells_how_long_it_was():
    """The error says how long the provider owed a byte, so that a breaker can count it as slow."""
    call = Call()
    with pytest.raises(DeadlineExceeded) as exceeded:
        await call.listen(Deadline.after(0.2), LONG_S)
    assert call.idle is not None
    assert 0 < exceeded.value.idle_s <= call.idle.idle_s


async def test_a_cancelled_call_tells_how_long_the_provider_was_silent():
    """A breaker counts a long silence, whoever ended it; without a request there was none."""

    async def cancelled(*, sent: bool) -> float:
        async def listen() -> None:
            async with IdleTimeout("openai", Deadline.after(LONG_S), LONG_S) as idle:
                if sent:
                    idle.send()
                await for_ever()

        task = asyncio.current_task()
        assert task is not None
        asyncio.get_running_loop().call_later(0.01, task.cancel)
        with pytest.raises(asyncio.CancelledError) as ended:
            await listen()
        task.uncancel()
        return ended.value.idle_s

    assert await cancelled(sent=True) > 0
    assert await cancelled(sent=False) == 0


async def test_a_complete_answer_is_not_failed_any_more():
    """Neither clock runs on once the last byte has arrived."""
    async with IdleTimeout("openai", Deadline.after(0.1), 0.05) as idle:
        idle.send()
        idle.ended()
        await asyncio.sleep(0.2)
    assert idle.sent_s <= idle.first_byte_s == idle.ended_s


async def test_no_time_left_asks_nobody():
    """The block is not entered at all."""
    entered = False
    with pytest.raises(DeadlineExceeded):
        async with IdleTimeout("openai", Deadline.after(-1), LONG_S):
            entered = True
    assert not entered


async def thinking(idle: IdleTimeout) -> None:
    """Bytes about a thought that does not end."""
    while True:
        await asyncio.sleep(0.02)
        idle.received(answering=False)


async def beginning(idle: IdleTimeout) -> None:
    """A thought, the beginning of an answer, and silence."""
    await asyncio.sleep(0.3)
    idle.received(answering=True)
    await for_ever()


async def thought(happens: Callable[[IdleTimeout], Awaitable[None]], thinking_s: float) -> None:
    async with IdleTimeout("openai", Deadline.after(LONG_S), 0.1, thinking_s) as idle:
        idle.send()
        await happens(idle)


async def test_a_thought_is_bounded_by_its_own_time_alone():
    """Bytes before the answer end no wait and make it no longer."""
    with pytest.raises(ProviderSilent, match=r"silent for 0\.6 s"):
        await thought(thinking, 0.6)


async def test_an_answer_after_a_thought_has_the_silence_of_all():
    """The first byte of the answer is the end of the thought."""
    with pytest.raises(ProviderSilent, match=r"silent for 0\.1 s"):
        await thought(beginning, LONG_S)
