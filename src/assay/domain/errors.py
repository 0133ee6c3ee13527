"""The error tree.

    AssayError                     code, safe message
    ├── RequestError               the caller's request is at fault; costs nothing
    ├── StoreUnavailable           Redis does not answer
    └── ModelError                 a model gave no usable completion
        ├── RequestRejected        400, 422
        ├── ContentFiltered        the provider's filter, before or in the answer
        ├── ContextExceeded        413, or the prompt is longer than the window
        ├── KeyRejected            401, 402, 403
        │   └── KeyStillRejected   set aside since a recent one; nothing was sent
        ├── ModelMissing           404
        ├── ProviderDown           408, 5xx, refused, reset, TLS
        ├── ProviderSilent         no byte within the silence timeout
        ├── RateLimited            429
        ├── StreamBroken           cut or malformed answer
        ├── AnswerUnreadable       the verdict does not parse
        ├── AnswerTruncated        the verdict was cut at the output limit
        ├── AnswerRefused          the judge declined to judge
        ├── QuotaExhausted         our own budget for the model is spent
        ├── Overloaded             this process has no slot within the deadline
        ├── BreakerOpen            the circuit breaker holds the call back
        ├── CostCapReached         the next call could exceed the caller's cost cap
        ├── DeadlineExceeded       no time is left
        └── NoCandidate            every candidate failed; carries all their attempts

What a failure means (try the same model again, try the next, count it against the breaker) is
written once, as the class attributes below: retry, router and breaker only read them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal

if TYPE_CHECKING:
    from assay.domain.completion import Attempt
    from assay.domain.policy import SpentQuota

Retry = Literal["no", "once", "after_wait", "repair"]

Reason = Literal[
    "judge_parse_error",
    "judge_refused",
    "judge_truncated",
    "judge_suspect",
    "quota_exhausted",
    "overloaded",
    "providers_unavailable",
    "deadline_exceeded",
    "input_too_long",
    "cost_cap_reached",
    "required_check_failed",
    "reference_missing",
    "context_missing",
    "check_error",
]
"""Why a criterion is unscored or skipped, as callers read it."""


class AssayError(Exception):
    """Base of all errors; `message` is safe to show to a caller."""

    code: str = "internal"

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message


@dataclass(frozen=True, slots=True)
class FieldError:
    """One fault in a request: a JSON pointer (RFC 6901) to the field and what is wrong with it."""

    pointer: str
    message: str


class RequestError(AssayError):
    """The request is at fault; `code` is one of the contract's codes (see api/problems.py)."""

    def __init__(self, code: str, message: str, errors: Sequence[FieldError] = ()) -> None:
        super().__init__(message)
        self.code = code
        self.errors = tuple(errors)


class StoreUnavailable(AssayError):
    """Redis does not answer, and what was asked cannot be done without it."""

    code = "store_unavailable"


class NotApplicable(Exception):
    """A criterion cannot be applied to the case; `reason` is one of the contract's reasons."""

    def __init__(
        self,
        reason: Literal[
            "reference_missing",
            "context_missing",
            "check_error",
            "input_too_long",
            "deadline_exceeded",
        ],
        message: str,
    ) -> None:
        super().__init__(message)
        self.reason = reason
        self.message = message


class ModelError(AssayError):
    """A model gave no usable completion; the class attributes say what to do about it."""

    code = "providers_unavailable"
    outcome: ClassVar[str] = "error"
    retry: ClassVar[Retry] = "no"
    try_next: ClassVar[bool] = True
    trips_breaker: ClassVar[bool] = False
    reason: ClassVar[Reason] = "providers_unavailable"

    def __init__(
        self,
        message: str,
        *,
        retry_after_s: float | None = None,
        attempts: Sequence[Attempt] = (),
    ) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s
        self.attempts = tuple(attempts)
        self.spent: SpentQuota | None = None


class RequestRejected(ModelError):
    outcome, try_next, reason = "request_rejected", False, "check_error"


class ContentFiltered(ModelError):
    outcome, try_next, reason = "content_filtered", False, "judge_refused"


