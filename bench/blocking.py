"""Does the same job synchronously: one worker with 40 threads and one pooled session.

Usage: python bench/blocking.py PORT STUB_PORT
FastAPI itself gives forty threads to `def` endpoints.
"""

from __future__ import annotations

import sys
from typing import Annotated

import orjson
import urllib3
import uvicorn
from fastapi import Body, FastAPI, Response

THREADS = 40
URL = f"http://127.0.0.1:{sys.argv[2]}/v1/chat/completions"
pool = urllib3.PoolManager(maxsize=THREADS, block=True)
app = FastAPI()


@app.post("/forward")
def forward(case: Annotated[dict, Body()]) -> Response:
    turns = [
        {"role": "system", "content": case["criteria"][0]["rubric"]},
        {"role": "user", "content": case["output"]},
    ]
    body = orjson.dumps({"model": "judge", "messages": turns})
    headers = {"content-type": "application/json"}
    completion = pool.request("POST", URL, body=body, headers=headers).json()
    verdict = completion["choices"][0]["message"]["content"]
    return Response(orjson.dumps({"verdict": verdict}), media_type="application/json")


if __name__ == "__main__":
    uvicorn.run(
        app, port=int(sys.argv[1]), loop="uvloop", http="httptools", ws="none", access_log=False,
        log_level="error", backlog=4_096,
    )  # fmt: skip
