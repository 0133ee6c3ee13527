"""Large prompts are serialised as they can be sent: a second copy of few texts is held at once."""

from __future__ import annotations

import asyncio
import contextlib
import socketserver
import threading

from assay.domain.models import Model
from assay.domain.policy import Deadline
from assay.providers.client import LARGE_CHARS, UPLOADS_MAX, ProviderClient, ProviderConfig
from assay.providers.credentials import ProviderKey
from assay.providers.openai.chat import OpenAIStream
from fakes.batches import until

MORE_THAN_BUFFERS = b" " * 16 * 1_048_576


class Connection(socketserver.BaseRequestHandler):
    """Reads nothing before it is told to."""

    def handle(self) -> None:
        self.server.reads.wait()
        with contextlib.suppress(ConnectionError):
            while self.request.recv(1_048_576):
                pass


class Provider(socketserver.ThreadingTCPServer):
    """Takes connections, each in a thread that has ended when the provider is closed.

    In an event loop, one that was being accepted just then would be left open.
    """

    request_queue_size = 128

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Connection)
        self.reads = threading.Event()


@contextlib.asynccontextmanager
async def calls(count: int, size: int, body: bytes):
    """So many calls to a provider, and the list of the bodies that were made for them."""
    provider, made = Provider(), []
    serving = threading.Thread(target=provider.serve_forever, args=(0.05,))
    serving.start()
    url = f"http://127.0.0.1:{provider.server_address[1]}/v1"
    client = ProviderClient(ProviderConfig("acme", url, silence_timeout_s=30, connect_timeout_s=30))

    def serialised():
        made.append(len(body))
        return [body]

    async def call() -> None:
        await client.post(
            "chat", {}, ProviderKey(lambda: None, "Authorization"), serialised,
            OpenAIStream(Model("acme/judge", "acme", "judge")), Deadline.after(60), size=size,
        )  # fmt: skip

    tasks = [asyncio.create_task(call()) for _ in range(count)]
    try:
        yield tasks, made, provider
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await client.aclose()
        provider.reads.set()
        await asyncio.to_thread(provider.shutdown)
        serving.join()
        await asyncio.to_thread(provider.server_close)


async def settled(made) -> int:
    """How many bodies were made, once no more follow."""
    before = -1
    while before != len(made):
        before = len(made)
        await asyncio.sleep(0.2)
    return before


async def test_few_large_bodies_are_made_while_none_is_taken():
    """The others follow as those are written, also where the provider never answers them."""
    count = UPLOADS_MAX + 4
    async with calls(count, LARGE_CHARS, MORE_THAN_BUFFERS) as (_, made, provider):
        assert await settled(made) == UPLOADS_MAX
        provider.reads.set()
        await until(lambda: len(made) == count)


async def test_a_call_that_is_given_up_leaves_its_place():
    """Whether it was being sent or waited to be."""
    count = UPLOADS_MAX + 4
    async with calls(count, LARGE_CHARS, MORE_THAN_BUFFERS) as (tasks, made, _):
        assert await settled(made) == UPLOADS_MAX
        for task in (*tasks[:2], tasks[-1]):
            task.cancel()
        assert await settled(made) == UPLOADS_MAX + 2


async def test_small_prompts_wait_for_no_large_one():
    """They hold too little to be counted."""
    count = UPLOADS_MAX + 4
    async with calls(count, LARGE_CHARS - 1, b"{}") as (_, made, _):
        assert await settled(made) == count
