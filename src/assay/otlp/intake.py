"""Decides for each span of a request what becomes of it, before much work is done for it."""

from __future__ import annotations

import asyncio
import hashlib
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from assay.catalog.rules import KnownRule
from assay.domain.trace_context import is_judge_call
from assay.domain.traces import (
    Moves,
    Observation,
    PendingSpan,
    is_judge_trace,
    share_of,
)
from assay.otlp.decoding import ReceivedSpan, decode
from assay.otlp.mapping import not_understood, observe

ROOT_GRACE_S = 5.0
"""A trace is complete soon after its root: spans of other processes may come a little later."""
SPANS_PER_TURN = 16
EXAMINED_MAX = 20
"""Spans of a request that are read where there is no rule, to tell whether they are understood."""
SHOWN_MAX = 5
"""Spans of a request that are kept to be shown, because they are not understood."""


@dataclass(slots=True)
class Sorted:
    """What becomes of the spans of a request."""

    outcomes: Counter[str] = field(default_factory=Counter)
    pending: list[PendingSpan] = field(default_factory=list)
    not_understood: list[dict[str, Any]] = field(default_factory=list)


async def sort_spans(
    body: bytes, media_type: str, rules: Sequence[KnownRule], key: bytes
) -> Sorted:
    """Read a request; raises `RequestError`.

    A few spans are read in each turn of the event loop: a thread would keep it from the interpreter
    for longer.
    """
    made = Sorted()
    in_force = [rule for rule in rules if rule.rule.enabled]
    spans = await asyncio.to_thread(decode, body, media_type)
    for number, span in enumerate(spans, 1):
        made.outcomes[_sort(span, in_force, key, made)] += 1
        if number % SPANS_PER_TURN == 0:
            await asyncio.sleep(0)
    return made


def _sort(span: ReceivedSpan, rules: Sequence[KnownRule], key: bytes, made: Sorted) -> str:
    if not span.well_formed:
        return "malformed"
    if is_judge_call(span.raw.trace_state) or is_judge_trace(key, span.trace_id):
        return "judge"
    share = share_of(key, span.trace_id)
    wanted = [one for one in rules if _by_session(one) or share < one.rule.sample_rate]
    if not wanted and (rules or made.outcomes.total() >= EXAMINED_MAX):
        return "unsampled"
    attributes = span.attributes()
    try:
        observation = observe(span, attributes)
    except RecursionError:  # JSON in an attribute; the other spans of the request stay
        observation = None
    if observation is None:
        why = not_understood(span, attributes)
        if why is None:
            return "no_model"
        made.not_understood += [why] if len(made.not_understood) < SHOWN_MAX else []
        return "unmapped"
    pending = list(_pending(observation, attributes, wanted, key))
    made.pending += pending
    return "kept" if pending else "unmatched"


def _by_session(one: KnownRule) -> bool:
    return one.rule.group_by == "session"


def _pending(
    found: Observation, attributes: dict[str, Any], rules: Sequence[KnownRule], key: bytes
) -> Iterator[PendingSpan]:
    for one in rules:
        rule, session = one.rule, found.session or found.trace_id
        if one.condition is not None and not one.condition.matches(attributes):
            continue
        match rule.group_by:
            case "span":
                # Without a condition, the spans around a model's are not cases of their own.
                if found.output and (found.is_model or one.condition is not None):
                    group = f"{found.trace_id}:{found.span_id}"
                    yield PendingSpan(one.id, group, rule.delay_s, "never", found)
            case "trace":
                is_root = not found.parent_id
                wait_s = min(rule.delay_s, ROOT_GRACE_S) if is_root else rule.delay_s
                moves: Moves = "sooner" if is_root else "never"
                yield PendingSpan(one.id, found.trace_id, wait_s, moves, found)
            case "session" if share_of(key, session) < rule.sample_rate:
                named = hashlib.blake2b(session.encode("utf-8", "surrogatepass"), digest_size=16)
                group = f"session:{named.hexdigest()}"
                yield PendingSpan(one.id, group, rule.delay_s, "later", found)
