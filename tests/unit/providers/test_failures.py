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
from assay.providers import HTTP_DIALECTS
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
    message = failure("acme", DIALECT, problem, ["my-own-secret"]).message
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


BY_NAME = {
    name: HTTP_DIALECTS[name].accumulator.dialect  # type: ignore[attr-defined]
    for name in ("openai", "anthropic", "gemini")
}


def refused(name: str, message: str, status: int = 400, **fields: Any) -> str | None:
    body = {"error": {"message": message, "type": "invalid_request_error", **fields}}
    error = failure("acme", BY_NAME[name], ProviderError.read(status, body, {}))
    return error.parameter if isinstance(error, RequestRejected) else None


@pytest.mark.parametrize(
    ("name", "message", "expected"),
    [
        (
            "openai",
            "Unsupported parameter: 'max_tokens' is not supported with this model. Use 'x'.",
            "max_output_tokens",
        ),
        (
            "openai",
            "Unsupported value: 'temperature' does not support 0.1 with this model. Only 1 is.",
            "temperature",
        ),
        ("openai", "logprobs are not supported with reasoning models.", "logprobs"),
        (
            "openai",
            "Groq does not support response format `json_schema`.",
            "structured_output",
        ),
        ("openai", "'response_format' is not supported with this model", "structured_output"),
        ("openai", "Unrecognized request argument supplied: seed", "seed"),
        ("openai", "openai does not support parameters: ['reasoning_effort']", "reasoning_effort"),
        (
            "openai",
            "litellm: OpenAIException - {'message': \"Unsupported parameter: 'reasoning.effort' is",
            "reasoning_effort",
        ),
        ("anthropic", "`temperature` is deprecated for this model.", "temperature"),
        ("anthropic", "This model does not support the effort parameter.", "reasoning_effort"),
        ("anthropic", "This model does not support effort level 'xhigh'.", "reasoning_effort"),
        ("anthropic", "adaptive thinking is not supported on this model", "reasoning_effort"),
        (
            "anthropic",
            '"thinking.type.enabled" is not supported for this model. Use "thinking.type.adaptive"',
            "thinking_budget",
        ),
        ("anthropic", "output_config: Extra inputs are not permitted", "structured_output"),
        (
            "anthropic",
            "Thinking may not be enabled when tool_choice forces tool use.",
            "structured_output",
        ),
        ("gemini", "Thinking level is not supported for this model.", "reasoning_effort"),
        ("gemini", "Thinking budget is not supported for this model.", "thinking_budget"),
        ("gemini", "Logprobs is not enabled for models/acme-flash", "logprobs"),
        ("gemini", "JSON mode is not enabled for models/acme", "structured_output"),
        ("gemini", "Invalid JSON payload. Unknown name \"seed\" at 'generation_config'", "seed"),
    ],
)
def test_an_unsupported_parameter_is_named(name: str, message: str, expected: str) -> None:
    """In the words of each API, whatever gateway passes them on."""
    assert refused(name, message) == expected


def test_the_field_of_an_error_names_an_unsupported_parameter() -> None:
    """OpenAI's `param` counts with a code that says so, FastAPI's location with its type."""
    said = {"param": "temperature", "code": "unsupported_value"}
    assert refused("openai", "Only the default is possible.", **said) == "temperature"
    assert refused("openai", "Out of range.", param="temperature", code="invalid_value") is None
    detail = [{"type": "extra_forbidden", "loc": ["body", "seed"], "msg": "Extra inputs"}]
    error = failure("acme", BY_NAME["openai"], ProviderError.read(422, {"detail": detail}, {}))
    assert isinstance(error, RequestRejected)
    assert error.parameter == "seed"


@pytest.mark.parametrize(
    ("message", "status"),
    [
        ("Invalid schema for response_format 'verdict': 'format' is not permitted.", 400),
        ("temperature must be at most 1.5", 400),
        ("x" * 400 + " Unsupported parameter: 'temperature'", 400),
        ("Unsupported parameter: 'temperatures'", 400),
        ("Unsupported parameter: 'temperature'", 409),
    ],
)
def test_what_is_no_refusal_of_a_parameter(message: str, status: int) -> None:
    """A wrong value, a schema of one question, or a text far behind changes no later call."""
    assert refused("openai", message, status) is None
