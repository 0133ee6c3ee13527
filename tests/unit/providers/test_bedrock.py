"""Bedrock's event stream and errors, frame by frame."""

from __future__ import annotations

import zlib

import orjson
import pytest

from assay.domain.errors import (
    ContextExceeded,
    KeyRejected,
    ModelError,
    ModelMissing,
    RateLimited,
    RequestRejected,
    ServerError,
    StreamBroken,
)
from assay.domain.models import Model
from assay.providers.bedrock import BEDROCK, BedrockStream, EventStreamParser
from assay.providers.failures import ProviderError, embedded_error, failure
from fakes.providers.clouds import frame

EVENT = {":message-type": "event", ":event-type": "messageStart"}
MODEL = Model(id="far/judge", provider="far", name="judge")


def in_stream(headers: dict[str, str], payload: dict[str, str]) -> ModelError:
    """The error that a frame is."""
    [data] = EventStreamParser().feed(frame(headers, payload))
    error = embedded_error(orjson.loads(data))
    assert error is not None
    return failure("far", BEDROCK, ProviderError.read(None, error, {}))


def test_frames_may_come_in_pieces_of_any_size() -> None:
    """Each event is given once, when its last byte has come."""
    parser, data = EventStreamParser(), frame(EVENT, {"role": "assistant"}) * 2
    found = [event for byte in data for event in parser.feed(bytes([byte]))]
    assert found == [b'{"messageStart":{"role": "assistant"}}'] * 2
    assert parser.finish() == []


@pytest.mark.parametrize("position", [4, 9, 14, 40, -1])
def test_a_damaged_frame_breaks_the_stream(position: int) -> None:
    """Its checksums tell, whichever byte was changed."""
    data = bytearray(frame(EVENT, {"role": "assistant"}))
    data[position] ^= 0xFF
    with pytest.raises(StreamBroken, match="damaged"):
        EventStreamParser().feed(bytes(data))


def test_a_huge_frame_breaks_the_stream() -> None:
    """A length beyond the format's own limit is not waited for."""
    head = b"\x7f\xff\xff\xff\0\0\0\0"
    with pytest.raises(StreamBroken):
        EventStreamParser().feed(head + zlib.crc32(head).to_bytes(4, "big"))


@pytest.mark.parametrize(
    ("kind", "message", "expected"),
    [
        ("throttlingException", "Too many requests", RateLimited),
        ("modelStreamErrorException", "The model failed", ServerError),
        ("internalServerException", "Try again", ServerError),
        ("serviceUnavailableException", "Try again", ServerError),
        ("validationException", "Input is too long for requested model.", ContextExceeded),
        ("validationException", "Something else", StreamBroken),
        ("exceptionOfTomorrow", "Something else", StreamBroken),
    ],
)
def test_exceptions_inside_a_stream(kind: str, message: str, expected: type[ModelError]) -> None:
    """They mean what they mean as responses."""
    headers = {":message-type": "exception", ":exception-type": kind}
    assert type(in_stream(headers, {"message": message})) is expected


def test_an_unmodelled_error_inside_a_stream() -> None:
    """Its code and message are in the headers."""
    headers = {
        ":message-type": "error",
        ":error-code": "ThrottlingException",
        ":error-message": "slow down",
    }
    error = in_stream(headers, {})
    assert type(error) is RateLimited
    assert "slow down" in error.message


@pytest.mark.parametrize(
    ("status", "kind", "message", "expected"),
    [
        (429, "ThrottlingException", "Too many tokens per day", RateLimited),
        (429, "ModelNotReadyException", "not ready", ServerError),
        (408, "ModelTimeoutException", "took too long", ServerError),
        (424, "ModelErrorException", "failed", ServerError),
        (400, "ServiceQuotaExceededException", "quota", RateLimited),
        (400, "ValidationException", "Input is too long for requested model.", ContextExceeded),
        (400, "ValidationException", "Malformed input request", RequestRejected),
        (403, "AccessDeniedException", "no access to the model", KeyRejected),
        (403, "ExpiredTokenException", "The security token is expired", KeyRejected),
        (403, "InvalidSignatureException", "does not match", KeyRejected),
        (400, "UnrecognizedClientException", "The security token is invalid", KeyRejected),
        (404, "ResourceNotFoundException", "Could not resolve the model", ModelMissing),
        (500, "InternalServerException", "unexpected", ServerError),
    ],
)
def test_errors_by_the_kind_in_their_header(
    status: int, kind: str, message: str, expected: type[ModelError]
) -> None:
    """The header names the kind, with a URL behind it."""
    headers = {"x-amzn-ErrorType": f"{kind}:http://internal.amazon.com/coral/"}
    error = ProviderError.read(status, {"message": message}, headers)
    assert type(failure("far", BEDROCK, error)) is expected


def test_what_is_cached_counts_as_input() -> None:
    """Bedrock counts it apart from the other input."""
    stream = BedrockStream(MODEL)
    counts = {"inputTokens": 3, "cacheReadInputTokens": 40, "cacheWriteInputTokens": 5}
    stream.read_event({"metadata": {"usage": {**counts, "outputTokens": 7}}})
    assert (stream.usage.input_tokens, stream.usage.output_tokens) == (48, 7)


@pytest.mark.parametrize(
    ("message", "parameter"),
    [
        ("This model doesn't support tool use.", "structured_output"),
        ("This model doesn't support tool use in streaming mode.", "structured_output"),
        (
            "This model doesn't support the toolConfig.toolChoice.tool field. Remove it.",
            "structured_output",
        ),
        ("The model returned the following errors: `temperature` is deprecated", "temperature"),
    ],
)
def test_what_a_model_refuses_is_named(message: str, parameter: str) -> None:
    """Models behind this API differ: what one refuses is left out of its next request."""
    body, headers = {"message": message}, {"x-amzn-ErrorType": "ValidationException"}
    error = failure("far", BEDROCK, ProviderError.read(400, body, headers))
    assert isinstance(error, RequestRejected)
    assert error.parameter == parameter
