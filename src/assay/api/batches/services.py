"""What the resources of batches work with, and what they have in common."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import orjson
from starlette.requests import Request

from assay.api.batches.responses import BAD_ROWS_SHOWN_MAX, batch_document
from assay.api.services import Services
from assay.criteria import parse_criteria
from assay.criteria.base import Criterion
from assay.domain.batches import BATCH_ID_KIND, BadRow, Batch
from assay.domain.ports import BatchStore, Judges, ResultStore
from assay.http.limits import Limits
from assay.http.problems import Problem, ProblemError

BATCH_ID = re.compile(BATCH_ID_KIND + r"_[0-9a-f]{32}")
NOT_FOUND = Problem("not_found", "There is no such batch.")


@dataclass(frozen=True, slots=True)
class BatchRules:
    """What batches may be: a row's bytes, how long a batch is kept, and whom webhooks may call."""

    row_bytes_max: int = 2_097_152
    retention_s: float = 30 * 86_400
    allow_private_webhooks: bool = False
    streams_max: int = 256


@dataclass(frozen=True, slots=True)
class Batches:
    """The parts that the resources of batches call."""

    services: Services
    limits: Limits
    store: BatchStore
    results: ResultStore
    judges: Judges
    rules: BatchRules

    def tenant_of(self, request: Request) -> str:
        """Who is calling; raises `ProblemError` (`unauthenticated`)."""
        tenant = self.services.access.identify(request.headers.get("authorization")).tenant
        request.state.tenant = tenant
        return tenant

    async def found(self, request: Request, batch_id: str) -> Batch:
        """The caller's batch; raises `ProblemError` (`not_found`), for another tenant's as well."""
        tenant = self.tenant_of(request)
        batch = await self.store.find(tenant, batch_id) if is_batch_id(batch_id) else None
        if batch is None:
            raise ProblemError(NOT_FOUND)
        return batch

    async def described(self, batch: Batch) -> dict[str, Any]:
        """The batch as callers read it, with its summary so far."""
        request = await self.request_of(batch)
        sums = await self.results.sums(batch.id, by_group=batch.ended)
        bad: Sequence[BadRow] = ()
        if batch.rejected:
            bad = await self.store.bad_rows(batch.id, BAD_ROWS_SHOWN_MAX)
        return batch_document(batch, request, sums=sums, criteria=criteria_of(request), bad=bad)

    async def request_of(self, batch: Batch) -> Mapping[str, Any]:
        stored = await self.store.request(batch.id)
        document: dict[str, Any] = {} if stored is None else orjson.loads(stored)
        return document


def criteria_of(request: Mapping[str, Any]) -> Sequence[Criterion]:
    try:
        return parse_criteria(request["criteria"])
    except (KeyError, ValueError):  # made by another version: the sums are still there
        return ()


def is_batch_id(text: str) -> bool:
    """Whether `text` may be an id: it becomes a part of keys."""
    return BATCH_ID.fullmatch(text) is not None
