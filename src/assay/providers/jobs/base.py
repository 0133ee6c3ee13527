"""What the batch APIs of all providers have in common."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, ClassVar
from urllib.parse import quote, urlencode

import orjson

from assay.domain.completion import Completion, Prompt
from assay.domain.errors import StreamBroken
from assay.domain.provider_jobs import JobApi
from assay.providers.body import Chunk, json_body
from assay.providers.http_model import HttpModel
from assay.providers.shapes import list_of, mapping_of, text_of

ANSWER_BYTES_MAX = 256 * 1024 * 1024
"""Bytes of one response that is read as a whole."""
LINE_BYTES_MAX = 64 * 1024 * 1024
PAGES_MAX = 50
"""Pages of the provider's list in which a job is looked for."""
CLOCKS_APART_MS = 120_000
"""How far the provider's clock may be behind ours."""
JSON: Mapping[str, str] = {"Content-Type": "application/json"}


@dataclass(frozen=True, slots=True)
class ListedJob:
    """A job in the provider's list, with its token or else how many calls it has."""

    id: str
    token: str = ""
    calls: int = 0


class Jobs(JobApi):
    """The batch API of one model, over the adapter that writes and reads its calls."""

    names_jobs: ClassVar[bool] = True

    def __init__(self, model: HttpModel, name: str) -> None:
        self._model = model
        self._name = name

    def body(self, prompt: Prompt[Any]) -> bytes:
        """See `JobApi`."""
        return b"".join(self._model.body(self._model.document(prompt)))

    def question(self, prompt: Prompt[Any]) -> bytes:
        """See `JobApi`."""
        return b"".join(json_body(self._model.document(prompt)))

    def read(self, answer: bytes) -> Completion[Any]:
        """See `JobApi`."""
        return self._model.read(orjson.loads(answer))

    async def find(
        self, token: str, since_ms: int, calls: int, others: Sequence[str]
    ) -> str | None:
        """See `JobApi`."""
        async for job in self._listed(since_ms):
            is_meant = job.token == token if self.names_jobs else job.calls == calls
            if is_meant and job.id not in others:
                return job.id
        return None

    async def _pages(
        self, path: str, since_ms: int, after_field: str
    ) -> AsyncIterator[Mapping[str, Any]]:
        """The jobs in a list that begins with the newest, as OpenAI and Anthropic have it."""
        after: Mapping[str, str] = {}
        for _ in range(PAGES_MAX):
            page = await self._call("GET", f"{path}?{urlencode({'limit': 100, **after})}")
            for job in map(mapping_of, list_of(page.get("data"))):
                if is_older(job.get("created_at"), since_ms):
                    return
                after = {after_field: text_of(job.get("id"))}
                yield job
            if not page.get("has_more"):
                return

    @abstractmethod
    def _listed(self, since_ms: int) -> AsyncIterator[ListedJob]:
        """The provider's jobs that were made since then."""

    def is_over_limit(self, job: Mapping[str, Any]) -> bool:  # noqa: ARG002  # rare
        """See `JobApi`."""
        return False

    async def _call(
        self,
        method: str,
        path: str,
        body: Sequence[Chunk] = (),
        headers: Mapping[str, str] = JSON,
    ) -> Mapping[str, Any]:
        """A request that is answered with one JSON object."""
        whole = bytearray()
        async with self._model.exchange(method, path, list(body), headers) as read:
            while chunk := await read():
                whole += chunk
                if len(whole) > ANSWER_BYTES_MAX:
                    raise StreamBroken("the provider's answer is beyond the size limit")
        return mapping_of(_parsed(bytes(whole) or b"{}"))

    async def _lines(self, path: str) -> AsyncIterator[Mapping[str, Any]]:
        """The JSON objects of a file with one on each line, as they arrive."""
        rest = b""
        async with self._model.exchange("GET", path, [], JSON) as read:
            while chunk := await read():
                *lines, rest = (rest + chunk).split(b"\n")
                if len(rest) > LINE_BYTES_MAX:
                    raise StreamBroken("a line of the provider's answer is beyond the size limit")
                for line in lines:
                    if line.strip():
                        yield mapping_of(_parsed(line))
        if rest.strip():
            yield mapping_of(_parsed(rest))


def own_key(token: str, id_: Any) -> str:
    """The key in the id of a call, empty for a call that is not of this job."""
    prefix, _, key = str(id_).partition("-")
    return key if prefix == token else ""


def part(id_: Any) -> str:
    """An id of the provider as part of a path."""
    if not isinstance(id_, str) or not id_:
        raise StreamBroken("the provider named no job")
    return quote(id_, safe="")


def is_older(time: Any, since_ms: int) -> bool:
    """Whether a time of the provider, a number or a text, is well before ours."""
    if isinstance(time, str):
        try:
            time = datetime.fromisoformat(time).timestamp()
        except ValueError:
            return False
    return isinstance(time, int | float) and time * 1_000 < since_ms - CLOCKS_APART_MS


def _parsed(data: bytes) -> Any:
    try:
        return orjson.loads(data)
    except ValueError:  # not chained: the error contains the text
        raise StreamBroken("the provider sent malformed JSON") from None
