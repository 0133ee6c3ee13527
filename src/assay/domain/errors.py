"""What goes wrong: the caller's request, the store, or a model, with a class for each kind.

What a failure means is written once, as the class attributes of `ModelError`: try the same model
again, try the next candidate, what it means for the breaker, whether it may cost money, whether it
passes by itself. The layers read the attributes and keep no lists of their own.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal, get_args

from assay.domain.call_results import ANSWERED, FAILURE, NO_RESULT, SILENT, CallResult
from assay.domain.problem_codes import ProblemCode

if TYPE_CHECKING:
    from assay.domain.completion import Attempt, Usage
    from assay.domain.policy import SpentQuota
    from assay.domain.sampling import Parameter

Retry = Literal["no", "once", "after_wait", "repair", "longer"]

NextCandidate = Literal["any", "no_smaller_window", "by_policy", "none"]
"""Which of the other candidates is worth asking after a failure; `by_policy`: as `on_refusal`."""

Reason = Literal[
    "judge_parse_error",
    "judge_refused",
    "judge_truncated",
    "judge_suspect",
    "judge_unsure",
    "input_too_long",
    "check_error",
    "cost_cap_reached",
    "deadline_exceeded",
    "overloaded",
    "providers_unavailable",
    "quota_exhausted",
    "input_unavailable",
    "input_unsupported",
    "reference_missing",
    "context_missing",
    "variable_missing",
    "condition_not_met",
    "required_check_failed",
]
"""Why a criterion is unscored or skipped, as callers read it.

The most telling one stands first: of several failures, that of a judge that did answer explains the
most, and one that passes by itself explains the least.
"""

MOST_TELLING_FIRST: tuple[Reason, ...] = get_args(Reason)
SKIP_REASONS: tuple[Reason, ...] = ("condition_not_met", "required_check_failed")
"""Why a criterion is skipped, and not unscored."""


class DomainError(Exception):
    """Base of all errors; `message` is safe to show to a caller.

    With the code `internal` it is not shown.
    """

    code: ProblemCode = "internal"

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message


@dataclass(frozen=True, slots=True)
class FieldError:
    """One fault in a request: a JSON pointer (RFC 6901) to the field and what is wrong with it."""

    pointer: str
    message: str


class RequestError(DomainError):
    """The request is at fault: what it says, or the state of what it names."""

    def __init__(self, code: ProblemCode, message: str, errors: Sequence[FieldError] = ()) -> None:
        super().__init__(message)
        self.code = code
        self.errors = tuple(errors)


class StoreUnavailable(DomainError):
    """Redis does not answer, and the operation needs it."""

    code = "store_unavailable"


class NotApplicable(Exception):
    """A criterion cannot be applied to the case; `reason` is one of the contract's reasons."""

    def __init__(self, reason: Reason, message: str) -> None:
        super().__init__(message)
        self.reason = reason
        self.message = message


class ModelError(DomainError):
    """A model gave no usable completion; the class attributes say what to do about it.

    `outcome` is what the attempt is called in results and metrics. `sent` is False where the
    candidate was passed over before anything was sent: that uses up no attempt. `billable`: the
    provider may have made tokens, so an estimated charge stays. `transient`: another time may go
    better. `wants_time`: a caller with a later deadline may be served. `prompt_specific`: the same
    question in another prompt may be answered.
    """

    code: ProblemCode = "providers_unavailable"
    outcome: ClassVar[str] = "error"
    reason: ClassVar[Reason] = "providers_unavailable"
    retry: ClassVar[Retry] = "no"
    next_candidate: ClassVar[NextCandidate] = "any"
    call_result: ClassVar[CallResult] = ANSWERED
    sent: ClassVar[bool] = True
    billable: ClassVar[bool] = True
    transient: ClassVar[bool] = True
    wants_time: ClassVar[bool] = False
    prompt_specific: ClassVar[bool] = False

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
        self.log_message = "" if self.prompt_specific else message
        """What a log line may show: nothing that could quote the caller's text."""
        self.spent: SpentQuota | None = None
        self.usage: Usage | None = None
        """What the provider counted for an answer that it ended without a usable text."""
        self.idle_s = 0.0
        """How long the provider owed its first byte when the call ended; 0 once a byte came."""


