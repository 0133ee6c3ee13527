"""Gemini's batch mode, with the calls in the request and the answers in the operation.

Source: https://ai.google.dev/api/batch-api
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any
from urllib.parse import quote, urlencode

import orjson

from assay.providers.body import Chunk
from assay.providers.jobs.base import PAGES_MAX, Jobs, ListedJob, is_older, own_key, part
from assay.providers.shapes import list_of, mapping_of, text_of

ENDED = ("SUCCEEDED", "FAILED", "CANCELLED", "EXPIRED")


class GeminiJobs(Jobs):
    """Jobs of `generateContent`; an id is the name of an operation, such as `batches/123`."""

    calls_max = 50_000
    bytes_max = 16 * 1024 * 1024
    """The API takes 20 MB of calls in the request itself."""

    async def submit(self, token: str, calls: Sequence[tuple[str, bytes]]) -> str:
        head = orjson.dumps({"displayName": token})[:-1]
        body: list[Chunk] = [b'{"batch":' + head + b',"inputConfig":{"requests":{"requests":[']
        for place, (key, request) in enumerate(calls):
            metadata = orjson.dumps({"key": f"{token}-{key}"})
            body += (b"," * (place > 0) + b'{"request":', request, b',"metadata":', metadata, b"}")
        body.append(b"]}}}}")
        name = self._name if "/" in self._name else f"models/{self._name}"
        job = await self._call("POST", f"{quote(name, safe='/')}:batchGenerateContent", body)
        _path(job.get("name"))
        return str(job["name"])

    async def _listed(self, since_ms: int) -> AsyncIterator[ListedJob]:
        after = ""
        for _ in range(PAGES_MAX):
            query = urlencode({"pageSize": 100} | ({"pageToken": after} if after else {}))
            page = await self._call("GET", f"batches?{query}")
            for job in map(mapping_of, list_of(page.get("operations"))):
                known = mapping_of(job.get("metadata"))
                if not is_older(known.get("createTime"), since_ms):
                    yield ListedJob(text_of(job.get("name")), text_of(known.get("displayName")))
            after = text_of(page.get("nextPageToken"))
            if not after:
                return

    async def poll(self, id_: str) -> Mapping[str, Any] | None:
        job = await self._call("GET", _path(id_))
        state = str(mapping_of(job.get("metadata")).get("state")).rpartition("_STATE_")[2]
        return job if job.get("done") or state in ENDED else None

    async def results(
        self, token: str, job: Mapping[str, Any]
    ) -> AsyncIterator[tuple[str, bytes | None]]:
        output = mapping_of(job.get("response") or mapping_of(job.get("metadata")).get("output"))
        answers = mapping_of(output.get("inlinedResponses")).get("inlinedResponses")
        for answer in map(mapping_of, list_of(answers)):
            key = own_key(token, mapping_of(answer.get("metadata")).get("key"))
            response = answer.get("response")
            yield key, orjson.dumps(response) if response and not answer.get("error") else None

    async def cancel(self, id_: str) -> None:
        await self._call("POST", f"{_path(id_)}:cancel")

    async def delete(self, job: Mapping[str, Any]) -> None:
        await self._call("DELETE", _path(job.get("name")))


def _path(name: Any) -> str:
    kind, _, id_ = str(name or "").rpartition("/")
    return f"{part(kind)}/{part(id_)}"
