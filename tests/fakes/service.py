"""A small server that speaks the contract of `POST /v1/evaluations`, controlled by its input.

The `input` of a case decides: `fail` and `pass` score 0 and 1, `unscored` is not scored,
`refuse:N:CODE` answers a problem, `busy` answers 503 the first time, `slow` takes a while,
`hang` never answers, `redirect` points to the same address, `die` drops the connection; anything
else scores 0.5.
"""

import asyncio
import contextlib
import json
import threading
from collections import Counter

from aiohttp import web

SLOW_S = 0.15


class FakeService:
    """Runs in a thread of its own; use it as a context manager."""

    def __init__(self, key=None):
        self.key = key
        self.bodies = []
        self.idempotency_keys = []
        self.busy_once = set()
        self.tries = Counter()
        self.at_work = self.at_work_max = 0
        self.retry_after = "0"
        self.url = ""
        self._loop = asyncio.new_event_loop()
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._serve)

    def __enter__(self):
        self._thread.start()
        assert self._ready.wait(10)
        return self

    def __exit__(self, *_):
        self.stop()

    def stop(self):
        if self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._stopping.set)
            self._thread.join(10)

    def _serve(self):
        self._loop.run_until_complete(self._run())
        self._loop.close()

    async def _run(self):
        self._stopping = asyncio.Event()
        app = web.Application(client_max_size=1 << 25)
        app.router.add_post("/v1/evaluations", self._evaluate)
        app.router.add_get("/readyz", self._ready_answer)
        app.router.add_get("/draining", self._draining_answer)
        runner = web.AppRunner(app, shutdown_timeout=0.1)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        self.url = f"http://127.0.0.1:{site._server.sockets[0].getsockname()[1]}"
        self._ready.set()
        await self._stopping.wait()
        await runner.cleanup()

    async def _ready_answer(self, _request):
        return web.json_response({"status": "ready"})

    async def _draining_answer(self, _request):
        return problem(503, "overloaded")

    async def _evaluate(self, request):
        self.at_work += 1
        self.at_work_max = max(self.at_work_max, self.at_work)
        try:
            return await self._answer(request)
        finally:
            self.at_work -= 1

    async def _answer(self, request):
        if self.key and request.headers.get("Authorization") != f"Bearer {self.key}":
            return problem(401, "unauthenticated")
        body = await request.json()
        self.bodies.append(body)
        self.idempotency_keys.append(request.headers.get("Idempotency-Key"))
        order, _, rest = str(body.get("input")).partition(":")
        self.tries[body.get("input")] += 1
        if "output" not in body:
            fault = {"pointer": "/output", "message": "Field required"}
            return problem(422, "invalid_request", errors=[fault])
        if order == "refuse":
            status, _, code = rest.partition(":")
            return problem(int(status), code)
        if order == "busy" and self.tries[body["input"]] == 1:
            return problem(503, "overloaded", headers={"Retry-After": self.retry_after})
        if order == "redirect":
            raise web.HTTPTemporaryRedirect("/v1/evaluations")
        if order == "die":
            request.transport.abort()
        if order in ("slow", "hang"):
            await asyncio.sleep(SLOW_S if order == "slow" else 3600)
        with contextlib.suppress(KeyError):
            return web.json_response(evaluation(body, {"fail": 0.0, "pass": 1.0}[order]))
        return web.json_response(evaluation(body, None if order == "unscored" else 0.5))


def problem(status, code, errors=(), headers=None):
    body = {"type": "about:blank", "title": code, "status": status, "detail": f"fake {code}"}
    text = json.dumps({**body, "code": code, "errors": list(errors)})
    return web.Response(
        status=status, text=text, content_type="application/problem+json", headers=headers
    )


def evaluation(body, score):
    """An answer of the contract in which every criterion has the same score."""
    names = [
        criterion if isinstance(criterion, str) else criterion.get("name") or criterion["type"]
        for criterion in body["criteria"]
    ]
    passed = None if score is None else score >= 0.5
    result = {
        "type": "rubric",
        "status": "unscored" if score is None else "scored",
        "score": score,
        "passed": passed,
        "reason": "judge_parse_error" if score is None else None,
        "cost_usd": 0.25,
    }
    return {
        "id": "eval_1",
        "object": "evaluation",
        "status": "partial" if score is None else "completed",
        "score": score,
        "passed": passed,
        "results": [{"name": name, **result} for name in names],
        "cost_usd": 0.25 * len(names),
        "metadata": {"echo": body.get("output")},
    }
