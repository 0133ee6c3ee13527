"""Every response that is not a result, and every failure to get one."""

from __future__ import annotations

import email.utils
import math
import time
from collections.abc import Mapping
from typing import Any

import orjson

UNREACHABLE = "unreachable"
NO_ANSWER = "no_answer"
MALFORMED = "malformed_answer"
DETAIL_CHARS_MAX = 500


class ServiceError(Exception):
    """A problem document (RFC 9457), or a failure to get a response.

    `code` is a problem code of the API, `unreachable` (no connection), `no_answer` (cut off or
    too late), `malformed_answer`, or `http_NNN` for the response of something else, such as a
    gateway. `status` is 0 without a response.
    """

    def __init__(
        self,
        code: str,
        detail: str,
        *,
        status: int = 0,
        errors: tuple[Mapping[str, Any], ...] = (),
        retry_after_s: float | None = None,
    ) -> None:
        super().__init__(f"{code}: {detail}")
        self.code = code
        self.status = status
        self.detail = detail
        self.errors = errors
        self.retry_after_s = retry_after_s

    def to_dict(self) -> dict[str, Any]:
        """The error as a results file contains it."""
        return {
            "code": self.code,
            "status": self.status,
            "detail": self.detail,
            "errors": [dict(fault) for fault in self.errors],
        }


def service_error(status: int, body: bytes, retry_after: str | None = None) -> ServiceError:
    """The error in a response: a problem document, or the text of a gateway."""
    try:
        problem = orjson.loads(body)
    except orjson.JSONDecodeError:
        problem = None
    if not isinstance(problem, dict):
        problem = {}
    if isinstance(inner := problem.get("error"), dict):  # OpenAI's form
        problem = {"code": inner.get("code"), "detail": inner.get("message")}
    errors = problem.get("errors")
    return ServiceError(
        str(problem.get("code") or f"http_{status}"),
        str(problem.get("detail") or problem.get("title") or f"HTTP status {status}")[
            :DETAIL_CHARS_MAX
        ],
        status=status,
        errors=tuple(fault for fault in errors if isinstance(fault, dict))
        if isinstance(errors, list)
        else (),
        retry_after_s=_wait_s(retry_after, problem.get("retry_after_s")),
    )


def _wait_s(header: str | None, field: Any) -> float | None:
    """Seconds to wait: the field is finer than the header, which can be a date (RFC 9110)."""
    if isinstance(field, int | float) and math.isfinite(field):
        return max(0.0, float(field))
    if header is None:
        return None
    if header.strip().isascii() and header.strip().isdigit():
        return float(header.strip()[:9])
    try:
        return max(0.0, email.utils.parsedate_to_datetime(header).timestamp() - time.time())
    except (ValueError, OverflowError):
        return None