class RequestRejected(ModelError):
    """One model's API takes a parameter that another does not, so the others are worth trying.

    `parameter` is the one that the API names as unsupported, if it does.
    """

    outcome, billable, transient = "request_rejected", False, False
    parameter: Parameter | None = None


class PromptUnsendable(RequestRejected):  # a text that JSON cannot hold
    reason, next_candidate = "check_error", "none"


class ContentFiltered(ModelError):
    """Each provider filters by its own rules."""

    outcome, reason = "content_filtered", "judge_refused"
    next_candidate, transient, prompt_specific = "by_policy", False, True


class ContextExceeded(ModelError):
    """A candidate with a smaller window is not worth trying; the router knows the windows."""

    outcome, reason = "context_exceeded", "input_too_long"
    next_candidate, transient, prompt_specific = "no_smaller_window", False, True


class InputUnsupported(ModelError):
    """The model cannot read the images, or what is given as an image is none."""

    outcome, reason = "input_unsupported", "input_unsupported"
    billable, transient = False, False


class ModelBlind(InputUnsupported):
    """The model is not known to take images: a verdict on the text alone would be blind."""

    outcome, sent, call_result = "model_blind", False, NO_RESULT


class QuestionUnsupported(InputUnsupported):
    """The model was trained for other questions; nothing was sent."""

    outcome, sent, call_result = "question_unsupported", False, NO_RESULT
    prompt_specific = True


class InputUnavailable(ModelError):
    """An image could not be fetched for a reason that may pass."""

    code: ProblemCode = "input_unavailable"
    outcome, reason = "input_unavailable", "input_unavailable"
    sent, billable, call_result, wants_time = False, False, NO_RESULT, True


class KeyRejected(ModelError):  # 401, 402, 403
    outcome, billable = "key_rejected", False


class KeyInQuarantine(KeyRejected):
    """The key was rejected a moment ago and is in quarantine: nothing was sent."""

    outcome, sent, call_result = "key_set_aside", False, NO_RESULT


class ModelMissing(ModelError):  # 404, 501
    outcome, billable = "model_missing", False


class ProviderDown(ModelError):
    outcome, retry, call_result = "provider_down", "once", FAILURE


class NameUnresolved(ProviderDown):
    outcome = "dns_failed"


class ConnectionRefused(ProviderDown):
    outcome = "connection_refused"


class ConnectionReset(ProviderDown):  # before the first byte of an answer
    outcome = "connection_reset"


class ConnectTimedOut(ProviderDown):
    outcome = "connect_timeout"


class TlsFailed(ProviderDown):  # the handshake, or the certificate
    outcome = "tls_failed"


class ServerError(ProviderDown):  # 408, 5xx, a redirect
    outcome = "server_error"


class ProviderSilent(ModelError):
    outcome, call_result = "provider_silent", SILENT


class RateLimited(ModelError):  # 429
    outcome, reason = "rate_limited", "quota_exhausted"
    retry, billable = "after_wait", False


class StreamBroken(ModelError):  # cut, malformed, or ended with a word for an error
    outcome, call_result = "stream_broken", FAILURE


class AnswerUnreadable(ModelError):
    """The verdict does not parse; `message` is shown to the judge when it is asked again."""

    outcome, reason = "answer_unreadable", "judge_parse_error"
    retry, transient, prompt_specific = "repair", False, True


class AnswerUnusable(ModelError):  # of what is no judge, and not as agreed
    outcome, reason, transient = "answer_unusable", "judge_parse_error", False


class VectorsUnusable(AnswerUnusable):  # the embeddings do not fit the texts
    outcome = "vectors_unusable"


class DecisionUnusable(AnswerUnusable):  # the probabilities do not fit the questions
    outcome = "decision_unusable"


