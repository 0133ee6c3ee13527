"""Hooks of Schemathesis: what generated requests need beyond the OpenAPI document, and a check."""

from __future__ import annotations

import itertools
import re
from typing import Any

import schemathesis

NUMBERS = itertools.count()

STATED = re.compile(
    r"is required|unknown field|must be an? (object|list|number|boolean|valid)|must match|"
    r"must be (greater|less) than|must have at (least|most) \d+ (character|item)|must be at most"
)
"""Messages about what a JSON Schema states: types, bounds, lengths, patterns and names of fields.

Others are about fields that depend on each other, or on what only a program knows: whether a
pattern compiles, a language is known, or a judge is configured.
"""


@schemathesis.hook
def before_call(_context: Any, case: Any, _kwargs: dict[str, Any]) -> None:
    """An idempotency key belongs to one request, so each request gets one of its own."""
    if "Idempotency-Key" in (case.headers or {}):
        case.headers["Idempotency-Key"] += f"-{next(NUMBERS)}"


@schemathesis.serializer("application/x-ndjson")
def json_lines(_context: Any, value: Any) -> Any:
    """JSON Lines are sent as the text that was generated."""
    return str(value).encode("utf-8", "replace")


@schemathesis.check
def refused_for_what_no_schema_states(_context: Any, response: Any, case: Any) -> None:
    """A judgement whose request fits its schema is never refused for what the schema states."""
    if response.status_code == 422 and case.meta.generation.mode.value == "positive":
        stated = [
            fault for fault in response.json().get("errors", ()) if STATED.match(fault["message"])
        ]
        assert not stated, stated