class ContextExceeded(ModelError):
    """Only a candidate with a larger window is worth trying; the router knows the windows."""

    outcome, reason = "context_exceeded", "input_too_long"


class KeyRejected(ModelError):
    outcome = "key_rejected"


class KeyStillRejected(KeyRejected):
    """The key was rejected a moment ago and is set aside: nothing was sent."""

    outcome = "key_set_aside"


class ModelMissing(ModelError):
    outcome = "model_missing"


class ProviderDown(ModelError):
    outcome, retry, trips_breaker = "provider_down", "once", True


class ProviderSilent(ModelError):
    outcome, trips_breaker = "provider_silent", True


class RateLimited(ModelError):
    outcome, retry, reason = "rate_limited", "after_wait", "quota_exhausted"


class StreamBroken(ModelError):
    outcome, trips_breaker = "stream_broken", True


class AnswerUnreadable(ModelError):
    """The verdict does not parse; `message` is what the judge is told when it is asked again."""

    outcome, retry, reason = "answer_unreadable", "repair", "judge_parse_error"


class AnswerTruncated(ModelError):
    outcome, reason = "answer_truncated", "judge_truncated"


class AnswerRefused(ModelError):
    outcome, reason = "answer_refused", "judge_refused"


class QuotaExhausted(ModelError):
    code = "quota_exhausted"
    outcome, reason = "quota_exhausted", "quota_exhausted"


class Overloaded(ModelError):
    """Slots are kept for each model: another one may have a free slot."""

    code = "overloaded"
    outcome, reason = "overloaded", "overloaded"


class BreakerOpen(ModelError):
    outcome = "breaker_open"


class CostCapReached(ModelError):
    outcome, reason = "cost_cap_reached", "cost_cap_reached"


class DeadlineExceeded(ModelError):
    """The caller's time is over; `silent_s` is how long the provider then owed its first byte."""

    code = "deadline_exceeded"
    outcome, try_next, reason = "deadline_exceeded", False, "deadline_exceeded"

    def __init__(
        self,
        message: str,
        *,
        retry_after_s: float | None = None,
        attempts: Sequence[Attempt] = (),
        silent_s: float = 0.0,
    ) -> None:
        super().__init__(message, retry_after_s=retry_after_s, attempts=attempts)
        self.silent_s = silent_s


UNSENT_OUTCOMES = frozenset(
    error.outcome
    for error in (KeyStillRejected, QuotaExhausted, Overloaded, BreakerOpen, CostCapReached)
)
"""Outcomes of candidates passed over before anything was sent: they use up no attempt."""


# A judge that did answer tells the caller more than one that did not; see `NoCandidate`.
_REASONS_BY_WORTH: tuple[Reason, ...] = (
    "judge_parse_error",
    "judge_refused",
    "judge_truncated",
    "input_too_long",
    "check_error",
    "cost_cap_reached",
    "deadline_exceeded",
    "overloaded",
    "providers_unavailable",
    "quota_exhausted",
)


class NoCandidate(ModelError):
    """Every candidate failed; its reason is the most telling one among the failures."""

    def __init__(self, failures: Sequence[ModelError]) -> None:
        by_worth = sorted(failures, key=lambda each: _REASONS_BY_WORTH.index(each.reason))
        telling = by_worth[0] if by_worth else ModelError("no model is configured for this judge")
        waits = [each.retry_after_s for each in failures if each.retry_after_s is not None]
        super().__init__(
            telling.message,
            retry_after_s=min(waits, default=None),
            attempts=[attempt for each in failures for attempt in each.attempts],
        )
        self.code = telling.code
        self.reason = telling.reason  # type: ignore[misc]  # the one instance-level reason
        self.outcome = telling.outcome  # type: ignore[misc]
        self.failures = tuple(failures)
        # That of the shortest wait, as the wait itself.
        spent = [each for each in failures if each.spent and each.retry_after_s is not None]
        if spent:
            self.spent = min(spent, key=lambda each: each.retry_after_s or 0.0).spent
