"""What a call is made of, before it is sent and after it is answered."""

from __future__ import annotations

import email.utils
import math
import os
import random
import time
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from decimal import Decimal
from pathlib import PurePath
from typing import Any
from urllib.parse import quote, urlsplit

import httpx2
import orjson

from assay import __version__
from assay.errors import ServiceError, to_error

DEFAULT_URL = "http://127.0.0.1:8080"
NDJSON = "application/x-ndjson"
RESPONSE_BYTES_MAX = 32 * 1_048_576
CONNECT_TIMEOUT_S = 10.0
STREAM_TIMEOUT_S = 60.0
"""A stream may last; if it is silent for this long, it is dead."""
RETRIED_STATUSES = frozenset({429, 503})
LOST = frozenset({"unreachable", "no_answer", "connection_lost"})
"""Failures after which it is not known whether the service did the work."""
LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})
JITTER_SHARE = 0.25
KEY_CHARS_MAX = 512
DETAIL_CHARS_MAX = 500
TEXTUAL = (Decimal, date, timedelta, PurePath)
"""Types whose text says the same as their value."""


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """How long a failed call is retried, and how long to wait where the service does not say."""

    retry_for_s: float = 60.0
    backoff_s: float = 0.25
    backoff_max_s: float = 8.0
    attempts_max: int = 10

    def wait_s(self, error: ServiceError, failures: int, *, repeatable: bool) -> float | None:
        """Seconds until the next attempt, with jitter; None if another would not help.

        A call that is not `repeatable` is only sent again after the service refused it.
        """
        lost = error.code in LOST and repeatable
        if error.status not in RETRIED_STATUSES and not lost:
            return None
        backoff_s = min(self.backoff_s * 2.0**failures, self.backoff_max_s)
        wait_s = backoff_s if error.retry_after_s is None else error.retry_after_s
        return wait_s * (1 + JITTER_SHARE * random.random())  # noqa: S311  # no secret


def service_url(url: str | None) -> str:
    """The URL given, or `ASSAY_URL`, or that of a service on this machine."""
    chosen = (url or os.environ.get("ASSAY_URL") or DEFAULT_URL).strip().rstrip("/")
    try:
        parts = httpx2.URL(chosen)
    except httpx2.InvalidURL:  # whose message may have a part of a password
        raise ValueError("the URL of the service has no valid host or port") from None
    if parts.scheme not in ("http", "https") or not parts.host or parts.query or parts.fragment:
        raise ValueError(
            "the URL of the service must start with http:// or https:// and a host, without a query"
        )
    return chosen


def checked_key(secret: str) -> str:
    """The API key without white space around it; raises `ValueError`, which does not show it."""
    secret = secret.strip()
    if not secret.isascii() or not secret.isprintable() or " " in secret:
        raise ValueError("the API key contains characters that no key has")
    if not 0 < len(secret) <= KEY_CHARS_MAX:
        raise ValueError(f"an API key has 1 to {KEY_CHARS_MAX} characters")
    return secret


def call_headers(api_key: str | None) -> dict[str, str]:
    """The headers of every call; the key is the one given, or `ASSAY_API_KEY`; "" is none."""
    headers = {"Accept": "application/json", "User-Agent": f"assay/{__version__}"}
    secret = os.environ.get("ASSAY_API_KEY", "").strip() if api_key is None else api_key
    return {**headers, "Authorization": f"Bearer {checked_key(secret)}"} if secret else headers


def uses_proxies(url: str) -> bool:
    """Whether the proxies of the environment apply: never on the way to this machine."""
    return urlsplit(url).hostname not in LOOPBACK


def json_headers(method: str, body: Mapping[str, Any]) -> dict[str, str]:
    """The headers of a body of JSON; under the key, a repeated call is not paid for twice.

    With `"store": false` the service takes no key, because it would keep the response.
    """
    headers = {"Content-Type": "application/json"}
    if method == "POST" and body.get("store") is not False:
        headers["Idempotency-Key"] = uuid.uuid4().hex
    return headers


def path_of(*parts: str) -> str:
    """The path of a resource under `/v1`, with its names escaped."""
    return "/v1/" + "/".join(quote(part, safe="") for part in parts)


def given(**values: Any) -> dict[str, Any]:
    """Those of the values that are not None."""
    return {name: value for name, value in values.items() if value is not None}


def to_json(value: Any) -> bytes:
    """JSON of what tables hold as well: numbers of numpy, dates, decimals, and text as bytes.

    Raises `InvalidRequest` for what JSON cannot hold, such as half a surrogate pair or an object
    of another library: its `repr` is nobody's text, and must not be judged.
    """
    options = orjson.OPT_SERIALIZE_NUMPY | orjson.OPT_NON_STR_KEYS
    try:
        return orjson.dumps(value, default=_text_of, option=options)
    except orjson.JSONEncodeError as error:
        raise to_error("invalid_request", f"The request cannot be JSON: {error}") from None


def _text_of(value: Any) -> str:
    if isinstance(value, bytes):
        return value.decode()
    if isinstance(value, TEXTUAL):
        return str(value)
    raise TypeError(f"{type(value).__name__} has no form in JSON")


def json_object(body: bytes) -> dict[str, Any]:
    """The JSON object in a body, which may be empty; raises `ServiceError`."""
    try:
        value = orjson.loads(body) if body else {}
    except orjson.JSONDecodeError as error:
        raise malformed(f"The response is not JSON: {error}") from error
    if not isinstance(value, dict):
        raise malformed("The response is not a JSON object.")
    return value


def malformed(detail: str) -> ServiceError:
    """The error of a response that cannot be read."""
    return ServiceError("malformed_answer", detail, 200)


def refuse_bad_rows(upload: Mapping[str, Any]) -> None:
    """Raises `InvalidRequest` with the lines of an upload that are no valid rows."""
    if upload["rejected"]:
        bad = ({"pointer": f"/{row['line']}", **row} for row in upload["bad_rows"])
        detail = f"{upload['rejected']} rows are invalid, so no row is judged."
        raise to_error("invalid_request", detail, 0, tuple(bad))


class LineReader:
    """Cuts chunks into complete lines."""

    def __init__(self) -> None:
        self._rest = bytearray()

    def lines(self, chunk: bytes) -> Iterator[bytes]:
        """The lines that end in this chunk; raises `ServiceError` if one is too long."""
        self._rest += chunk
        *lines, self._rest = self._rest.split(b"\n")
        if len(self._rest) > RESPONSE_BYTES_MAX:
            raise malformed("A line of the response is too long.")
        return map(bytes, lines)


def error_in(status: int, body: bytes, retry_after: str | None = None) -> ServiceError:
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
    detail = problem.get("detail") or problem.get("title") or f"HTTP status {status}"
    return to_error(
        str(problem.get("code") or f"http_{status}"),
        str(detail)[:DETAIL_CHARS_MAX],
        status,
        tuple(fault for fault in errors if isinstance(fault, dict))
        if isinstance(errors, list)
        else (),
        _retry_after_s(retry_after, problem.get("retry_after_s")),
    )


def _retry_after_s(header: str | None, field: Any) -> float | None:
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


def brief(error: BaseException) -> str:
    """Type and message of a connection error, cut to a line."""
    return f"{type(error).__name__}: {error}"[:200]
