"""Actions that cannot be undone or that concern others, and the port of the log that keeps them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import NamedTuple, Protocol

from assay.domain.completion import doc


@dataclass(frozen=True, slots=True)
class Action:
    """Who did what to what, with which result; `key_added` and its like come from the keys file."""

    at: str
    action: str = field(metadata=doc("The operation of the API, such as `delete_dataset`."))
    target: str = field(metadata=doc("The path of what it was done to, or a key's name."))
    detail: str
    tenant: str
    key: str = field(metadata=doc("Name of the API key that was used, if it has one."))
    status: int | None = field(
        metadata=doc("Of the response. Null for a change of keys; 403: it was not allowed.")
    )
    request_id: str

    @property
    def result(self) -> str:
        """`done`, `refused` because the key does not permit it, or `uncertain` after an error."""
        if self.status is None or self.status < HTTPStatus.BAD_REQUEST:
            return "done"
        return "refused" if self.status == HTTPStatus.FORBIDDEN else "uncertain"


class ActionPage(NamedTuple):
    """Some actions, newest first, each with its id; and from where older ones are read."""

    actions: Sequence[tuple[str, Action]]
    next_cursor: str | None


class AuditLog(Protocol):
    """The kept actions of all tenants."""

    async def page(self, before: str, limit: int, since_ms: int, action: str) -> ActionPage:
        """At most `limit` actions older than `before`; raises `StoreUnavailable`.

        Empty texts and 0 do not restrict. A page may be short while older actions are left.
        """
        ...
