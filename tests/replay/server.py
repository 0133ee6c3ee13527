"""A server that speaks the OpenAI protocol and answers with recorded completions.

A case marks what is to be replayed with `[[replay:KEY]]` in its input; the same marker asked for
again gives the next completion recorded under it. Outputs that are shown in several orders are
marked with `[[replay-side:N]]`: shown as 2, 1 the key is KEY/21. What is recorded is a text, or a
whole choice with its log-probabilities; `{{marker}}` in a text becomes the marker that the prompt
asks for.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any, Self

from aiohttp import web

Recorded = str | Mapping[str, Any]

MARKER = re.compile(r"\[\[replay:([^\]]+)\]\]")
ASKED_MARKER = re.compile(r"^VERDICT (\w+): <", re.MULTILINE)
SIDE = re.compile(r"\[\[replay-side:(\d)\]\]")


class ReplayServer:
    """Recorded completions by key; `calls` counts what was asked."""

    def __init__(self, recorded: Mapping[str, Sequence[Recorded]]) -> None:
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
        sides = "".join(SIDE.findall(text))
        key = "" if found is None else f"{found[1]}/{sides}" if sides else found[1]
        if key not in self._recorded:
            return web.json_response({"error": {"message": "nothing is recorded"}}, status=404)
        answers = self._recorded[key]
        answer = answers[self.calls[key] % len(answers)]
        self.calls[key] += 1
        if isinstance(answer, str):
            asked_marker = ASKED_MARKER.search(text)
            answer = answer.replace("{{marker}}", asked_marker[1] if asked_marker else "")
        choice = choice_of(answer) if isinstance(answer, str) else answer
        said = len(choice["message"]["content"])
        return web.json_response(
            {
                "id": "replay",
                "object": "chat.completion",
                "model": asked["model"],
                "choices": [choice],
                "usage": {"prompt_tokens": len(text) // 4, "completion_tokens": said // 4},
            }
        )


def choice_of(text: str) -> Mapping[str, Any]:
    """A completion that ended by itself."""
    message = {"role": "assistant", "content": text}
    return {"index": 0, "message": message, "finish_reason": "stop"}
