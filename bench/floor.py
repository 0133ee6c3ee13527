"""The floor: the least that FastAPI, uvicorn and aiohttp can do for the same job.

Usage: python bench/floor.py PORT STUB_PORT
It reads the case, writes the chat completion, forwards it and reads the answer, with aiohttp and
the parsers that the service has for the same bodies. It has no keys, quota, breaker, metrics,
checks, limits or error handling.
"""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import aiohttp
import orjson
import uvicorn
from fastapi import FastAPI, Request, Response
from pydantic_core import from_json

from assay.http.body import prefers_pydantic

URL = f"http://127.0.0.1:{sys.argv[2]}/v1/chat/completions"


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    connector = aiohttp.TCPConnector(limit=1_000)
    async with aiohttp.ClientSession(connector=connector) as app.state.session:
        yield


app = FastAPI(lifespan=lifespan)


@app.post("/forward")
async def forward(request: Request) -> Response:
    raw = await request.body()
    case = from_json(raw, cache_strings="keys") if prefers_pydantic(raw) else orjson.loads(raw)
    turns = [
        {"role": "system", "content": case["criteria"][0]["rubric"]},
        {"role": "user", "content": case["output"]},
    ]
    body = orjson.dumps({"model": "judge", "messages": turns})
    headers = {"content-type": "application/json"}
    async with request.app.state.session.post(URL, data=body, headers=headers) as answer:
        completion = orjson.loads(await answer.read())
    verdict = completion["choices"][0]["message"]["content"]
    return Response(orjson.dumps({"verdict": verdict}), media_type="application/json")


if __name__ == "__main__":
    uvicorn.run(
        app, port=int(sys.argv[1]), loop="uvloop", http="httptools", ws="none", access_log=False,
        log_level="error", backlog=4_096,
    )  # fmt: skip
