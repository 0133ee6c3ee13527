"""What a provider's error answer means: its own code first, then its words, then the status."""

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
_WORDED = (400, 413, 422, None)
"""Statuses whose message decides; elsewhere it could only repeat the caller's words."""
_KEY_LIKE = re.compile(r"\S*(?:sk-|AIza|Bearer\s)\S*", re.IGNORECASE)
_UNPRINTABLE = re.compile(r"[^\x20-\x7e\xa0-\ud7ff\ue000-\uffff]+")


@dataclass(frozen=True, slots=True)
class Dialect:
    """How one provider words its errors.

    `codes` maps its codes, types, reasons and statuses; `phrases` maps a piece of its message,
    in lower case, for what it gives no code for.
    """

    codes: Mapping[str, type[ModelError]]
    phrases: Sequence[tuple[str, type[ModelError]]] = ()


@dataclass(frozen=True, slots=True)
class ProviderError:
    """A provider's error answer in one form, whoever sent it; `status` is None inside a stream."""

    status: int | None
    codes: tuple[str, ...] = ()
    message: str = ""
    retry_after_s: float | None = None

    @classmethod
    def read(cls, status: int | None, body: Any, headers: Mapping[str, str]) -> ProviderError:
        """Read `body`, whatever its shape; never raises."""
        error = body[0] if isinstance(body, list) and body else body
        error = error.get("error", error) if isinstance(error, dict) else error
        if not isinstance(error, dict):
            message = error if isinstance(error, str) else ""
            return cls(status, message=message, retry_after_s=retry_after_s(headers))
        details = [each for each in _sequence(error.get("details")) if isinstance(each, dict)]
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
    provider: str, dialect: Dialect, problem: ProviderError, secret: str | None = None
) -> ModelError:
    """The error that `problem` means, with a message that holds neither key nor control codes."""
    kind = _kind(dialect, problem)
    status = f"answered {problem.status}" if problem.status else "ended its stream with an error"
    message = f"{provider} {status}"
    if said := "" if kind is KeyRejected else _safe(problem.message, secret):
        message = f"{message}: {said}"
    return kind(message, retry_after_s=problem.retry_after_s)


def retry_after_s(headers: Mapping[str, str]) -> float | None:
    """Seconds to wait as the headers ask; source: RFC 9110, section 10.2.3, and OpenAI's `-ms`."""
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


def _kind(dialect: Dialect, problem: ProviderError) -> type[ModelError]:
    for code in problem.codes:
        if code in dialect.codes:
            return dialect.codes[code]
    words = problem.message.lower()
    for phrase, kind in dialect.phrases:
        if problem.status in _WORDED and phrase in words:
            return kind
    if problem.status is None:
        return StreamBroken
    if problem.status in _STATUSES:
        return _STATUSES[problem.status]
    # A redirect counts as down: to follow it would carry the key elsewhere.
    is_callers_fault = problem.status // 100 == 4  # noqa: PLR2004  # the class of the status
    return RequestRejected if is_callers_fault else ProviderDown


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


def _sequence(value: Any) -> Sequence[Any]:
    return value if isinstance(value, list) else ()
