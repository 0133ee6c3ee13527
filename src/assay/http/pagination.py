"""The query of a list, `cursor` and `limit`, and its OpenAPI parameters."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from starlette.requests import Request

from assay.domain.errors import RequestError
from assay.http.problems import invalid_request

CURSOR_DIGITS_MAX = 16
LIMIT_DIGITS_MAX = 9


@dataclass(frozen=True, slots=True)
class PageSize:
    """How many entries of a list a page may hold."""

    largest: int
    default: int

    def limit(self, request: Request) -> int:
        """`limit` of a request; raises `RequestError`."""
        limit = request.query_params.get("limit", str(self.default))
        if not _is_number(limit, LIMIT_DIGITS_MAX) or not 1 <= int(limit) <= self.largest:
            raise invalid_request("", f"limit must be from 1 to {self.largest}")
        return int(limit)

    def parameters(self) -> list[dict[str, Any]]:
        """The OpenAPI parameters of the list."""
        size = {"type": "integer", "minimum": 1, "maximum": self.largest, "default": self.default}
        return [
            {"name": "cursor", "in": "query", "required": False, "schema": {"type": "string"}},
            {"name": "limit", "in": "query", "required": False, "schema": size},
        ]


def index_cursor(request: Request) -> int:
    """`cursor` of a list whose cursors are indices; 0 by default; raises `RequestError`."""
    cursor = request.query_params.get("cursor", "0")
    if not _is_number(cursor, CURSOR_DIGITS_MAX):
        raise invalid_cursor()
    return int(cursor)


def invalid_cursor() -> RequestError:
    """The error for a cursor that no response contained."""
    return invalid_request("", "cursor must be a next_cursor from an earlier response")


def _is_number(text: str, digits_max: int) -> bool:
    return text.isascii() and text.isdigit() and len(text) <= digits_max
