"""What a provider's error response means: by its code, then its message, then its status."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

from assay.domain.errors import (
    ContextExceeded,
    KeyRejected,
    ModelError,
    ModelMissing,
    ProviderDown,
    RateLimited,
    RequestRejected,
    StreamBroken,
)

MESSAGE_CHARS_MAX = 200
RETRY_AFTER_S_MAX = 86_400.0

_STATUSES: Mapping[int, type[ModelError]] = {
    401: KeyRejected,
    402: KeyRejected,
    403: KeyRejected,
    404: ModelMissing,
    408: ProviderDown,
    413: ContextExceeded,
    429: RateLimited,
}
_SEARCHED_STATUSES = (400, 413, 422, None)
"""Statuses whose message is searched; elsewhere it could only quote the caller's text."""
_KEY_LIKE = re.compile(r"\S*(?:sk-|AIza|Bearer\s)\S*", re.IGNORECASE)
_UNPRINTABLE = re.compile(r"[^\x20-\x7e\xa0-\ud7ff\ue000-\uffff]+")


@dataclass(frozen=True, slots=True)
class Dialect:
    """How one provider expresses its errors.

    `codes` maps its codes, types, reasons and statuses. `phrases` maps parts of its message, in
    lower case, for errors without a code.
    """

    codes: Mapping[str, type[ModelError]]
    phrases: Sequence[tuple[str, type[ModelError]]] = ()


@dataclass(frozen=True, slots=True)
class ProviderError:
    """An error response in one form for all providers; `status` is None inside a stream."""

    status: int | None
    codes: tuple[str, ...] = ()
    message: str = ""
    retry_after_s: float | None = None

    @classmethod
    def read(cls, status: int | None, body: Any, headers: Mapping[str, str]) -> ProviderError:
        """Read a `body` of any shape; never raises."""
        error = body[0] if isinstance(body, list) and body else body
        error = error.get("error", error) if isinstance(error, dict) else error
        if not isinstance(error, dict):
            message = error if isinstance(error, str) else ""
            return cls(status, message=message, retry_after_s=retry_after_s(headers))
        details = [detail for detail in _list(error.get("details")) if isinstance(detail, dict)]
        named = [error.get(key) for key in ("code", "type", "status")]
        named += [detail.get("reason") for detail in details]
        if status is None and isinstance(error.get("code"), int):
            status = error["code"]
        return cls(
            status,
            tuple(code for code in named if isinstance(code, str)),
            str(error.get("message") or ""),
            _retry_delay_s(details) if (wait_s := retry_after_s(headers)) is None else wait_s,
        )


def failure(
    provider: str, dialect: Dialect, error: ProviderError, secret: str | None = None
) -> ModelError:
    """The `ModelError` for an error, with a message without the key and control characters."""
    kind = _kind(dialect, error)
    status = f"answered {error.status}" if error.status else "ended its stream with an error"
    message = f"{provider} {status}"
    # A rejected key may be quoted, and in parts that no mask recognises.
    if detail := "" if kind is KeyRejected else _safe(error.message, secret):
        message = f"{message}: {detail}"
    return kind(message, retry_after_s=error.retry_after_s)


def retry_after_s(headers: Mapping[str, str]) -> float | None:
    """Seconds to wait by the headers (RFC 9110, section 10.2.3, and OpenAI's `-ms`)."""
    if (milliseconds := _seconds(headers.get("retry-after-ms"))) is not None:
        return milliseconds / 1_000
    value = headers.get("Retry-After")
    if value is None or (seconds := _seconds(value)) is not None:
        return seconds if value is not None else None
    try:
        at = parsedate_to_datetime(value)
    except ValueError:
        return None
    if at.tzinfo is None:
        at = at.replace(tzinfo=UTC)
    return min(max((at - datetime.now(UTC)).total_seconds(), 0.0), RETRY_AFTER_S_MAX)


def _kind(dialect: Dialect, error: ProviderError) -> type[ModelError]:
    for code in error.codes:
        if code in dialect.codes:
            return dialect.codes[code]
    message = error.message.lower()
    for phrase, kind in dialect.phrases:
        if error.status in _SEARCHED_STATUSES and phrase in message:
            return kind
    if error.status is None:
        return StreamBroken
    if error.status in _STATUSES:
        return _STATUSES[error.status]
    # A redirect counts as down: to follow it would send the key elsewhere.
    is_client_error = error.status // 100 == 4  # noqa: PLR2004  # the class of the status
    return RequestRejected if is_client_error else ProviderDown


def _safe(text: str, secret: str | None) -> str:
    if secret:
        text = text.replace(secret, "[key]")
    text = _KEY_LIKE.sub("[key]", _UNPRINTABLE.sub(" ", text[: MESSAGE_CHARS_MAX * 4]))
    return text.strip()[:MESSAGE_CHARS_MAX]


def _retry_delay_s(details: Sequence[Mapping[str, Any]]) -> float | None:
    """Google's RetryInfo, a duration such as `34.5s`."""
    for detail in details:
        delay = detail.get("retryDelay")
        if isinstance(delay, str) and delay.endswith("s"):
            return _seconds(delay[:-1])
    return None


def _seconds(text: str | None) -> float | None:
    try:
        seconds = float(text or "")
    except ValueError:
        return None
    return min(max(seconds, 0.0), RETRY_AFTER_S_MAX) if math.isfinite(seconds) else None


def _list(value: Any) -> Sequence[Any]:
    return value if isinstance(value, list) else ()
