"""A server that speaks the providers' batch APIs, and misbehaves on demand.

It counts what would be paid for: each call of a job that it answered, and each direct call.
"""

from __future__ import annotations

import asyncio
import json
import random
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.parser import BytesParser
from typing import Any, Self

from aiohttp import web

from assay.providers.schema_instances import instance
from fakes.providers.dialects import DIALECTS, Answer

PATHS = {"openai": "/openai/v1", "anthropic": "/anthropic/v1", "gemini": "/gemini/v1beta"}
FAULTS = (
    *("none", "refused", "unavailable", "lost_answer", "limited", "failed", "vanished", "expired"),
    *("errored", "twice", "strange", "malformed"),
)
"""What may happen to a job: its submission answers 400, 503, or is dropped once the job is made, or
429; it fails as a whole, is not found, expires with half of it answered, has an error for each
second call, each result twice, a result of an unknown call, or answers that cannot be read."""


@dataclass
class Job:
    """A job as the provider has it."""

    id: str
    dialect: str
    name: str
    calls: list[tuple[str, dict[str, Any]]]
    spoken: str
    fault: str = "none"
    made: datetime = field(default_factory=lambda: datetime.now(UTC))
    polls_left: int = 0
    state: str = "running"
    lines: list[dict[str, Any]] = field(default_factory=list)
    deleted: bool = False


