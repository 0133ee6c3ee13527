"""Which requests the audit log has: those that cannot be undone, or that concern others."""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from assay.domain.audit import Action
from assay.domain.ids import now_ms, shown_time

OPERATIONS = frozenset({"order_breaker", "create_erasure"})
"""Beside everything that DELETE does."""
TARGET_CHARS_MAX = 300
UNCERTAIN_FROM = 499
"""From this status on, the caller does not know whether it was done."""


def audited(scope: Mapping[str, Any], status: int) -> Action | None:
    """The action of a request that was answered; None for one that the log does not have.

    What was done, what may have been, and what the key was not allowed to do count. A request
    without a known key does not, since anyone could fill the log with such.
    """
    route, state = scope.get("route"), scope["state"]
    operation = str(getattr(route, "operation_id", None) or getattr(route, "name", ""))
    wanted = operation in OPERATIONS or (operation and scope["method"] == "DELETE")
    counts = (
        status < HTTPStatus.BAD_REQUEST
        or status == HTTPStatus.FORBIDDEN
        or status >= UNCERTAIN_FROM
    )
    if not (wanted and counts and state.get("tenant")):
        return None
    return Action(
        at=shown_time(now_ms()),
        action=operation,
        target=scope["path"][:TARGET_CHARS_MAX],
        detail=state.get("audit_detail", ""),
        tenant=state["tenant"],
        key=state.get("key_name", ""),
        status=status,
        request_id=state["request_id"],
    )
