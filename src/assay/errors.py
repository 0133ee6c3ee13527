"""What calls of the client raise.

AssayError
└ ServiceError             every call that failed
  ├ InvalidRequest         `errors` names the fields at fault
  ├ Unauthorized           no API key, or a wrong one
  ├ Forbidden              the key's role does not permit it
  ├ NotFound
  ├ Conflict               the resource's state does not allow it
  ├ TooManyRequests        a quota or rate limit; `retry_after_s` says how long to wait
  ├ ServiceUnavailable     busy, or something behind the service does not answer
  ├ TimedOut               no answer in time
  └ ConnectionFailed       no connection, or one that was lost
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

FAULTS_SHOWN_MAX = 3
INSTALL = "pip install 'assay-judge[server]'"
"""What adds the service to an installation of the client alone."""


class AssayError(Exception):
    """The base of all errors that the client raises."""


class LocalServiceError(AssayError):
    """A private service does not start; the message says why."""


class ServiceError(AssayError):
    """A problem document (RFC 9457), or a failure to get a response.

    `code` is a problem code of the API, `unreachable` (no connection), `no_answer` (cut off or
    too late), `malformed_answer`, or `http_NNN` for the response of something else, such as a
    gateway. `status` is 0 without a response. Each of `errors` has a `pointer` to the field at
    fault and a `message`.
    """

    def __init__(
        self,
        code: str,
        detail: str,
        status: int = 0,
        errors: tuple[Mapping[str, Any], ...] = (),
        retry_after_s: float | None = None,
    ) -> None:
        super().__init__(code, detail, status, errors, retry_after_s)
        self.code = code
        self.detail = detail
        self.status = status
        self.errors = errors
        self.retry_after_s = retry_after_s

    def __str__(self) -> str:
        faults = [
            f"{fault.get('pointer') or ''}: {fault.get('message')}".removeprefix(": ")
            for fault in self.errors
        ]
        # The detail of a single fault is the fault itself.
        shown = [fault for fault in faults if fault not in self.detail][:FAULTS_SHOWN_MAX]
        return f"{self.code}: {self.detail}" + (f" ({'; '.join(shown)})" if shown else "")

    def to_dict(self) -> dict[str, Any]:
        """The error as a results file contains it."""
        return {
            "code": self.code,
            "status": self.status,
            "detail": self.detail,
            "errors": [dict(fault) for fault in self.errors],
        }


class InvalidRequest(ServiceError):
    """The request is wrong; the same one cannot succeed."""


class Unauthorized(ServiceError):
    """The service needs an API key, or does not know this one."""


class Forbidden(ServiceError):
    """The role of the API key does not permit this."""


class NotFound(ServiceError):
    """There is no such resource."""


class Conflict(ServiceError):
    """The resource's current state does not allow this."""


class TooManyRequests(ServiceError):
    """A quota or a rate limit is exhausted."""


class ServiceUnavailable(ServiceError):
    """The service is busy, or something that it needs does not answer."""


class TimedOut(ServiceError):
    """There was no answer in time."""


class ConnectionFailed(ServiceError):
    """There is no connection to the service, or it was lost."""


_CODES: Mapping[type[ServiceError], tuple[str, ...]] = {
    InvalidRequest: (
        *("malformed_http", "malformed_json", "method_not_allowed", "body_too_large"),
        *("unsupported_media_type", "invalid_request", "unknown_criterion", "unknown_model"),
        *("bad_row", "http_400", "http_405", "http_413", "http_415", "http_422"),
    ),
    Unauthorized: ("unauthenticated", "http_401"),
    Forbidden: ("forbidden", "http_403"),
    NotFound: ("not_found", "http_404"),
    Conflict: ("conflict", "idempotency_key_reused", "http_409"),
    TooManyRequests: ("tenant_rate_limited", "quota_exhausted", "http_429"),
    ServiceUnavailable: (
        *("overloaded", "providers_unavailable", "input_unavailable", "store_unavailable"),
        *("records_unavailable", "http_502", "http_503"),
    ),
    TimedOut: ("deadline_exceeded", "request_timeout", "no_answer", "http_408", "http_504"),
    ConnectionFailed: ("unreachable", "connection_lost"),
    ServiceError: ("internal", "malformed_answer", "http_500"),
}
ERRORS: Mapping[str, type[ServiceError]] = {
    code: error for error, codes in _CODES.items() for code in codes
}
"""The class of each code."""


def to_error(
    code: str,
    detail: str,
    status: int = 0,
    errors: tuple[Mapping[str, Any], ...] = (),
    retry_after_s: float | None = None,
) -> ServiceError:
    """An error of the class that its code, else its status, belongs to."""
    known = ERRORS.get(code) or ERRORS.get(f"http_{int(status)}", ServiceError)
    return known(code, detail, status, errors, retry_after_s)
