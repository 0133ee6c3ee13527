"""What spans of an application say of a model's work, and the port to what keeps it until judged.

A rule judges a share of them. The share is drawn by a hash with a key that all replicas have, so
that each chooses the same traces; and by the same key a replica knows the traces of judges.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

from assay.domain.ids import random_hex

GroupBy = Literal["span", "trace", "session"]
Moves = Literal["never", "sooner", "later"]
Outcome = Literal[
    "kept", "unsampled", "unmatched", "unmapped", "no_model", "malformed", "judge", "full"
]
"""What became of a span: kept for a rule; not in the share; matched by no rule; of a model, but
without content; of no model; not readable; of a judge; or more than may wait."""


@dataclass(frozen=True, slots=True)
class Observation:
    """What one span says, as JSON; messages have the form of chat messages."""

    trace_id: str
    span_id: str
    parent_id: str = ""
    start_ms: int = 0
    end_ms: int = 0
    is_model: bool = False
    input: Sequence[Mapping[str, Any]] = ()
    output: Sequence[Mapping[str, Any]] = ()
    context: Sequence[str] = ()
    tools: Sequence[Mapping[str, Any]] = ()
    session: str = ""
    user: str = ""
    response_id: str = ""


@dataclass(frozen=True, slots=True)
class PendingSpan:
    """An observation that waits for a rule's delay, with others of its `group`.

    The group is due `wait_s` after this span arrives. `moves` says whether that replaces an earlier
    time: `never`, `sooner` (the root of a trace) or `later` (a session goes on).
    """

    rule_id: str
    group: str
    wait_s: float
    moves: Moves
    observation: Observation


@dataclass(frozen=True, slots=True)
class DueGroup:
    """A group whose time has come; without observations if they have expired."""

    group: str
    due_ms: int
    observations: Sequence[Observation]


@dataclass(frozen=True, slots=True)
class RuleState:
    """What a rule has done so far.

    `open` are its batches that still take rows, with the hour of each in milliseconds. `counts`
    has the rows that were `judged` and those that were skipped, by reason. `minute` and `in_minute`
    bound the rate. `pending` groups wait; the first of them is due at `next_due_ms`.
    """

    open: Mapping[str, int] = field(default_factory=dict)
    counts: Mapping[str, int] = field(default_factory=dict)
    minute: int = 0
    in_minute: int = 0
    paused: str = ""
    pending: int = 0
    next_due_ms: int | None = None


@dataclass(frozen=True, slots=True)
class SpansSeen:
    """How many spans a tenant has sent, by outcome, and the last ones that were not understood."""

    outcomes: Mapping[str, int]
    not_understood: Sequence[Mapping[str, Any]]


class TraceStore(Protocol):
    """Keeps spans until they are judged, for all processes; raises `StoreUnavailable`."""

    async def key(self) -> bytes:
        """The key that decides which traces are in a share, and that marks those of judges."""
        ...

    async def accept(
        self,
        tenant: str,
        spans: Sequence[PendingSpan],
        outcomes: Mapping[str, int],
        not_understood: Sequence[Mapping[str, Any]],
    ) -> int:
        """Keep the spans, and return when they are on disk: how many there was no room for.

        A span that was there already, or whose group was judged, changes nothing.
        """
        ...

    async def seen(self, tenant: str) -> SpansSeen: ...

    async def due(self, tenant: str, rule_id: str, limit: int) -> Sequence[DueGroup]:
        """Groups whose time has come, the first ones first."""
        ...

    async def finish(
        self, tenant: str, rule_id: str, groups: Sequence[str],
        counts: Mapping[str, int], minute: int, in_minute: int,
    ) -> None:  # fmt: skip
        """Forget groups that are rows now, or are skipped; their late spans change nothing."""
        ...

    async def state(self, tenant: str, rule_id: str) -> RuleState: ...

    async def pause(self, tenant: str, rule_id: str, reason: str) -> None:
        """Note why the rule judges nothing; empty if it does."""
        ...

    async def open_batch(self, tenant: str, rule_id: str, batch_id: str, hour_ms: int) -> None:
        """Note a batch before it is made, so that it is closed whatever happens."""
        ...

    async def batches(self, tenant: str, rule_id: str, from_ms: int, to_ms: int) -> Sequence[str]:
        """The rule's batches of the hours from one to the other, the newest first."""
        ...

    async def close_batch(self, tenant: str, rule_id: str, batch_id: str) -> None: ...

    async def forget(self, tenant: str, rule_id: str) -> None:
        """Forget all of a rule that was deleted."""
        ...


def share_of(key: bytes, text: str) -> float:
    """Where a trace or a session lies from 0 to 1: those below a rule's share are judged."""
    digest = hashlib.blake2b(text.encode("utf-8", "surrogatepass"), key=key, digest_size=8).digest()
    return int.from_bytes(digest) / 2**64


def judge_trace_id(key: bytes) -> str:
    """A new id for the trace of a judge, which `is_judge_trace` knows in every process."""
    drawn = random_hex(8)
    return drawn + _mark(key, drawn)


def is_judge_trace(key: bytes, trace_id: str) -> bool:
    """Whether the trace is that of a judge, whatever a gateway made of its other marks."""
    return trace_id[16:] == _mark(key, trace_id[:16])


def _mark(key: bytes, drawn: str) -> str:
    return hashlib.blake2b(drawn.encode(), key=key, digest_size=8, person=b"judge").hexdigest()
