"""A server that speaks the OpenAI protocol and answers with recorded completions.

A case marks what is to be replayed with `[[replay:KEY]]` in its input; the same marker asked for
again gives the next completion recorded under it.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Self

from aiohttp import web

MARKER = re.compile(r"\[\[replay:([^\]]+)\]\]")


class ReplayServer:
    """Recorded completions by key; `calls` counts what was asked."""

    def __init__(self, recorded: Mapping[str, Sequence[str]]) -> None:
        self._recorded = recorded
        self.calls: defaultdict[str, int] = defaultdict(int)

    async def __aenter__(self) -> Self:
        app = web.Application(client_max_size=4_000_000)
        app.router.add_post("/v1/chat/completions", self._complete)
        self._runner = web.AppRunner(app)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        self.url = f"http://127.0.0.1:{self._runner.addresses[0][1]}/v1"
        return self

    async def __aexit__(self, *error: object) -> None:
        await self._runner.cleanup()

    async def _complete(self, request: web.Request) -> web.Response:
        asked = await request.json()
        text = "\n".join(str(message["content"]) for message in asked["messages"])
        found = MARKER.search(text)
        if found is None or found[1] not in self._recorded:
            return web.json_response({"error": {"message": "nothing is recorded"}}, status=404)
        answers = self._recorded[found[1]]
        answer = answers[self.calls[found[1]] % len(answers)]
        self.calls[found[1]] += 1
        message = {"role": "assistant", "content": answer}
        return web.json_response(
            {
                "id": "replay",
                "object": "chat.completion",
                "model": asked["model"],
                "choices": [{"index": 0, "message": message, "finish_reason": "stop"}],
                "usage": {"prompt_tokens": len(text) // 4, "completion_tokens": len(answer) // 4},
            }
        )
