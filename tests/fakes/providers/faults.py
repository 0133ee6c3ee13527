"""The faults that the server plays, as data: what it does, and what that means to a caller."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from assay.domain.errors import (
    ConnectionRefused,
    ConnectionReset,
    ContentFiltered,
    ContextExceeded,
    KeyRejected,
    ModelError,
    ModelMissing,
    ProviderSilent,
    RateLimited,
    RequestRejected,
    ServerError,
    StreamBroken,
    TlsFailed,
)

Behaviour = Literal[
    "answer",
    "error",
    "refused",
    "tls",
    "reset",
    "reset_mid",
    "silent",
    "silent_mid",
    "drip",
    "split",
    "truncated",
    "malformed",
    "huge",
    "content_type",
    "error_mid",
    "gzip",
    "gzip_bomb",
    "gzip_cut",
]
Ending = Literal["stop", "length", "refusal", "content_filter", "prompt_blocked", "aborted"]


@dataclass(frozen=True)
class Fault:
    """What the server does to a request, and the error it should become (None: an answer)."""

    behaviour: Behaviour = "error"
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    problem: str = ""
    ending: Ending = "stop"
    raises: type[ModelError] | None = None
    retry_after_s: float | None = None
    latency_times: float = 1.0


def _status(status: int, raises: type[ModelError], problem: str = "") -> Fault:
    return Fault(status=status, problem=problem or str(status), raises=raises)


HEALTHY = Fault("answer")
SLOW = Fault("answer", latency_times=10.0)

FAULTS: Mapping[str, Fault] = {
    "none": HEALTHY,
    "refused": Fault("refused", raises=ConnectionRefused),
    "reset": Fault("reset", raises=ConnectionReset),
    "tls": Fault("tls", raises=TlsFailed),
    "silent": Fault("silent", raises=ProviderSilent),
    "silent_mid": Fault("silent_mid", raises=ProviderSilent),
    "reset_mid": Fault("reset_mid", raises=StreamBroken),
    "drip": Fault("drip"),
    "split": Fault("split"),
    "gzip": Fault("gzip"),
    "gzip_bomb": Fault("gzip_bomb", raises=StreamBroken),
    "gzip_cut": Fault("gzip_cut", raises=StreamBroken),
    "truncated": Fault("truncated", raises=StreamBroken),
    "malformed": Fault("malformed", raises=StreamBroken),
    "huge": Fault("huge", raises=StreamBroken),
    "content_type": Fault("content_type", raises=StreamBroken),
    "error_mid": Fault("error_mid", problem="529", raises=ServerError),
    "redirect": Fault(
        status=307, headers={"Location": "/elsewhere"}, problem="500", raises=ServerError
    ),
    "400": _status(400, RequestRejected),
    "context": _status(400, ContextExceeded, "context"),
    "prompt_filtered": Fault("answer", ending="prompt_blocked", raises=ContentFiltered),
    "filtered": Fault("answer", ending="content_filter", raises=ContentFiltered),
    "401": _status(401, KeyRejected),
    "bad_key": _status(400, KeyRejected, "bad_key"),
    "402": _status(402, KeyRejected),
    "403": _status(403, KeyRejected),
    "404": _status(404, ModelMissing),
    "408": _status(408, ServerError),
    "409": _status(409, RequestRejected),
    "413": _status(413, ContextExceeded),
    "422": _status(422, RequestRejected),
    "429": _status(429, RateLimited),
    "429_retry_after": Fault(
        status=429,
        headers={"Retry-After": "7"},
        problem="429",
        raises=RateLimited,
        retry_after_s=7.0,
    ),
    "429_retry_soon": Fault(
        status=429,
        headers={"Retry-After": "1"},
        problem="429",
        raises=RateLimited,
        retry_after_s=1.0,
    ),
    "429_retry_after_ms": Fault(
        status=429,
        headers={"retry-after-ms": "1500"},
        problem="429",
        raises=RateLimited,
        retry_after_s=1.5,
    ),
    "500": _status(500, ServerError),
    "502": _status(502, ServerError),
    "503": _status(503, ServerError),
    "504": _status(504, ServerError),
    "529": _status(529, ServerError),
    "own_output": _status(400, RequestRejected, "own_output"),
    "aborted": Fault("answer", ending="aborted", raises=StreamBroken),
    "refusal": Fault("answer", ending="refusal"),
    "length": Fault("answer", ending="length"),
}
