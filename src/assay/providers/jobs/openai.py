"""OpenAI's Batch API, as OpenAI and compatible servers have it: files in, files out.

Source: https://platform.openai.com/docs/api-reference/batch
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import suppress
from typing import Any

import orjson

from assay.domain.errors import ModelError
from assay.providers.body import Chunk
from assay.providers.jobs.base import Jobs, ListedJob, own_key, part
from assay.providers.shapes import list_of, mapping_of, text_of

ENDED = ("completed", "failed", "expired", "cancelled")
OUTPUTS = ("output_file_id", "error_file_id")
OK = 200
LABEL = "assay_job"
"""The metadata of a job that say whose it is."""


class OpenAIJobs(Jobs):
    """Jobs of chat completions or of the Responses API."""

    calls_max = 50_000
    bytes_max = 64 * 1024 * 1024
    """The API takes 200 MB; so much is held in memory while it is sent."""

    async def submit(self, token: str, calls: Sequence[tuple[str, bytes]]) -> str:
        url = f"/v1/{self._model.path}"
        body: list[Chunk] = [_form_head(token)]
        for key, request in calls:
            head = {"custom_id": f"{token}-{key}", "method": "POST", "url": url}
            body += (orjson.dumps(head)[:-1] + b',"body":', request, b"}\n")
        body.append(f"\r\n--{token}--\r\n".encode())
        form = {"Content-Type": f"multipart/form-data; boundary={token}"}
        file = await self._call("POST", "files", body, form)
        document = {
            "input_file_id": file.get("id"),
            "endpoint": url,
            "completion_window": "24h",
            "metadata": {LABEL: token},
        }
        job = await self._call("POST", "batches", [orjson.dumps(document)])
        part(job.get("id"))
        return str(job["id"])

    async def _listed(self, since_ms: int) -> AsyncIterator[ListedJob]:
        async for job in self._pages("batches", since_ms, "after"):
            token = mapping_of(job.get("metadata")).get(LABEL)
            yield ListedJob(text_of(job.get("id")), text_of(token))

    async def poll(self, id_: str) -> Mapping[str, Any] | None:
        job = await self._call("GET", f"batches/{part(id_)}")
        return job if job.get("status") in ENDED else None

    def is_over_limit(self, job: Mapping[str, Any]) -> bool:
        errors = map(mapping_of, list_of(mapping_of(job.get("errors")).get("data")))
        return any(error.get("code") == "token_limit_exceeded" for error in errors)

    async def results(
        self, token: str, job: Mapping[str, Any]
    ) -> AsyncIterator[tuple[str, bytes | None]]:
        for name in OUTPUTS:
            if not job.get(name):
                continue
            async for line in self._lines(f"files/{part(job[name])}/content"):
                response = mapping_of(line.get("response"))
                answered = response.get("status_code") == OK and not line.get("error")
                answer = orjson.dumps(response.get("body")) if answered else None
                yield own_key(token, line.get("custom_id")), answer

    async def cancel(self, id_: str) -> None:
        await self._call("POST", f"batches/{part(id_)}/cancel")

    async def delete(self, job: Mapping[str, Any]) -> None:
        for name in ("input_file_id", *OUTPUTS):
            if job.get(name):
                with suppress(ModelError):
                    await self._call("DELETE", f"files/{part(job[name])}")


def _form_head(token: str) -> bytes:
    """The beginning of the upload, up to the content of its file."""
    disposition = "Content-Disposition: form-data; name="
    return (
        f'--{token}\r\n{disposition}"purpose"\r\n\r\nbatch\r\n'
        f'--{token}\r\n{disposition}"file"; filename="{token}.jsonl"\r\n'
        "Content-Type: application/jsonl\r\n\r\n"
    ).encode()
