"""What error answers mean, whatever shape they come in."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from assay.domain.errors import (
    ContentFiltered,
    ContextExceeded,
    KeyRejected,
    ModelError,
    RateLimited,
    RequestRejected,
    ServerError,
    StreamBroken,
)
from assay.providers.failures import (
    MESSAGE_CHARS_MAX,
    RETRY_AFTER_S_MAX,
    Dialect,
    ProviderError,
    failure,
    retry_after_s,
)

DIALECT = Dialect(codes={"content_filter": ContentFiltered, "no_money": KeyRejected})


def kind(status: int | None, body: Any) -> type[ModelError]:
    return type(failure("acme", DIALECT, ProviderError.read(status, body, {})))


@pytest.mark.parametrize(
    ("status", "body", "expected"),
    [
        (400, {"error": {"message": "no", "code": "content_filter"}}, ContentFiltered),
        (429, {"error": {"message": "no", "type": "no_money"}}, KeyRejected),
        (400, {"error": {"message": "This PROMPT IS TOO LONG."}}, ContextExceeded),
        (500, {"error": {"message": "This is prompt is too long."}}, ServerError),
        (400, [{"error": {"message": "prompt is too long", "code": 400}}], ContextExceeded),
        (400, {"error": "prompt is too long"}, ContextExceeded),
        (400, {"object": "error", "message": "prompt is too long", "code": 400}, ContextExceeded),
        (418, None, RequestRejected),
        (599, "plain", ServerError),
        (204, None, ServerError),
        (301, None, ServerError),
        (None, {"error": {"message": "?", "code": 503}}, ServerError),
        (None, {"error": {"message": "?", "code": 429}}, RateLimited),
        (None, {"error": {"message": "?", "code": None}}, StreamBroken),
    ],
)
def test_code_then_words_then_status(
    status: int | None, body: Any, expected: type[ModelError]
) -> None:
    """A known code decides, then a known phrase of a rejected request, then the status."""
    assert kind(status, body) is expected


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=9),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["error", "code", "type", "status", "details", "message", "reason"]),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)


@given(st.sampled_from([None, 400, 429, 500]), JSON)
def test_any_body_is_read(status: int | None, body: Any) -> None:
    """A body of whatever shape gives a model's error and never another one."""
    assert issubclass(kind(status, body), ModelError)


def test_message_is_safe_to_show() -> None:
    """What a provider says is cut short, without control characters or anything like a key."""
    said = "\x00\x1b[1m bad Bearer abc sk-live-1 AIzaXYZ my-own-secret " + "x" * 1_000
    problem = ProviderError(400, message=said)
    message = failure("acme", DIALECT, problem, "my-own-secret").message
    assert message.isprintable()
    assert "[key]" in message
    assert not any(secret in message for secret in ("abc", "sk-live", "AIza", "my-own"))
    assert len(message) <= MESSAGE_CHARS_MAX + len("acme answered 400: ")


def test_key_errors_say_nothing_of_the_providers() -> None:
    """Providers like to repeat a part of a rejected key."""
    problem = ProviderError(401, message="Incorrect API key provided: ab*****yz")
    assert failure("acme", DIALECT, problem).message == "acme answered 401"


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ({}, None),
        ({"Retry-After": "7"}, 7.0),
        ({"Retry-After": "0"}, 0.0),
        ({"Retry-After": "-3"}, 0.0),
        ({"Retry-After": "nan"}, None),
        ({"Retry-After": "inf"}, None),
        ({"Retry-After": "soon"}, None),
        ({"Retry-After": "1e30"}, RETRY_AFTER_S_MAX),
        ({"Retry-After": "9", "retry-after-ms": "250"}, 0.25),
        ({"Retry-After": "Wed, 21 Oct 2015 07:28:00 GMT"}, 0.0),
        ({"Retry-After": "Wed, 99 Oct 2015 07:28:00 GMT"}, None),
    ],
)
def test_retry_after_in_every_form(headers: dict[str, str], expected: float | None) -> None:
    """Seconds, milliseconds and dates are read; nonsense is no wait at all."""
    assert retry_after_s(headers) == expected


def test_retry_after_as_a_date_to_come() -> None:
    """A date says how long from now."""
    at = datetime.now(UTC) + timedelta(seconds=100)
    waits = retry_after_s({"Retry-After": format_datetime(at, usegmt=True)})
    assert waits is not None
    assert 90 < waits <= 100


def test_header_goes_before_details() -> None:
    """A wait of nothing in the header is a wait, and not the absence of one."""
    error = {"error": {"details": [{"retryDelay": "3s"}]}}
    assert ProviderError.read(429, error, {}).retry_after_s == 3.0
    assert ProviderError.read(429, error, {"Retry-After": "0"}).retry_after_s == 0.0
