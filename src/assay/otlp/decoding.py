"""Reads an OTLP request: inflated within bounds, and each span only as far as it is wanted.

The packages of OpenTelemetry and Protobuf are loaded with the first request.
"""

from __future__ import annotations

import base64
import binascii
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import orjson

from assay.http.problems import Problem, ProblemError, invalid_request

PROTOBUF, JSON = "application/x-protobuf", "application/json"
GZIP_OR_ZLIB = 47
"""`wbits` for either header, with the largest window."""
DEPTH_MAX = 32
"""Nesting of an attribute; what lies deeper is left out."""
MESSAGES_DEPTH_MAX = 100
"""Nested messages of a request, as Protobuf's reader has it: an attribute takes three a level."""
TRACE_ID_BYTES, SPAN_ID_BYTES = 16, 8


@dataclass(frozen=True, slots=True)
class ReceivedSpan:
    """One span as it was sent; its attributes are read when they are asked for."""

    trace_id: str
    span_id: str
    raw: Any = field(repr=False)
    resource: Any = field(repr=False)
    scope: str

    @property
    def parent_id(self) -> str:
        return str(self.raw.parent_span_id.hex())

    @property
    def well_formed(self) -> bool:
        """Whether its ids have the length that the protocol gives them, and are not zero."""
        sizes = len(self.trace_id) == 2 * TRACE_ID_BYTES, len(self.span_id) == 2 * SPAN_ID_BYTES
        return all(sizes) and self.trace_id.strip("0") != "" and self.span_id.strip("0") != ""

    def attributes(self) -> dict[str, Any]:
        """Those of its resource and its own, with what it says of itself as `span.…`."""
        raw = self.raw
        found = {one.key: any_value(one.value) for one in self.resource.attributes}
        found |= {one.key: any_value(one.value) for one in raw.attributes}
        found["span.name"] = raw.name
        found["span.duration_ms"] = (raw.end_time_unix_nano - raw.start_time_unix_nano) / 1e6
        found["span.error"] = raw.status.code == raw.status.STATUS_CODE_ERROR
        return found

    def events(self) -> list[tuple[str, dict[str, Any]]]:
        """The name and the attributes of each event."""
        return [
            (event.name, {one.key: any_value(one.value) for one in event.attributes})
            for event in self.raw.events
        ]


def inflated(raw: bytes, encoding: str, most: int) -> bytes:
    """The body without its encoding; raises `ProblemError` if it is too large or another one."""
    if encoding == "identity":
        return raw
    if encoding not in ("gzip", "deflate"):
        detail = "Send the body with Content-Encoding gzip, or without one."
        raise ProblemError(Problem("unsupported_media_type", detail))
    inflater = zlib.decompressobj(GZIP_OR_ZLIB)
    try:
        body = inflater.decompress(raw, most + 1)
    except zlib.error:
        raise invalid_request("", "the body cannot be inflated") from None
    if len(body) > most:
        detail = f"The body must have at most {most} bytes when it is inflated."
        raise ProblemError(Problem("body_too_large", detail))
    if not inflater.eof:
        raise invalid_request("", "the compressed body is cut short")
    if inflater.unused_data:
        raise invalid_request("", "the compressed body has more than one part")
    return body


def decode(body: bytes, media_type: str) -> Iterator[ReceivedSpan]:
    """The spans of a request; raises `RequestError` if it is none."""
    from google.protobuf.json_format import ParseDict, ParseError  # noqa: PLC0415
    from google.protobuf.message import DecodeError  # noqa: PLC0415
    from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (  # noqa: PLC0415
        ExportTraceServiceRequest,
    )

    request = ExportTraceServiceRequest()
    try:
        if media_type == PROTOBUF:
            request.ParseFromString(body)
        else:
            document, depth_max = _with_ids(orjson.loads(body)), MESSAGES_DEPTH_MAX
            ParseDict(document, request, ignore_unknown_fields=True, max_recursion_depth=depth_max)
    except (DecodeError, ParseError, orjson.JSONDecodeError, ValueError, RecursionError):
        detail = "the body is no ExportTraceServiceRequest in the encoding of its Content-Type"
        raise invalid_request("", detail) from None
    return _spans(request)


def _spans(request: Any) -> Iterator[ReceivedSpan]:
    for resource_spans in request.resource_spans:
        for scope_spans in resource_spans.scope_spans:
            for raw in scope_spans.spans:
                ids = raw.trace_id.hex(), raw.span_id.hex()
                yield ReceivedSpan(*ids, raw, resource_spans.resource, scope_spans.scope.name)


def _with_ids(document: Any) -> Any:
    """The JSON with ids as Protobuf's own JSON has them: OTLP writes them as hex digits."""
    if not isinstance(document, dict):
        raise ValueError("no object")  # noqa: TRY004  # like all else that is not understood
    for resource_spans in _list(document, "resourceSpans"):
        for scope_spans in _list(resource_spans, "scopeSpans"):
            for span in _list(scope_spans, "spans"):
                span.pop("links", None)
                for name in ("traceId", "spanId", "parentSpanId"):
                    if name in span:
                        span[name] = _base64(span[name])
    return document


def _list(owner: Any, name: str) -> list[dict[str, Any]]:
    found = owner.get(name) if isinstance(owner, dict) else None
    return [one for one in found if isinstance(one, dict)] if isinstance(found, list) else []


def _base64(digits: Any) -> str:
    """The bytes of hex digits; none, which is malformed, for anything else."""
    try:
        return base64.b64encode(binascii.unhexlify(digits)).decode()
    except (binascii.Error, ValueError, TypeError):
        return ""


def any_value(value: Any, depth: int = 0) -> Any:
    """An `AnyValue` as JSON has it."""
    kind = value.WhichOneof("value")
    match kind:
        case None:
            return None
        case "array_value" if depth < DEPTH_MAX:
            return [any_value(one, depth + 1) for one in value.array_value.values]
        case "kvlist_value" if depth < DEPTH_MAX:
            pairs = value.kvlist_value.values
            return {one.key: any_value(one.value, depth + 1) for one in pairs}
        case "bytes_value":
            return base64.b64encode(value.bytes_value).decode()
        case "string_value" | "bool_value" | "int_value" | "double_value":
            return getattr(value, kind)
    return None


def encoded(media_type: str, fields: Mapping[str, Any]) -> bytes:
    """`ExportTraceServiceResponse` with a partial success of these fields, if there are any."""
    from google.protobuf.json_format import MessageToDict  # noqa: PLC0415
    from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (  # noqa: PLC0415
        ExportTracePartialSuccess,
        ExportTraceServiceResponse,
    )

    partial = ExportTracePartialSuccess(**fields) if fields else None
    response = ExportTraceServiceResponse(partial_success=partial)
    if media_type == PROTOBUF:
        return bytes(response.SerializeToString())
    return orjson.dumps(MessageToDict(response))


def status(media_type: str, code: int, message: str) -> bytes:
    """`google.rpc.Status` in the encoding of a request."""
    if media_type != PROTOBUF:
        return orjson.dumps({"code": code, "message": message})
    from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (  # noqa: PLC0415
        ExportTracePartialSuccess,
    )

    # On the wire both are a number in field 1 and a text in field 2.
    same = ExportTracePartialSuccess(rejected_spans=code, error_message=message)
    return bytes(same.SerializeToString())
