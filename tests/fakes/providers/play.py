"""Plays one fault in answer to one request, in the dialect that it came in."""

from __future__ import annotations

import asyncio
import gzip
import json
import random
import socket
import struct
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass, field
from functools import cache
from string import ascii_lowercase
from typing import Any

from aiohttp import web

from assay.providers.schema_instances import instance
from fakes.providers.dialects import INPUT_TOKENS, PIECE_CHARS, Answer, Dialect
from fakes.providers.faults import Fault

HUGE_CHARS = 10 * 1024 * 1024
HUGE_PIECE_CHARS = 64 * 1024
TEXT = 'Naïve “judge” \\ says:\n🦊 日本 "fine"'


def letter_counts(texts: list[str]) -> list[Any]:
    """An embedding for each text: how often it has each letter."""
    return [[float(text.lower().count(letter)) for letter in ascii_lowercase] for text in texts]


def decided(questions: dict[str, Any]) -> dict[str, Any]:
    """An answer to each question, in favour of yes, of the first option and of the last level."""
    return {id_: _decided(question) for id_, question in questions.items()}


def _decided(question: dict[str, Any]) -> dict[str, Any]:
    kind, options = question["type"], list(question.get("criteria", ()))
    if kind == "noul":
        return {"type": "noul", "noul": 0.8}
    keys = options if kind == "choice" else [str(number) for number in range(len(options))]
    best = keys[0] if kind == "choice" else keys[-1]
    shares = {key: 0.8 if key == best else 0.2 / (len(keys) - 1) for key in keys}
    answer = {"type": kind, "probabilities": shares, "confidence": 0.7}
    if kind == "choice":
        return answer | {"choice": best}
    mean = sum(number * share for number, share in enumerate(shares.values()))
    return answer | {"score": mean, "legend": dict(zip(keys, options, strict=True))}


@dataclass
class Script:
    """What the server says, and how slowly; it may change while the server runs.

    `answer` is the text (None: a verdict that fits the schema asked for). `silence_s` and
    `drip_s` set how long a fault keeps quiet. `usage` false leaves usage out. `problem` names
    another error for a fault's status, `error_body` replaces its body, and `echo` ends its message.
    `headers` go with answers. `thinking_s` is how long it thinks before its answer; with
    `holds_head` the response head comes after that. `refuses` names fields of a request, dotted,
    that are answered with an error. `vectors` makes the embeddings of texts, or a whole body.
    `decide` makes the answers to typed questions.
    """

    answer: str | Callable[[dict[str, Any]], str] | None = None
    silence_s: float = 30.0
    drip_s: float = 0.1
    latency_s: float = 0.0
    usage: bool = True
    problem: str | None = None
    error_body: dict[str, Any] | None = None
    echo: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)
    count: int = 0
    thinking_s: float = 0.0
    holds_head: bool = False
    refuses: tuple[str, ...] = ()
    vectors: Callable[[list[str]], list[Any] | dict[str, Any]] = letter_counts
    decide: Callable[[dict[str, Any]], Any] = decided


