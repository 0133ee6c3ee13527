"""Anthropic's Message Batches. A job has no name: whose it is shows in the ids of its results.

Source: https://docs.anthropic.com/en/api/creating-message-batches
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any

import orjson

from assay.providers.body import Chunk
from assay.providers.jobs.base import Jobs, ListedJob, own_key, part
from assay.providers.shapes import count_of, mapping_of, text_of


class AnthropicJobs(Jobs):
    """Jobs of messages."""

    calls_max = 100_000
    bytes_max = 64 * 1024 * 1024
    """The API takes 256 MB; so much is held in memory while it is sent."""
    names_jobs = False

    async def submit(self, token: str, calls: Sequence[tuple[str, bytes]]) -> str:
        body: list[Chunk] = [b'{"requests":[']
        for place, (key, request) in enumerate(calls):
            head = orjson.dumps({"custom_id": f"{token}-{key}"})[:-1]
            body += (b"," * (place > 0) + head + b',"params":', request, b"}")
        body.append(b"]}")
        job = await self._call("POST", "messages/batches", body)
        part(job.get("id"))
        return str(job["id"])

    async def _listed(self, since_ms: int) -> AsyncIterator[ListedJob]:
        async for job in self._pages("messages/batches", since_ms, "after_id"):
            counts = mapping_of(job.get("request_counts")).values()
            yield ListedJob(text_of(job.get("id")), calls=sum(map(count_of, counts)))

    async def poll(self, id_: str) -> Mapping[str, Any] | None:
        job = await self._call("GET", f"messages/batches/{part(id_)}")
        return job if job.get("processing_status") == "ended" else None

    async def results(
        self, token: str, job: Mapping[str, Any]
    ) -> AsyncIterator[tuple[str, bytes | None]]:
        if not job.get("results_url"):
            return
        async for line in self._lines(f"messages/batches/{part(job.get('id'))}/results"):
            result = mapping_of(line.get("result"))
            answered = result.get("type") == "succeeded"
            answer = orjson.dumps(result.get("message")) if answered else None
            yield own_key(token, line.get("custom_id")), answer

    async def cancel(self, id_: str) -> None:
        await self._call("POST", f"messages/batches/{part(id_)}/cancel")

    async def delete(self, job: Mapping[str, Any]) -> None:
        await self._call("DELETE", f"messages/batches/{part(job.get('id'))}")
