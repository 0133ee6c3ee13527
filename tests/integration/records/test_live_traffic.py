"""Live traffic: spans that are sent become rows of their rule's batch, and scores."""

from __future__ import annotations

import asyncio
import gzip
import json
from typing import Any

import pytest
from google.protobuf.json_format import MessageToDict
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)

from assay.domain.traces import judge_trace_id, share_of
from assay.otlp.decoding import JSON, PROTOBUF
from assay.store.traces.traces import RedisTraces
from fakes.records_api import RecordsApi, pages
from fakes.spans import chat, export, span

pytestmark = pytest.mark.asyncio(loop_scope="module")
POLITE = [{"type": "contains", "name": "polite", "value": "please"}]
CASE = 10_000
"""Traces of one test have numbers of their own."""


async def send(
    api: RecordsApi, body: bytes, kind: str = PROTOBUF, tenant: str = "one", **headers: str
) -> tuple[int, bytes]:
    """The status and the body of an export."""
    headers = {"Content-Type": kind, **headers}
    async with api.sessions[tenant].post("/v1/traces", data=body, headers=headers) as response:
        assert response.headers["Content-Type"] == kind
        return response.status, await response.read()


async def rule(api: RecordsApi, **fields: Any) -> dict[str, Any]:
    """A new rule over a service of its own name."""
    evaluator = await api.evaluator(POLITE)
    name = api.name("rule")
    fields = {"filter": f'service.name == "{name}"', "evaluator": evaluator, **fields}
    made: dict[str, Any] = await api.ok("POST", "/v1/rules", {"name": name, **fields})
    return made


async def state(api: RecordsApi, name: str, **counts: int) -> dict[str, Any]:
    """The rule once it has these counts."""
    async with asyncio.timeout(30):
        while True:
            found: dict[str, Any] = await api.ok("GET", f"/v1/rules/{name}")
            if found["state"]["counts"] == counts:
                return found
            await asyncio.sleep(0.05)


async def judged(api: RecordsApi, name: str, count: int) -> list[dict[str, Any]]:
    """The results of the rule's batches, once there are so many."""
    done, hours = 0, []
    async with asyncio.timeout(30):
        while done < count:
            await asyncio.sleep(0.05)
            hours = (await api.ok("GET", f"/v1/rules/{name}/scores"))["data"]
            done = sum(one["counts"]["total"] - one["counts"]["pending"] for one in hours)
    found = []
    for one in hours:
        found += await pages(api, f"/v1/batches/{one['id']}/results?")
    return found


async def test_a_span_is_judged_once_however_often_it_is_sent(api: RecordsApi) -> None:
    """In both encodings, compressed or not, and again after it was judged."""
    name = (await rule(api))["name"]
    body = export(span(CASE + 1, attributes=chat("Hi", "please wait")), service=name)
    request = ExportTraceServiceRequest.FromString(body)
    document = MessageToDict(request)
    for of_resource in document["resourceSpans"]:
        for one in of_resource["scopeSpans"][0]["spans"]:
            one["traceId"] = (CASE + 1).to_bytes(16).hex()
            one["spanId"] = ((CASE + 1) * 1_000 + 1).to_bytes(8).hex()
    packed = gzip.compress(body)
    for _ in range(2):
        status, answer = await send(api, body)
        assert (status, answer) == (200, b"")
        status, answer = await send(api, json.dumps(document).encode(), JSON)
        assert (status, json.loads(answer)) == (200, {})
        assert (await send(api, packed, **{"Content-Encoding": "gzip"}))[0] == 200
        results = await judged(api, name, 1)
    assert [one["status"] for one in results] == ["completed"]
    assert results[0]["score"] == 1.0
    assert results[0]["metadata"]["trace_id"] == (CASE + 1).to_bytes(16).hex()
    found = await state(api, name, judged=1)
    assert found["state"]["status"] == "judging"
    assert found["state"]["today"]["rows"] == 1
    (hour,) = (await api.ok("GET", f"/v1/rules/{name}/scores"))["data"]
    assert hour["rule"] == {"id": found["id"], "name": name}
    assert hour["summary"]["criteria"][0]["mean"] == 1.0