class Play:
    """One request's answer under one fault."""

    def __init__(
        self,
        script: Script,
        request: web.Request,
        dialect: Dialect,
        raw: bytes,
        fault: Fault,
    ) -> None:
        self._script = script
        self._request = request
        self._dialect = dialect
        self._fault = fault
        self._raw = raw
        self._body = body = json.loads(raw)
        self._embeds = request.path.endswith(("/embeddings", ":batchEmbedContents"))
        self._decides = request.path.endswith("/systemone")
        self._stream = dialect.streams(request.path_qs, body)

    async def answer(self) -> web.StreamResponse:
        await asyncio.sleep(self._script.latency_s * self._fault.latency_times)
        fault = self._fault
        objection = self._dialect.objection(self._request.path_qs, self._request.headers, self._raw)
        if objection is not None:
            status, problem = objection
            return web.json_response(
                self._error_body(problem, status),
                status=status,
                headers=self._dialect.error_headers(problem),
            )
        for field_name in self._script.refuses:
            if _has(self._body, field_name):
                return web.json_response(self._dialect.refusal(field_name), status=400)
        if fault.behaviour == "error" or self._is_filtered_beforehand():
            return self._error()
        if fault.behaviour == "reset":
            _reset(self._request)
            return web.Response()
        if fault.behaviour == "silent":
            await asyncio.sleep(self._script.silence_s)
        return await (self._answer_streamed() if self._stream else self._answer_whole())

    def _is_filtered_beforehand(self) -> bool:
        return self._fault.ending == "prompt_blocked" and self._dialect.filters_beforehand

    def _error(self) -> web.Response:
        problem = self._script.problem or self._fault.problem or self._fault.ending
        status = self._fault.status if self._fault.behaviour == "error" else 400
        body = self._script.error_body or self._error_body(problem, status)
        headers = {**self._fault.headers, **self._dialect.error_headers(problem)}
        return web.json_response(body, status=status, headers=headers)

    def _error_body(self, problem: str, status: int) -> dict[str, Any]:
        body = self._dialect.error(problem, status)
        (body.get("error") or body)["message"] += self._script.echo
        return body

    def _answer(self) -> Answer:
        schema = self._dialect.schema(self._body)
        text = self._text(schema)
        ending = self._fault.ending
        if ending == "length":
            text = text[: len(text) // 2]
        if self._dialect.filter_is_refusal and ending in ("content_filter", "prompt_blocked"):
            ending = "refusal"
        config = self._body.get("generationConfig", {})
        included = self._body.get("include") or self._body.get("logprobs")
        logprobs = bool(included or config.get("responseLogprobs"))
        piece_chars = HUGE_PIECE_CHARS if self._fault.behaviour == "huge" else PIECE_CHARS
        return Answer(
            text,
            ending,
            structured=schema is not None,
            tool=self._dialect.tools in self._body,
            logprobs=logprobs,
            usage=self._script.usage,
            piece_chars=piece_chars,
        )

    def _text(self, schema: Any) -> str:
        if self._fault.behaviour == "huge":
            return json.dumps({"text": "x" * HUGE_CHARS})
        if callable(self._script.answer):
            return self._script.answer(self._body)
        if self._script.answer is not None:
            return self._script.answer
        if schema is None:
            return TEXT
        value = instance(schema, random.Random(self._script.count), TEXT)
        return json.dumps(value, ensure_ascii=False)

    def _embedded(self) -> dict[str, Any]:
        if self._fault.behaviour == "huge":
            return {"data": "x" * HUGE_CHARS}
        vectors = self._script.vectors(self._dialect.texts(self._body))
        if isinstance(vectors, dict):
            return vectors
        return self._dialect.embedded(vectors, usage=self._script.usage)

    def _decided(self) -> dict[str, Any]:
        huge = self._fault.behaviour == "huge"
        answers = "x" * HUGE_CHARS if huge else self._script.decide(self._body["questions"])
        counts = {"input_tokens": INPUT_TOKENS, "output_tokens": 0}
        usage = {"usage": counts} if self._script.usage else {}
        return {"model": "served-1", "answers": answers} | usage

    async def _answer_whole(self) -> web.StreamResponse:
        if self._decides:
            whole = self._decided()
        else:
            whole = self._embedded() if self._embeds else self._dialect.whole(self._answer())
        data = json.dumps(whole, ensure_ascii=False).encode()
        if self._fault.behaviour == "malformed":
            data = data[:-2] + b"  "
        await asyncio.sleep(self._script.thinking_s)
        response = web.StreamResponse(headers=self._headers("json"))
        if not self._fault.behaviour.startswith("gzip"):
            response.content_length = len(data)
        await response.prepare(self._request)
        await self._write(response, _halves(data), data)
        return response

    async def _answer_streamed(self) -> web.StreamResponse:
        frames = [self._dialect.frame(event) for event in self._dialect.events(self._answer())]
        frames.insert(1, self._dialect.keep_alive)
        if self._fault.behaviour == "huge":
            frames = [b"".join(frames)]
        if self._script.holds_head:
            await asyncio.sleep(self._script.thinking_s)
        response = web.StreamResponse(headers=self._headers("sse"))
        await response.prepare(self._request)
        if self._script.thinking_s and not self._script.holds_head:
            first = self._dialect.thoughts + 1
            await response.write(b"".join(frames[:first]))
            await asyncio.sleep(self._script.thinking_s)
            frames = frames[first:]
        await self._write(response, frames, b"".join(frames))
        return response

    def _headers(self, kind: str) -> dict[str, str]:
        headers = {**self._script.headers, "Content-Type": self._content_type(kind)}
        if self._fault.behaviour.startswith("gzip"):
            headers["Content-Encoding"] = "gzip"
        return headers

    def _content_type(self, kind: str) -> str:
        if self._fault.behaviour == "content_type":
            return "text/html; charset=utf-8"
        return "application/json" if kind == "json" else self._dialect.stream_type

    async def _write(self, response: web.StreamResponse, groups: list[bytes], data: bytes) -> None:
        half = max(1, len(groups) // 2)
        match self._fault.behaviour:
            case "malformed" if not self._stream:
                await response.write(data)
            case "silent_mid" | "reset_mid" | "truncated" | "error_mid" | "malformed":
                await response.write(b"".join(groups[:half]))
                await asyncio.sleep(0.02)
                await self._break(response)
            case "gzip":
                await self._write_slowly(response, gzip.compress(data))
            case "gzip_bomb":
                await response.write(bomb())
            case "gzip_cut":
                await response.write(gzip.compress(data)[:-12])
            case "drip" | "split":
                await self._write_slowly(response, data)
            case _:
                await response.write(data)

    async def _break(self, response: web.StreamResponse) -> None:
        match self._fault.behaviour:
            case "silent_mid":
                await asyncio.sleep(self._script.silence_s)
            case "error_mid" if self._stream:
                body = self._error_body(self._fault.problem, self._fault.status)
                await response.write(self._dialect.frame(body))
            case "malformed":
                await response.write(self._dialect.malformed)
            case "truncated" if self._stream:
                await response.write_eof()
            case _:
                _reset(self._request)

    async def _write_slowly(self, response: web.StreamResponse, data: bytes) -> None:
        drips = self._fault.behaviour == "drip"
        size = max(1, len(data) // 6) if drips else 7
        async for group in _paced(data, size, self._script.drip_s if drips else 0.0):
            await response.write(group)


async def _paced(data: bytes, size: int, pause_s: float) -> AsyncIterator[bytes]:
    for start in range(0, len(data), size):
        yield data[start : start + size]
        await asyncio.sleep(pause_s)


@cache
def bomb() -> bytes:
    """A hundred megabytes in a few hundred kilobytes, within one event or one answer."""
    return gzip.compress(b"data: " + b" " * 100 * 1024 * 1024, compresslevel=1)


def _has(body: Any, dotted: str) -> bool:
    name, _, rest = dotted.partition(".")
    value = body.get(name) if isinstance(body, dict) else None
    return value is not None and (not rest or _has(value, rest))


def _halves(data: bytes) -> list[bytes]:
    return [data[: len(data) // 2], data[len(data) // 2 :]]


def _reset(request: web.Request) -> None:
    """Close with a reset instead of an orderly end."""
    transport = request.transport
    if transport is None:
        return
    sock = transport.get_extra_info("socket")
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    transport.abort()
