"""The query of a list, `cursor` and `limit`, and its OpenAPI parameters."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from starlette.requests import Request

from assay.http.openapi import query_parameter
from assay.http.problems import invalid_request

LIMIT = re.compile(r"[0-9]{1,9}")


@dataclass(frozen=True, slots=True)
class Paging:
    """How many entries of a list a page may hold, and the pattern of the list's cursors."""

    largest: int
    default: int
    cursor_pattern: str

    def limit(self, request: Request) -> int:
        """`limit` of a request; raises `RequestError`."""
        limit = request.query_params.get("limit", str(self.default))
        if not LIMIT.fullmatch(limit) or not 1 <= int(limit) <= self.largest:
            raise invalid_request("", f"limit must be from 1 to {self.largest}")
        return int(limit)

    def cursor(self, request: Request) -> str:
        """`cursor` of a request; empty for the first page; raises `RequestError`."""
        cursor = request.query_params.get("cursor")
        if cursor is not None and not re.fullmatch(self.cursor_pattern, cursor):
            raise invalid_request("", "cursor must be a next_cursor from an earlier response")
        return cursor or ""

    def parameters(self) -> list[dict[str, Any]]:
        """The OpenAPI parameters of the list."""
        cursor = {"type": "string", "pattern": f"^{self.cursor_pattern}$"}
        size = {"type": "integer", "minimum": 1, "maximum": self.largest, "default": self.default}
        return [
            query_parameter("cursor", "`next_cursor` of the page before.", cursor),
            query_parameter("limit", "Entries of the page.", size),
        ]
