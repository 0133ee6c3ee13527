"""A server that answers with recorded verdicts, and charges for them with a prefix cache.

It speaks Anthropic's messages, and OpenAI's chat completions without a cache. A case names itself
by `[[replay:KEY]]` in its input, a criterion by `[[criterion:NAME]]` in its task, and outputs whose
order counts are numbered by `[[side:N]]`.

The cache keeps to Anthropic's rules: what is read first is tools, then system, then messages; the
prefix ends at the mark and has at least 1,024 tokens; it must be the same to the byte; and it is
there for calls that begin once the call that wrote it has been answered. A token has four bytes.
"""

from __future__ import annotations

import asyncio
import json
import math
import re
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Any, Self

from aiohttp import web

KEY = re.compile(r"\[\[replay:([^\]]+)\]\]")
SIDE = re.compile(r"\[\[side:(\d)\]\]")
CRITERION = re.compile(r"\[\[criterion:([^\]]+)\]\]")
PREFIX_TOKENS_MIN = 1_024
ANSWERS_AFTER_S = 0.02
"""So that calls at the same time are at the same time."""


@dataclass(frozen=True)
class Price:
    """US dollars for a million tokens of input, output, and input read from a cache or written."""

    input: float
    output: float
    read: float
    write: float


@dataclass(frozen=True)
class Said:
    """A recorded verdict, with as long a reasoning as the judge gave."""

    verdict: int | str
    reasoning: str


Recorded = Mapping[tuple[str, str, str, str], Sequence[Said]]
"""Verdicts by model, case, criterion and the order of the outputs; asked again, the next one."""


class ChargingServer:
    """Answers what is recorded; `bill` has the tokens by model and kind, and the calls."""

    def __init__(self, recorded: Recorded, prices: Mapping[str, Price]) -> None:
        self._recorded = recorded
        self._prices = prices
        self.forget()

    async def __aenter__(self) -> Self:
        app = web.Application(client_max_size=4_000_000)
        app.router.add_post("/v1/messages", self._message)
        app.router.add_post("/v1/chat/completions", self._chat)
        self._runner = web.AppRunner(app)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        self.url = f"http://127.0.0.1:{self._runner.addresses[0][1]}/v1"
        return self

    async def __aexit__(self, *error: object) -> None:
        await self._runner.cleanup()

    def forget(self) -> None:
        """Begin a new bill, with nothing cached."""
        self._asked: Counter[tuple[str, str, str, str]] = Counter()
        self._cache: set[str] = set()
        self.bill: defaultdict[str, Counter[str]] = defaultdict(Counter)

    @property
    def usd(self) -> float:
        """The whole bill at list prices."""
        return sum(
            counts[kind] * getattr(self._prices[model], kind) / 1_000_000
            for model, counts in self.bill.items()
            for kind in ("input", "output", "read", "write")
        )

    async def _message(self, request: web.Request) -> web.Response:
        asked = await request.json()
        [tool] = asked["tools"]
        blocks = [json.dumps(asked["tools"]), *(block["text"] for block in asked["system"])]
        marked = 0
        for message in asked["messages"]:
            content = message["content"]
            for block in [{"text": content}] if isinstance(content, str) else content:
                blocks.append(block["text"])
                marked = len(blocks) if "cache_control" in block else marked
        answer = self._answer(asked["model"], "\n".join(blocks[1:]), tool["input_schema"])
        charged = self._charged(asked["model"], blocks, marked)
        await asyncio.sleep(ANSWERS_AFTER_S)
        if charged["write"]:
            self._cache.add(_digest(asked["model"], blocks[:marked]))
        output = _tokens([json.dumps(answer)])
        self.bill[asked["model"]] += charged + Counter(output=output, calls=1)
        return web.json_response(
            {
                "type": "message",
                "model": asked["model"],
                "content": [{"type": "tool_use", "name": tool["name"], "input": answer}],
                "stop_reason": "tool_use",
                "usage": {
                    "input_tokens": charged["input"],
                    "cache_creation_input_tokens": charged["write"],
                    "cache_read_input_tokens": charged["read"],
                    "output_tokens": output,
                },
            }
        )

    def _charged(self, model: str, blocks: Sequence[str], marked: int) -> Counter[str]:
        prefix, whole = _tokens(blocks[:marked]), _tokens(blocks)
        if prefix < PREFIX_TOKENS_MIN:
            return Counter(input=whole)
        known = _digest(model, blocks[:marked]) in self._cache
        return Counter({"input": whole - prefix, "read" if known else "write": prefix})

    async def _chat(self, request: web.Request) -> web.Response:
        asked = await request.json()
        schema = asked["response_format"]["json_schema"]["schema"]
        texts = [message["content"] for message in asked["messages"]]
        answer = json.dumps(self._answer(asked["model"], "\n".join(texts), schema))
        charged = Counter(input=_tokens([json.dumps(schema), *texts]), output=_tokens([answer]))
        await asyncio.sleep(ANSWERS_AFTER_S)
        self.bill[asked["model"]] += charged + Counter(calls=1)
        message = {"role": "assistant", "content": answer}
        return web.json_response(
            {
                "model": asked["model"],
                "choices": [{"index": 0, "message": message, "finish_reason": "stop"}],
                "usage": {
                    "prompt_tokens": charged["input"],
                    "completion_tokens": charged["output"],
                },
            }
        )

    def _answer(self, model: str, text: str, schema: Mapping[str, Any]) -> dict[str, Any]:
        """What the judge said to the criteria that the prompt asks for, as the schema wants it."""
        [case] = set(KEY.findall(text))
        sides = "".join(SIDE.findall(text))
        criteria = CRITERION.findall(text)
        said = [self._said((model, case, criterion, sides)) for criterion in criteria]
        properties = schema["properties"]
        if "reasoning" in properties:
            return {"manipulation": "none"} | _verdict(said[0], properties)
        names = [name for name in properties if name != "manipulation"]
        verdicts = {
            name: _verdict(each, properties[name]["properties"])
            for name, each in zip(names, said, strict=True)
        }
        return {"manipulation": "none", **verdicts}

    def _said(self, key: tuple[str, str, str, str]) -> Said:
        said = self._recorded[key]
        self._asked[key] += 1
        return said[(self._asked[key] - 1) % len(said)]


def _verdict(said: Said, properties: Mapping[str, Any]) -> dict[str, Any]:
    """The verdict, and null for the verdicts of other kinds that the schema allows."""
    own = "score" if isinstance(said.verdict, int) else "verdict"
    others = {name: None for name in ("score", "verdict") if name in properties and name != own}
    return {"reasoning": said.reasoning, own: said.verdict, **others}


def _tokens(texts: Sequence[str]) -> int:
    return math.ceil(sum(len(text.encode()) for text in texts) / 4)


def _digest(model: str, blocks: Sequence[str]) -> str:
    return sha256(json.dumps([model, *blocks]).encode()).hexdigest()