class ReadingFailed(ModelError):
    """Reading the answer met an unexpected error, which is ours and not the judge's."""

    outcome, reason, transient = "internal_error", "check_error", False


class AnswerTruncated(ModelError):
    outcome, reason = "answer_truncated", "judge_truncated"
    retry, transient, prompt_specific = "longer", False, True


class AnswerRefused(ModelError):
    outcome, reason = "answer_refused", "judge_refused"
    next_candidate, transient, prompt_specific = "by_policy", False, True


class QuotaExhausted(ModelError):  # our own budget for the model
    code = "quota_exhausted"
    outcome, reason = "quota_exhausted", "quota_exhausted"
    sent, billable, call_result, wants_time = False, False, NO_RESULT, True


class Overloaded(ModelError):
    """Slots are kept for each model: another one may have a free slot."""

    code = "overloaded"
    outcome, reason = "overloaded", "overloaded"
    sent, billable, call_result, wants_time = False, False, NO_RESULT, True


class BreakerOpen(ModelError):  # not sent
    outcome = "breaker_open"
    sent, billable, call_result = False, False, NO_RESULT


class AnswerPending(ModelError):
    outcome, next_candidate = "answer_pending", "none"
    sent, call_result = False, NO_RESULT  # and billable: what is reserved for it stays so


class AnswerUndelivered(ModelError):
    """No job answered the call `key`, which is to be made directly."""

    outcome, next_candidate = "answer_undelivered", "none"
    sent, billable, call_result = False, False, NO_RESULT

    def __init__(self, message: str, key: str = "") -> None:
        super().__init__(message)
        self.key = key


class CostCapReached(ModelError):
    outcome, reason = "cost_cap_reached", "cost_cap_reached"
    sent, billable, call_result, transient = False, False, NO_RESULT, False


class DeadlineExceeded(ModelError):
    """The call's time is over. The next candidate is asked where the request has time left."""

    code = "deadline_exceeded"
    outcome, reason = "deadline_exceeded", "deadline_exceeded"
    call_result, wants_time = NO_RESULT, True


def error_classes() -> list[type[ModelError]]:
    """Every class of the tree under `ModelError`, itself included."""
    found: list[type[ModelError]] = [ModelError]
    for cls in found:
        found.extend(cls.__subclasses__())
    return found


class NoCandidate(ModelError):
    """Every candidate failed; its reason is the most telling one among the failures."""

    def __init__(self, failures: Sequence[ModelError]) -> None:
        by_worth = sorted(failures, key=lambda failure: MOST_TELLING_FIRST.index(failure.reason))
        telling = by_worth[0] if by_worth else ModelError("No model is configured for this judge.")
        waits = [error.retry_after_s for error in failures if error.retry_after_s is not None]
        super().__init__(
            telling.message,
            retry_after_s=min(waits, default=None),
            attempts=[attempt for failure in failures for attempt in failure.attempts],
        )
        self.code = telling.code
        self.reason = telling.reason  # type: ignore[misc]  # the one instance-level reason
        self.outcome = telling.outcome  # type: ignore[misc]
        self.failures = tuple(failures)
        # The quota that belongs to the shortest wait.
        spent = [error for error in failures if error.spent and error.retry_after_s is not None]
        if spent:
            self.spent = min(spent, key=lambda error: error.retry_after_s or 0.0).spent


UNSENT_OUTCOMES = frozenset(cls.outcome for cls in error_classes() if not cls.sent)
"""Outcomes of candidates passed over before anything was sent: they use up no attempt."""

TRANSIENT_REASONS: frozenset[Reason] = frozenset(
    cls.reason for cls in error_classes() if cls.transient
)
"""Reasons that lie with us or the providers, and that may pass."""

PROMPT_SPECIFIC_REASONS: frozenset[Reason] = frozenset(
    cls.reason for cls in error_classes() if cls.prompt_specific
)
"""Reasons that may not arise with another prompt for the same question."""