async def test_the_share_of_traces_is_the_same_everywhere(api: RecordsApi) -> None:
    """It follows from the key that all replicas have, and from the trace alone."""
    name = (await rule(api, sample_rate=0.2))["name"]
    traces = range(CASE + 100, CASE + 200)
    spans = [span(trace, attributes=chat("Hi", "please")) for trace in traces]
    assert (await send(api, export(*spans, service=name)))[0] == 200
    key = await stored_key(api)
    wanted = {trace.to_bytes(16).hex() for trace in traces}
    wanted = {trace for trace in wanted if share_of(key, trace) < 0.2}
    assert 5 < len(wanted) < 40
    results = await judged(api, name, len(wanted))
    assert {one["metadata"]["trace_id"] for one in results} == wanted


async def stored_key(api: RecordsApi) -> bytes:
    return await RedisTraces(api.service.services.idempotency._client).key()


async def test_a_trace_is_one_case_with_the_answer_of_its_root(api: RecordsApi) -> None:
    """Spans come in any order and in several requests; passages are its context."""
    name = (await rule(api, group_by="trace", delay_s=30))["name"]
    trace = CASE + 300
    retrieved = {"retrieval.documents.0.document.content": "30 days"}
    root = {"input.value": "Refund?", "output.value": "Within 30 days, please."}
    late = span(trace, 2, chat("Refund?", "30 days"), parent=1, at_s=3)
    await send(api, export(late, service=name))
    await send(api, export(span(trace, 3, retrieved, parent=1, at_s=2), service=name))
    await send(api, export(span(trace, 1, root, at_s=1), service=name))
    (result,) = await judged(api, name, 1)
    assert result["item_id"] == trace.to_bytes(16).hex()
    assert result["score"] == 1.0
    assert result["metadata"]["span_id"] == (trace * 1_000 + 1).to_bytes(8).hex()


async def test_a_session_is_one_case_once_it_is_quiet(api: RecordsApi) -> None:
    """Its traces in order make a conversation; a person's name leads to it."""
    name = (await rule(api, group_by="session", delay_s=2))["name"]
    about = {"session.id": "s-\0" + "1", "user.id": "person-1\0"}
    traces = [
        span(CASE + 400 + number, 1, chat("Hi", text, **about), at_s=number)
        for number, text in enumerate(("Hello", "please wait"))
    ]
    # At once, the later one first: an export is answered when it is on disk, a second or two after.
    await asyncio.gather(*(send(api, export(one, service=name)) for one in reversed(traces)))
    (result,) = await judged(api, name, 1)
    assert result["score"] == 1.0
    assert result["metadata"]["session"] == "s-1"
    assert result["metadata"]["subject"] == "person-1"
    await state(api, name, judged=1)


async def test_what_judges_do_is_never_judged(api: RecordsApi) -> None:
    """Spans of judges are known by their state, and by their trace where a gateway lost that."""
    name = (await rule(api))["name"]
    ours = judge_trace_id(await stored_key(api))
    lost = span(1, attributes=chat("Judge", "please"))
    lost.trace_id = bytes.fromhex(ours)
    marked = span(CASE + 500, attributes=chat("Judge", "please"), state="other=1,assay=judge")
    before = (await api.ok("GET", "/v1/traces"))["outcomes"].get("judge", 0)
    assert (await send(api, export(lost, marked, service=name))) == (200, b"")
    await send(api, export(span(CASE + 501, attributes=chat("Hi", "please")), service=name))
    results = await judged(api, name, 1)
    assert [one["metadata"]["trace_id"] for one in results] == [(CASE + 501).to_bytes(16).hex()]
    assert (await api.ok("GET", "/v1/traces"))["outcomes"]["judge"] == before + 2


