"""Keeps actions in Redis, as a stream that is cut at its old end.

They are written in the background: no request waits for them. What Redis does not take in time is
dropped, since each action has its log line. If Redis takes a write and its reply is lost, the
action stands twice, with one request id.
"""

from __future__ import annotations

import asyncio
import json
from collections import deque
from contextlib import suppress
from dataclasses import asdict
from itertools import chain
from typing import Any

from assay.domain.audit import Action, ActionPage
from assay.domain.events import ActionTaken, Event, KeysLoaded
from assay.domain.ids import now_ms, shown_time
from assay.domain.ports import EventSink
from assay.domain.supervision import SupervisedTask, Supervisor
from assay.redis.client import Client
from assay.redis.outages import OUTAGES, store_unavailable
from assay.redis.scripts import load_script
from assay.redis.time_budget import TimeBudget

KEYS = load_script(__package__, "keys")
STREAM, KNOWN_KEYS = "assay:v1:{audit}:actions", "assay:v1:{audit}:keys"
KEPT_MAX = 100_000
WAITING_MAX = 1_000
CALL_S_MAX, RETRY_S, FLUSH_S_MAX = 1.0, 1.0, 2.0
READ_AT_ONCE = 500
SEARCHED_MAX = 10_000
"""Actions that one page looks at; the next page goes on from there."""


class RedisAudit:
    """An `EventSink` that keeps actions, and the `AuditLog` that they make."""

    def __init__(self, redis: Client) -> None:
        self._redis: Any = redis  # the library types replies for texts and bytes at once
        self._waiting: deque[ActionTaken | KeysLoaded] = deque(maxlen=WAITING_MAX)
        self._arrived = asyncio.Event()

    def emit(self, event: Event) -> None:
        """Keep an action, and look for changes among the keys of a file that was loaded."""
        if isinstance(event, ActionTaken | KeysLoaded):
            self._waiting.append(event)
            self._arrived.set()

    def start(self, supervisor: Supervisor, events: EventSink) -> None:
        """Write what is to be kept."""
        self._events = events
        self._writing = supervisor.start("audit", self._keep_writing)

    async def aclose(self) -> None:
        """Write what waits, within `FLUSH_S_MAX`."""
        await self._writing.stop()
        with suppress(TimeoutError):
            async with asyncio.timeout(FLUSH_S_MAX):
                await self._flush()

    async def page(self, before: str, limit: int, since_ms: int, action: str) -> ActionPage:
        """See `AuditLog`."""
        found: list[tuple[str, Action]] = []
        since = shown_time(since_ms)
        for _ in range(SEARCHED_MAX // READ_AT_ONCE):
            newest = f"({before}" if before else "+"
            with store_unavailable():
                async with TimeBudget(CALL_S_MAX):
                    entries = await self._redis.xrevrange(STREAM, newest, since_ms, READ_AT_ONCE)
            for id_, fields in entries:
                one = Action(**json.loads(fields[b"action"]))
                # What waited for Redis is older than its place in the stream.
                if action in ("", one.action) and one.at >= since:
                    if len(found) == limit:
                        return ActionPage(found, found[-1][0])
                    found.append((id_.decode(), one))
                before = id_.decode()
            if len(entries) < READ_AT_ONCE:
                return ActionPage(found, None)
        return ActionPage(found, before)

    async def _keep_writing(self, task: SupervisedTask) -> None:
        while not task.stopping:
            await self._arrived.wait()
            self._arrived.clear()
            if not await self._flush():
                await asyncio.sleep(RETRY_S)
                self._arrived.set()

    async def _flush(self) -> bool:
        """Whether everything that waited was written."""
        with suppress(*OUTAGES):
            while self._waiting:
                event = self._waiting[0]
                async with TimeBudget(CALL_S_MAX):
                    if isinstance(event, KeysLoaded):
                        await self._look_at_keys(event)
                    else:
                        entry = {"action": json.dumps(asdict(event.action))}
                        await self._redis.xadd(STREAM, entry, maxlen=KEPT_MAX, approximate=True)
                if self._waiting[0] is event:  # unless newer ones pushed it out
                    self._waiting.popleft()
            return True
        return False

    async def _look_at_keys(self, event: KeysLoaded) -> None:
        described = {name: json.dumps(fields) for name, fields in event.keys.items()}
        replied = await KEYS.run(self._redis, [KNOWN_KEYS], [*chain(*described.items())])
        parts = [part.decode() for part in replied]
        for change, fingerprint, fields in zip(parts[::3], parts[1::3], parts[2::3], strict=True):
            tenant, role, name, expires = json.loads(fields)
            detail = f"role={role}" + (f" expires={expires}" if expires else "")
            self._events.emit(
                ActionTaken(
                    Action(
                        at=shown_time(now_ms()),
                        action=f"key_{change}",
                        target=name or fingerprint,
                        detail=detail,
                        tenant=tenant,
                        key="",
                        status=None,
                        request_id="",
                    )
                )
            )