class JobServer:
    """The server; `polls` is how often a job is asked for before it has ended.

    A request for the step `hold` gets no answer before `release`, and `held` is set: `upload`,
    `create` before the job is made, `made` after that, `list`, `poll`, `results`, or `half` in the
    middle of these.
    """

    def __init__(self) -> None:
        self.port = 0
        self.polls = 0
        self.requests = 0
        self.fault = "none"
        self.hold = ""
        self.held = asyncio.Event()
        self.released = asyncio.Event()
        self.jobs: dict[str, Job] = {}
        self.files: dict[str, bytes] = {}
        self.paid: Counter[str] = Counter()
        """How often each question was sent in a job that was taken."""
        self.direct: Counter[str] = Counter()
        """How often each question was asked directly."""
        self.cancelled: list[str] = []
        self.rng = random.Random(0)
        self.page = 100
        self.answer: Callable[[dict[str, Any]], str] | None = None
        """What a model says; without it, a verdict that fits the schema asked for."""

    async def __aenter__(self) -> Self:
        app = web.Application(client_max_size=256 * 1024 * 1024)
        app.router.add_route("*", "/{dialect}/{version}/{rest:.*}", self._handle)
        self._runner = web.AppRunner(
            app, handler_cancellation=True, access_log=None, shutdown_timeout=0.1
        )
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        self.port = self._runner.addresses[0][1]
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._runner.cleanup()

    def base_url(self, dialect: str) -> str:
        return f"http://127.0.0.1:{self.port}{PATHS[dialect]}"

    def release(self) -> None:
        """Hold nothing back any more; what was held is answered with 503."""
        self.hold = ""
        self.held.clear()
        self.released.set()
        self.released = asyncio.Event()

    async def _stop_at(self, step: str) -> None:
        if self.hold == step:
            self.held.set()
            await self.released.wait()
            raise web.HTTPServiceUnavailable

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        api = {"openai": self._openai, "anthropic": self._anthropic, "gemini": self._gemini}
        raw = await request.read()
        self.requests += 1
        dialect, rest = request.match_info["dialect"], request.match_info["rest"]
        return await api[dialect](request, rest, raw)

    async def _openai(  # noqa: PLR0911  # a route each
        self, request: web.Request, rest: str, raw: bytes
    ) -> web.StreamResponse:
        match request.method, rest.split("/"):
            case "POST", ["files"]:
                await self._stop_at("upload")
                id_ = f"file-{len(self.files)}"
                self.files[id_] = _file_of(request.headers["Content-Type"], raw)
                return web.json_response({"id": id_, "object": "file", "purpose": "batch"})
            case "POST", ["batches"]:
                wanted = json.loads(raw)
                assert wanted["completion_window"] == "24h"
                lines = map(json.loads, self.files[wanted["input_file_id"]].splitlines())
                calls = []
                for line in lines:
                    assert line["url"] == wanted["endpoint"]
                    calls.append((line["custom_id"], line["body"]))
                return await self._create("openai", wanted["metadata"]["assay_job"], calls, request)
            case "GET", ["batches"]:
                await self._stop_at("list")
                found, more = self._listed("openai", request.query.get("after"))
                data = [self._openai_job(job) for job in found]
                return web.json_response({"object": "list", "data": data, "has_more": more})
            case "GET", ["batches", id_]:
                job = await self._polled(id_)
                return (
                    _missing("openai") if job is None else web.json_response(self._openai_job(job))
                )
            case "POST", ["batches", id_, "cancel"]:
                self._cancel(self.jobs[id_])
                return web.json_response(self._openai_job(self.jobs[id_]))
            case "GET", ["files", id_, "content"]:
                kind, _, job_id = id_.partition("-of-")
                wanted_lines = [
                    line
                    for line in self.jobs[job_id].lines
                    if (line["error"] is None and line["response"]["status_code"] == 200)
                    == (kind == "output")
                ]
                return await self._send_lines(request, wanted_lines)
            case "DELETE", ["files", id_]:
                self.files.pop(id_, None)
                return web.json_response({"id": id_, "deleted": True})
            case _:
                return await self._direct("openai", raw)

    async def _anthropic(  # noqa: PLR0911  # a route each
        self, request: web.Request, rest: str, raw: bytes
    ) -> web.StreamResponse:
        assert request.headers["anthropic-version"]
        match request.method, rest.split("/"):
            case "POST", ["messages", "batches"]:
                await self._stop_at("upload")
                wanted = json.loads(raw)["requests"]
                calls = [(one["custom_id"], one["params"]) for one in wanted]
                return await self._create("anthropic", "", calls, request)
            case "GET", ["messages", "batches"]:
                await self._stop_at("list")
                found, more = self._listed("anthropic", request.query.get("after_id"))
                data = [self._anthropic_job(job) for job in found]
                return web.json_response({"data": data, "has_more": more})
            case "GET", ["messages", "batches", id_]:
                job = await self._polled(id_)
                return (
                    _missing("anthropic")
                    if job is None
                    else web.json_response(self._anthropic_job(job))
                )
            case "POST", ["messages", "batches", id_, "cancel"]:
                self._cancel(self.jobs[id_])
                return web.json_response(self._anthropic_job(self.jobs[id_]))
            case "GET", ["messages", "batches", id_, "results"]:
                return await self._send_lines(request, self.jobs[id_].lines)
            case "DELETE", ["messages", "batches", id_]:
                self.jobs[id_].deleted = True
                return web.json_response({"id": id_, "type": "message_batch_deleted"})
            case _:
                return await self._direct("anthropic", raw)

    async def _gemini(  # a route each
        self, request: web.Request, rest: str, raw: bytes
    ) -> web.StreamResponse:
        if rest.endswith(":batchGenerateContent"):
            await self._stop_at("upload")
            batch = json.loads(raw)["batch"]
            wanted = batch["inputConfig"]["requests"]["requests"]
            calls = [(one["metadata"]["key"], one["request"]) for one in wanted]
            return await self._create("gemini", batch["displayName"], calls, request)
        match request.method, rest.split("/"):
            case "GET", ["batches"]:
                await self._stop_at("list")
                found, more = self._listed("gemini", request.query.get("pageToken"))
                page = {"operations": [self._gemini_job(job) for job in found]}
                return web.json_response(page | ({"nextPageToken": found[-1].id} if more else {}))
            case "GET", ["batches", id_]:
                job = await self._polled(id_)
                if job is not None and job.state != "running":
                    await self._stop_at("results")
                return (
                    _missing("gemini") if job is None else web.json_response(self._gemini_job(job))
                )
            case "POST", ["batches", id_] if id_.endswith(":cancel"):
                self._cancel(self.jobs[id_.removesuffix(":cancel")])
                return web.json_response({})
            case "DELETE", ["batches", id_]:
                self.jobs[id_].deleted = True
                return web.json_response({})
            case _:
                return await self._direct("gemini", raw)

    async def _create(
        self,
        dialect: str,
        name: str,
        calls: list[tuple[str, dict[str, Any]]],
        request: web.Request,
    ) -> web.Response:
        await self._stop_at("create")
        statuses = {"refused": 400, "unavailable": 503, "limited": 429}
        fault, status = self.fault, statuses.get(self.fault)
        if status is not None:
            self.fault = "none" if status != 400 else fault
            return web.json_response(DIALECTS[dialect].error("400", status), status=status)
        spoken = "openai_responses" if dialect == "openai" and "input" in calls[0][1] else dialect
        id_ = f"job_{len(self.jobs)}"
        job = Job(id_, dialect, name, calls, spoken, fault, polls_left=self.polls)
        self.jobs[job.id] = job
        self.paid.update(question(body) for _, body in calls)
        await self._stop_at("made")
        if fault == "lost_answer":
            self.fault = "none"
            assert request.transport is not None
            request.transport.close()
        return web.json_response(getattr(self, f"_{dialect}_job")(job))

    def _listed(self, dialect: str, after: str | None) -> tuple[list[Job], bool]:
        found = [job for job in reversed(self.jobs.values()) if job.dialect == dialect]
        ids = [job.id for job in found]
        start = ids.index(after) + 1 if after else 0
        return found[start : start + self.page], len(found) > start + self.page

    async def _polled(self, id_: str) -> Job | None:
        await self._stop_at("poll")
        job = self.jobs.get(id_)
        if job is None or job.fault == "vanished":
            return None
        if job.state == "running" and job.polls_left <= 0:
            self._finish(job, "ended")
        job.polls_left -= 1
        return job

    def _cancel(self, job: Job) -> None:
        self.cancelled.append(job.id)
        if job.state == "running":
            self._finish(job, "cancelled")

    def _finish(self, job: Job, state: str) -> None:
        """Answer what the job has, in any order."""
        job.state = state
        if job.fault in ("failed", "full"):
            job.state = "failed"
            return
        order = list(job.calls)
        self.rng.shuffle(order)
        for place, (id_, body) in enumerate(order):
            is_half = place >= len(order) / 2
            if (job.fault == "expired" and is_half) or (state == "cancelled" and is_half):
                ending = "expired" if job.fault == "expired" else "canceled"
                job.lines.append(_line(job.dialect, id_, None, ending))
            elif job.fault == "errored" and place % 2:
                job.lines.append(_line(job.dialect, id_, None, "errored"))
            else:
                answer: Any = {"odd": True} if job.fault == "malformed" else self._answer(job, body)
                job.lines += [_line(job.dialect, id_, answer)] * (2 if job.fault == "twice" else 1)
        if job.fault == "strange":
            stranger = self._answer(job, job.calls[0][1])
            job.lines.insert(0, _line(job.dialect, "0000000000000000-00", stranger))
            job.lines.append(_line(job.dialect, "no-such-call", stranger))

    def _answer(self, job: Job, body: dict[str, Any]) -> dict[str, Any]:
        assert not body.get("stream")
        return self._whole(job.spoken, body)

    def _whole(self, dialect: str, body: dict[str, Any]) -> dict[str, Any]:
        spoken = DIALECTS[dialect]
        schema = spoken.schema(body)
        text = "fine" if self.answer is None else self.answer(body)
        if schema is not None and self.answer is None:
            text = json.dumps(instance(schema, random.Random(question(body)), "fine"))
        answer = Answer(text, "stop", structured=schema is not None, tool=spoken.tools in body)
        return spoken.whole(answer)

    async def _direct(self, dialect: str, raw: bytes) -> web.Response:
        body = json.loads(raw)
        self.direct[question(body)] += 1
        spoken = "openai_responses" if dialect == "openai" and "input" in body else dialect
        return web.json_response(self._whole(spoken, body))

    async def _send_lines(
        self, request: web.Request, lines: list[dict[str, Any]]
    ) -> web.StreamResponse:
        await self._stop_at("results")
        response = web.StreamResponse(headers={"Content-Type": "application/x-jsonl"})
        await response.prepare(request)
        for place, line in enumerate(lines):
            if place >= len(lines) / 2:
                await self._stop_at("half")
            await response.write(json.dumps(line).encode() + b"\n")
        return response

    def _openai_job(self, job: Job) -> dict[str, Any]:
        states = {"running": "in_progress", "ended": "completed"}
        state = "expired" if job.state == "ended" and job.fault == "expired" else job.state
        ok = [line for line in job.lines if line["error"] is None]
        return {
            "id": job.id,
            "object": "batch",
            "status": states.get(state, state),
            "created_at": int(job.made.timestamp()),
            "errors": {"data": [{"code": "token_limit_exceeded"}]} if job.fault == "full" else None,
            "metadata": {"assay_job": job.name},
            "input_file_id": "file-0",
            "output_file_id": f"output-of-{job.id}" if ok else None,
            "error_file_id": f"error-of-{job.id}" if len(ok) < len(job.lines) else None,
        }

    def _anthropic_job(self, job: Job) -> dict[str, Any]:
        ended = job.state != "running"
        url = f"{self.base_url('anthropic')}/messages/batches/{job.id}/results"
        return {
            "id": job.id,
            "type": "message_batch",
            "processing_status": "ended" if ended else "in_progress",
            "request_counts": {"processing": len(job.calls), "succeeded": 0},
            "created_at": job.made.isoformat(),
            "results_url": url if ended and job.fault != "failed" else None,
        }

    def _gemini_job(self, job: Job) -> dict[str, Any]:
        states = {"running": "RUNNING", "ended": "SUCCEEDED"}
        state = states.get(job.state, job.state.upper())
        document: dict[str, Any] = {
            "name": f"batches/{job.id}",
            "metadata": {
                "displayName": job.name,
                "state": f"BATCH_STATE_{state}",
                "createTime": job.made.isoformat(),
            },
            "done": job.state != "running",
        }
        if job.lines:
            document["response"] = {"inlinedResponses": {"inlinedResponses": job.lines}}
        return document