async def test_a_rule_skips_what_is_beyond_its_limits_and_says_so(api: RecordsApi) -> None:
    """The rate bounds a minute, and what is skipped is counted."""
    name = (await rule(api, limit={"per_minute": 2, "usd_per_day": 1}))["name"]
    spans = [span(CASE + 600 + n, attributes=chat("Hi", "please")) for n in range(5)]
    await send(api, export(*spans, service=name))
    found = await state(api, name, judged=2, per_minute=3)
    assert found["state"]["pending"] == 0


async def test_spans_that_cannot_be_used_are_told(api: RecordsApi) -> None:
    """Malformed ones are rejected in a partial success; others are listed with the reason."""
    name = (await rule(api))["name"]
    broken = span(CASE + 700)
    broken.trace_id = b"short"
    silent = span(CASE + 701, attributes={"gen_ai.request.model": "small"})
    other = span(CASE + 702, attributes={"http.method": "GET"})
    good = span(CASE + 703, attributes=chat("Hi", "please"))
    status, answer = await send(api, export(broken, silent, other, good, service=name))
    assert status == 200
    partial = ExportTraceServiceResponse.FromString(answer).partial_success
    assert partial.rejected_spans == 1
    assert "OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT" in partial.error_message
    seen = await api.ok("GET", "/v1/traces")
    assert seen["outcomes"]["malformed"] >= 1
    assert seen["not_understood"][0]["name"] == "chat small"
    await state(api, name, judged=1)
    assert (await api.ok("GET", "/v1/traces", tenant="two"))["not_understood"] == []


@pytest.mark.parametrize(
    ("body", "kind", "headers", "status", "code"),
    [
        (b"\xff\xff", PROTOBUF, {}, 400, 3),
        (b"{", JSON, {}, 400, 3),
        (b'{"resourceSpans": 5}', JSON, {}, 400, 3),
        (gzip.compress(b"\0" * 20_000_000), PROTOBUF, {"Content-Encoding": "gzip"}, 413, 3),
        (b"no gzip", PROTOBUF, {"Content-Encoding": "gzip"}, 400, 3),
        (gzip.compress(b"\0" * 999)[:-12], PROTOBUF, {"Content-Encoding": "gzip"}, 400, 3),
        (2 * gzip.compress(export()), PROTOBUF, {"Content-Encoding": "gzip"}, 400, 3),
        (b"null", JSON, {}, 400, 3),
        (b"[]", JSON, {}, 400, 3),
        (b"", PROTOBUF, {"Content-Encoding": "br"}, 415, 3),
        (b"", PROTOBUF, {"Authorization": "Bearer wrong"}, 401, 16),
    ],
    ids=(
        "no_message",
        "no_json",
        "no_list",
        "bomb",
        "no_gzip",
        "cut",
        "two_parts",
        "null",
        "list",
        "encoding",
        "key",
    ),
)
async def test_errors_are_statuses_in_the_encoding_of_the_request(
    api: RecordsApi, body: bytes, kind: str, headers: dict[str, str], status: int, code: int
) -> None:
    """As the protocol wants it; a bomb is not inflated beyond the limit."""
    got, answer = await send(api, body, kind, **headers)
    assert got == status
    if kind == JSON:
        assert json.loads(answer)["code"] == code
    else:
        # `google.rpc.Status` looks like this on the wire.
        said = type(ExportTraceServiceResponse().partial_success).FromString(answer)
        assert said.rejected_spans == code
        assert said.error_message


async def test_megabytes_of_attributes_and_odd_clocks_harm_nothing(api: RecordsApi) -> None:
    """A large text is judged like any other, and times of the application decide nothing."""
    name = (await rule(api))["name"]
    large = span(CASE + 800, attributes=chat("Hi", "x" * 1_000_000 + "please"))
    odd = span(CASE + 801, attributes=chat("Hi", "please"))
    odd.start_time_unix_nano, odd.end_time_unix_nano = 2**63, 0
    assert (await send(api, export(large, odd, service=name)))[0] == 200
    results = await judged(api, name, 2)
    assert [one["score"] for one in results] == [1.0, 1.0]


