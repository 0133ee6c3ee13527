"""A server that answers with recorded verdicts, and charges for them with a prefix cache.

It speaks Anthropic's messages, and OpenAI's chat completions without a cache; and the batch APIs of
both, at half price. A case names itself by `[[replay:KEY]]` in its input, a criterion by
`[[criterion:NAME]]` in its task, and outputs whose order counts are numbered by `[[side:N]]`.

The cache keeps to Anthropic's rules: what is read first is tools, then system, then messages; the
prefix ends at the mark and has at least 1,024 tokens; it must be the same to the byte; and it is
there for calls that begin once the call that wrote it has been answered. A token has four bytes.

Between the calls of a job, the provider promises no cache. Here there is none: each call pays for
what it has marked to be written, and reads nothing.
"""

from __future__ import annotations

import asyncio
import json
import math
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

from aiohttp import web

from fakes.providers.dialects import DIALECTS
from fakes.providers.jobs import Job, JobServer

KEY = re.compile(r"\[\[replay:([^\]]+)\]\]")
SIDE = re.compile(r"\[\[side:(\d)\]\]")
CRITERION = re.compile(r"\[\[criterion:([^\]]+)\]\]")
PREFIX_TOKENS_MIN = 1_024
JOB_SHARE = 0.5
"""Of its price that a call costs in a job."""
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


class ChargingServer(JobServer):
    """Answers what is recorded.

    `bill` has the tokens by kind and the calls, `asked_directly` those that came in no job, and
    `usd` is what all of it costs.
    """

    def __init__(self, recorded: Recorded, prices: Mapping[str, Price]) -> None:
        super().__init__()
        self._recorded = recorded
        self._prices = prices
        self.forget()

    def forget(self) -> None:
        """Begin a new bill, with nothing cached."""
        self._asked: Counter[tuple[str, str, str, str]] = Counter()
        self._cache: set[str] = set()
        self.bill: Counter[str] = Counter()
        self.asked_directly = 0
        self.usd = 0.0

    async def _direct(self, dialect: str, raw: bytes) -> web.Response:
        asked = json.loads(raw)
        blocks, marked = _read(dialect, asked)
        prefix = _digest(asked["model"], blocks[:marked])
        charged = _charged(blocks, marked, cached=prefix in self._cache)
        await asyncio.sleep(ANSWERS_AFTER_S)
        if charged["write"]:
            self._cache.add(prefix)
        self.asked_directly += 1
        return web.json_response(self._charge(dialect, asked, blocks, charged, 1.0))

    def _answer(self, job: Job, body: dict[str, Any]) -> dict[str, Any]:
        blocks, marked = _read(job.dialect, body)
        charged = _charged(blocks, marked, cached=False)
        return self._charge(job.dialect, body, blocks, charged, JOB_SHARE)

    def _charge(
        self,
        dialect: str,
        asked: Mapping[str, Any],
        blocks: Sequence[str],
        charged: Counter[str],
        share: float,
    ) -> dict[str, Any]:
        """The answer, which is on the bill at this share of its price."""
        model, text = asked["model"], "\n".join(blocks[1:])
        said = self._verdicts(model, text, DIALECTS[dialect].schema(asked) or {})
        charged = charged + Counter(output=_tokens([json.dumps(said)]))
        price = self._prices[model]
        usd = sum(count * getattr(price, kind) for kind, count in charged.items()) / 1_000_000
        self.usd += share * usd
        self.bill += charged + Counter(calls=1)
        return {"anthropic": _message, "openai": _chat}[dialect](asked, said, charged)

    def _verdicts(self, model: str, text: str, schema: Mapping[str, Any]) -> dict[str, Any]:
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


def _read(dialect: str, asked: Mapping[str, Any]) -> tuple[list[str], int]:
    """The schema and the texts in the order of the cache, and how many are in the prefix."""
    if dialect == "openai":
        schema = asked["response_format"]["json_schema"]["schema"]
        return [json.dumps(schema), *(message["content"] for message in asked["messages"])], 0
    blocks = [json.dumps(asked["tools"]), *(block["text"] for block in asked["system"])]
    marked = 0
    for message in asked["messages"]:
        content = message["content"]
        for block in [{"text": content}] if isinstance(content, str) else content:
            blocks.append(block["text"])
            marked = len(blocks) if "cache_control" in block else marked
    return blocks, marked


def _charged(blocks: Sequence[str], marked: int, *, cached: bool) -> Counter[str]:
    """The input by kind."""
    prefix, whole = _tokens(blocks[:marked]), _tokens(blocks)
    if prefix < PREFIX_TOKENS_MIN:
        return Counter(input=whole)
    return Counter({"input": whole - prefix, "read" if cached else "write": prefix})


def _message(
    asked: Mapping[str, Any], said: Mapping[str, Any], charged: Counter[str]
) -> dict[str, Any]:
    return {
        "type": "message",
        "model": asked["model"],
        "content": [{"type": "tool_use", "name": asked["tools"][0]["name"], "input": said}],
        "stop_reason": "tool_use",
        "usage": {
            "input_tokens": charged["input"],
            "cache_creation_input_tokens": charged["write"],
            "cache_read_input_tokens": charged["read"],
            "output_tokens": charged["output"],
        },
    }


def _chat(
    asked: Mapping[str, Any], said: Mapping[str, Any], charged: Counter[str]
) -> dict[str, Any]:
    message = {"role": "assistant", "content": json.dumps(said)}
    return {
        "model": asked["model"],
        "choices": [{"index": 0, "message": message, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": charged["input"], "completion_tokens": charged["output"]},
    }


def _verdict(said: Said, properties: Mapping[str, Any]) -> dict[str, Any]:
    """The verdict, and null for the verdicts of other kinds that the schema allows."""
    own = "score" if isinstance(said.verdict, int) else "verdict"
    others = {name: None for name in ("score", "verdict") if name in properties and name != own}
    return {"reasoning": said.reasoning, own: said.verdict, **others}


def _tokens(texts: Sequence[str]) -> int:
    return math.ceil(sum(len(text.encode()) for text in texts) / 4)


def _digest(model: str, blocks: Sequence[str]) -> str:
    return sha256(json.dumps([model, *blocks]).encode()).hexdigest()