def question(body: dict[str, Any]) -> str:
    """What a request asks: two with the same are one question, paid for once."""
    return json.dumps({name: body[name] for name in sorted(body) if name != "stream"})


def _line(dialect: str, id_: str, answer: Any, ending: str = "") -> dict[str, Any]:
    match dialect:
        case "openai":
            if ending == "errored":
                response = {"status_code": 400, "body": {"error": {"message": "no"}}}
                return {"custom_id": id_, "response": response, "error": None}
            if answer is None:
                error = {"code": f"batch_{ending}", "message": "not in time"}
                return {"custom_id": id_, "response": None, "error": error}
            response = {"status_code": 200, "request_id": "r", "body": answer}
            return {"custom_id": id_, "response": response, "error": None}
        case "anthropic":
            result: dict[str, Any] = {"type": "succeeded", "message": answer}
            if answer is None:
                result = {"type": ending, "error": {"type": "error", "error": {"type": "x"}}}
            return {"custom_id": id_, "result": result}
        case _:
            said = {"error": {"code": 13}} if answer is None else {"response": answer}
            return {"metadata": {"key": id_}, **said}


def _missing(dialect: str) -> web.Response:
    return web.json_response(DIALECTS[dialect].error("404", 404), status=404)


def _file_of(content_type: str, raw: bytes) -> bytes:
    """The uploaded file of a form."""
    head = f"Content-Type: {content_type}\r\n\r\n".encode()
    form = BytesParser().parsebytes(head + raw)
    parts = {part.get_param("name", header="content-disposition"): part for part in _parts(form)}
    assert parts["purpose"].get_payload(decode=True).strip() == b"batch"
    content = parts["file"].get_payload(decode=True)
    assert isinstance(content, bytes)
    return content


def _parts(form: Any) -> Iterator[Any]:
    assert form.is_multipart()
    yield from form.get_payload()
