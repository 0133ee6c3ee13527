"""Calls a batch's webhook when the batch ends, signed after the Standard Webhooks specification."""

from __future__ import annotations

import logging
import random
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import aiohttp
import orjson
from aiohttp.abc import AbstractResolver

from assay.domain.batches import Batch, WebhookClaim
from assay.domain.events import WebhookAttempted
from assay.domain.ports import BatchStore, EventSink, JobQueue
from assay.domain.signing import signature_headers
from assay.domain.targets import TargetRefused, target_fault

logger = logging.getLogger(__name__)

ACCEPTED = range(200, 300)


@dataclass(frozen=True, slots=True)
class WebhookPolicy:
    """How often a webhook is called, and whether it may be in a private network."""

    allow_private: bool
    tries_max: int = 8
    backoff_s: float = 5.0
    backoff_max_s: float = 3_600.0
    timeout_s: float = 15.0

    def next_delay_s(self, tries: int) -> float | None:
        """The pause after failed attempt number `tries` (from 1); None after the last."""
        if tries >= self.tries_max:
            return None
        pause_s = min(self.backoff_s * 4.0 ** (tries - 1), self.backoff_max_s)
        return pause_s * random.uniform(0.9, 1.1)  # noqa: S311  # jitter


class Webhooks:
    """Delivers due webhooks; the claim of a dead worker lapses, so no delivery is lost.

    The `resolver` refuses private addresses, where the policy does not allow them.
    """

    def __init__(
        self,
        queue: JobQueue,
        batches: BatchStore,
        events: EventSink,
        policy: WebhookPolicy,
        resolver: AbstractResolver | None = None,
    ) -> None:
        self._queue = queue
        self._batches = batches
        self._events = events
        self._policy = policy
        self._resolver = resolver

    async def deliver(self, batch_id: str) -> None:
        """Call the batch's webhook if that is due; raises `StoreUnavailable`."""
        claim = await self._queue.claim_webhook(batch_id)
        if claim is None:
            return
        batch = await self._find(batch_id)
        outcome = "failed" if batch is None else await self._call(batch, claim)
        next_delay_s = None if outcome == "delivered" else self._policy.next_delay_s(claim.tries)
        self._events.emit(WebhookAttempted(batch_id, outcome, claim.tries))
        await self._queue.record_webhook(
            batch_id, "delivered" if outcome == "delivered" else "given_up", next_delay_s
        )

    async def _find(self, batch_id: str) -> Batch | None:
        request = await self._batches.request(batch_id)
        if request is None:
            return None
        return await self._batches.find(orjson.loads(request)["tenant"], batch_id)

    async def _call(self, batch: Batch, claim: WebhookClaim) -> str:
        target = orjson.loads(claim.webhook)
        if target_fault(target["url"], allow_private=self._policy.allow_private) is not None:
            return "refused"
        # Every attempt carries the same id, so that the receiver can recognise a repeat.
        document = event(batch) if "run_id" not in target else openai_event(batch, target["run_id"])
        headers, body = signed(target["secret"], f"msg_{batch.id}_{batch.status}", document)
        try:
            async with self._session() as session:
                response = await session.post(
                    target["url"], data=body, headers=headers, allow_redirects=False
                )
                response.close()
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
            refused = isinstance(error.__cause__ or error.__context__ or error, TargetRefused)
            logger.warning("webhook of %s: %s", batch.id, type(error).__name__)
            return "refused" if refused else "failed"
        return "delivered" if response.status in ACCEPTED else "failed"

    def _session(self) -> aiohttp.ClientSession:
        return aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(
                resolver=self._resolver, use_dns_cache=False, force_close=True, limit=1
            ),
            timeout=aiohttp.ClientTimeout(total=self._policy.timeout_s),
            trust_env=False,
            cookie_jar=aiohttp.DummyCookieJar(),
        )


def event(batch: Batch) -> dict[str, Any]:
    """The content of a webhook: enough to decide whether to fetch the results."""
    rule = orjson.loads(batch.shown).get("rule")
    named = {} if rule is None else {"rule": rule["name"]}
    counts = {"total": batch.total, **{str(name): n for name, n in batch.by_status.items()}}
    return {
        "type": f"batch.{batch.status}" if rule is None else "rule.threshold",
        "timestamp": datetime.fromtimestamp(batch.finished_ms / 1_000, UTC).isoformat(),
        "data": {"id": batch.id, "status": batch.status, "counts": counts} | named,
    }


_OPENAI_STATES: Mapping[str, str] = {
    "completed": "succeeded",
    "cancelled": "canceled",
    "failed": "failed",
}


def openai_event(batch: Batch, run_id: str) -> dict[str, Any]:
    """The content of a webhook for a run of OpenAI's surface, in the form of its own webhooks."""
    return {
        "id": f"evt_{batch.id.partition('_')[2]}",
        "object": "event",
        "type": f"eval.run.{_OPENAI_STATES[batch.status]}",
        "created_at": batch.finished_ms // 1_000,
        "data": {"id": run_id},
    }


def signed(secret: str, message_id: str, document: dict[str, Any]) -> tuple[dict[str, str], bytes]:
    """The headers and body of a signed message."""
    body = orjson.dumps(document)
    headers = {
        "Content-Type": "application/json",
        "User-Agent": "assay-webhooks",
        **signature_headers(secret, message_id, body.decode()),
    }
    return headers, body