async def test_a_span_that_is_nested_without_end_costs_no_other_one(api: RecordsApi) -> None:
    """Neither when it is read nor when it is judged: the rule goes on."""
    name = (await rule(api))["name"]
    deep = '{"message":' * 600 + "1" + "}" * 600
    broken = span(CASE + 850, attributes={**chat("Hi", ""), "gen_ai.output.messages": deep})
    tools = []
    for number, depth in enumerate((210, 400)):
        schema = '{"a":' * depth + "1" + "}" * depth
        defined = f'[{{"name": "find", "parameters": {schema}}}]'
        about = chat("Hi", "please", **{"gen_ai.tool.definitions": defined})
        tools.append(span(CASE + 851 + number, attributes=about))
    good = span(CASE + 853, attributes=chat("Hi", "please"))
    assert (await send(api, export(broken, *tools, good, service=name)))[0] == 200
    results = await judged(api, name, 3)
    assert [one["score"] for one in results] == [1.0, 1.0, 1.0]


async def test_rules_are_a_tenant_s_own(api: RecordsApi) -> None:
    """Another tenant neither sees nor feeds them; names are unique, and faults are placed."""
    made = await rule(api)
    name, path = made["name"], f"/v1/rules/{made['name']}"
    assert (await api.call("GET", path, tenant="two"))[0] == 404
    assert (await api.call("DELETE", path, tenant="two"))[0] == 404
    theirs = export(span(CASE + 900, attributes=chat("Hi", "please")), service=name)
    assert (await send(api, theirs, tenant="two"))[0] == 200
    status, problem = await api.call(
        "POST", "/v1/rules", {"name": name, "evaluator": made["evaluator"]}
    )
    assert (status, problem["code"]) == (409, "conflict")
    for fields, pointer in (
        ({"filter": "f(x)"}, "/filter"),
        ({"sample_rate": 2}, "/sample_rate"),
        ({"alert": {"threshold": {"criterion": "rude", "min_score": 0.5},
                    "webhook": {"url": "https://example.com"}}}, "/alert/threshold/criterion"),
        ({"evaluator": "missing"}, "/evaluator"),
        ({"group_by": "trace", "delay_s": 0}, "/delay_s"),
        ({"alert": {"threshold": {"min_score": 0.5}, "webhook": {"url": "http://10.0.0.1"}}},
         "/webhook/url"),
    ):  # fmt: skip
        wanted = {"evaluator": made["evaluator"], **fields}
        status, problem = await api.call("PUT", path, wanted)
        assert (status, problem["errors"][0]["pointer"]) == (422, pointer)
    changed = await api.ok("PUT", path, {"evaluator": made["evaluator"], "enabled": False})
    assert changed["state"]["status"] == "disabled"
    assert changed["filter"] is None
    assert path.rpartition("/")[2] in [
        one["name"] for one in (await api.ok("GET", "/v1/rules"))["data"]
    ]
    assert (await api.call("DELETE", path))[0] == 204
    assert (await api.call("GET", path))[0] == 404
    assert (await send(api, theirs))[0] == 200


async def test_a_deleted_rule_leaves_its_results(api: RecordsApi) -> None:
    """Its batch takes no more rows, and ends."""
    name = (await rule(api))["name"]
    await send(api, export(span(CASE + 950, attributes=chat("Hi", "please")), service=name))
    await judged(api, name, 1)
    (hour,) = (await api.ok("GET", f"/v1/rules/{name}/scores"))["data"]
    assert (await api.call("DELETE", f"/v1/rules/{name}"))[0] == 204
    await api.results(hour)
