"""OpenTelemetry out: what a real service sends through the real SDK to a receiver of OTLP."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from assay.bootstrap import open_service
from assay.settings import load
from fakes.batches import create, ended, upload
from fakes.http_api import on_free_port, running_api
from fakes.otlp import OtlpReceiver, attributes, otlp_receiver, points
from fakes.providers.server import FaultServer
from fakes.service_process import ROOT, ServiceProcess, running_service

TRACE_ID, CALLER_ID = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
CALLER = {"traceparent": f"00-{TRACE_ID}-{CALLER_ID}-01", "tracestate": "vendor=1"}
SUBJECT = {"trace_id": "a" * 32, "span_id": "b" * 16, "response_id": "resp-1"}
SECRET = "sk-secret-0123456789abcdef"
TEXT = "A text of a case that goes nowhere else"
CLIENT, SERVER, ERROR = 3, 2, 2

CONFIG = """
[otel]
endpoint = "{collector}"

[server]
data_dir = "{folder}/data"

[providers.fake]
dialect = "openai"
base_url = "{provider}"
api_key_env = "FAKE_KEY"

[models."fake/judge"]
provider = "fake"
name = "judge-1"
requests_per_minute = {rpm}
"""


@dataclass
class Exporting:
    """A service in this process, and its addresses."""

    url: str
    metrics_url: str


@contextlib.asynccontextmanager
async def exporting(
    folder: Path, collector: str, provider: FaultServer, rpm: int = 600_000
) -> AsyncIterator[Exporting]:
    """The whole service, with its private Redis, a worker and a provider of its own."""
    (folder / "assay.toml").write_text(
        CONFIG.format(
            collector=collector, folder=folder, provider=provider.base_url("openai"), rpm=rpm
        )
    )
    settings = await asyncio.to_thread(load, folder / "assay.toml", {})
    async with contextlib.AsyncExitStack() as stack:
        service = await stack.enter_async_context(open_service(settings, work=True))
        service.services.lifecycle.phase = "serving"
        _, url = await stack.enter_async_context(on_free_port(service.app))
        _, metrics_url = await stack.enter_async_context(on_free_port(service.operations))
        yield Exporting(url, metrics_url)


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Exports follow at once, and queues are small enough to fill."""
    for name, value in {
        "OTEL_BSP_SCHEDULE_DELAY": "50",
        "OTEL_BSP_MAX_QUEUE_SIZE": "64",
        "OTEL_BSP_MAX_EXPORT_BATCH_SIZE": "8",
        "OTEL_BLRP_SCHEDULE_DELAY": "50",
        "OTEL_METRIC_EXPORT_INTERVAL": "200",
        "OTEL_EXPORTER_OTLP_TIMEOUT": "2",
        "FAKE_KEY": SECRET,
    }.items():
        monkeypatch.setenv(name, value)


@pytest.fixture
async def provider() -> AsyncIterator[FaultServer]:
    async with FaultServer() as server:
        yield server


async def evaluate(
    service: Exporting | ServiceProcess, headers: Any = None, **fields: Any
) -> dict[str, Any]:
    body = {"output": TEXT, "criteria": ["The answer is polite."], **fields}
    async with (
        aiohttp.ClientSession() as session,
        session.post(f"{service.url}/v1/evaluations", json=body, headers=headers) as answer,
    ):
        return {"status_code": answer.status, **await answer.json()}


async def metrics_of(service: Exporting, accept: str = "text/plain") -> str:
    async with (
        aiohttp.ClientSession(headers={"Accept": accept}) as session,
        session.get(f"{service.metrics_url}/metrics") as answer,
    ):
        return await answer.text()


async def lost(service: Exporting, reason: str) -> float:
    lines = (await metrics_of(service)).splitlines()
    start = f'assay_otel_lost_total{{reason="{reason}",'
    return sum(float(line.rpartition(" ")[2]) for line in lines if line.startswith(start))


async def test_a_request_is_a_part_of_its_callers_trace(tmp_path, provider):
    """From the caller's span over ours and the judge's call to the provider, and to the score."""
    async with otlp_receiver() as receiver, exporting(tmp_path, receiver.url, provider) as service:
        answer = await evaluate(service, CALLER)
        assert answer["status_code"] == 200, answer
        await receiver.until(lambda: receiver.named("POST /v1/evaluations") and receiver.events)
        (request,), (call,) = receiver.named("POST /v1/evaluations"), receiver.named("chat judge-1")
        assert {span.trace_id.hex() for span in (request, call)} == {TRACE_ID}
        assert (request.kind, call.kind) == (SERVER, CLIENT)
        assert request.parent_span_id.hex() == CALLER_ID
        assert call.parent_span_id == request.span_id
        assert request.start_time_unix_nano <= call.start_time_unix_nano
        assert call.end_time_unix_nano <= request.end_time_unix_nano
        sent = provider.requests[-1].headers
        assert sent["traceparent"] == f"00-{TRACE_ID}-{call.span_id.hex()}-01"
        # Our own spans may come back to us: they say that they are a judge's, too.
        assert sent["tracestate"] == request.trace_state == call.trace_state
        assert call.trace_state == "assay=judge,vendor=1"
        (score,) = receiver.events
        assert score.event_name == "gen_ai.evaluation.result"
        assert (score.trace_id.hex(), score.span_id.hex()) == (TRACE_ID, CALLER_ID)
        assert attributes(score)["gen_ai.evaluation.score.value"] == answer["score"]
        assert attributes(score)["assay.evaluator.revision"] == answer["evaluator"]["revision"]
        usage = attributes(call)["gen_ai.usage.input_tokens"]
        assert usage == answer["usage"]["input_tokens"] > 0
        await check_the_rest(service, receiver, request)
    assert TEXT not in str(receiver.requests)
    assert SECRET not in str(receiver.requests)


async def check_the_rest(service: Exporting, receiver: OtlpReceiver, request: Any) -> None:
    """Metrics of the conventions, and exemplars where they are asked for."""
    names = ("gen_ai.client.operation.duration", "gen_ai.client.token.usage")
    await receiver.until(lambda: receiver.metrics.keys() >= set(names))
    (duration,) = points(receiver.metrics[names[0]])
    assert attributes(duration)["gen_ai.request.model"] == "judge-1"
    kinds = {attributes(point)["gen_ai.token.type"] for point in points(receiver.metrics[names[1]])}
    assert kinds == {"input", "output"}
    exemplar = f'# {{span_id="{request.span_id.hex()}",trace_id="{TRACE_ID}"}}'
    assert exemplar in await metrics_of(service, "application/openmetrics-text; version=1.0.0")
    assert "# {" not in await metrics_of(service)


async def test_a_caller_without_a_trace_or_with_a_broken_one_starts_a_new_one(tmp_path, provider):
    """Two parents, and a malformed one, are none; what the caller does not sample is not sent."""
    async with otlp_receiver() as receiver, exporting(tmp_path, receiver.url, provider) as service:
        twice = [("traceparent", CALLER["traceparent"]), ("traceparent", CALLER["traceparent"])]
        for headers in (None, {"traceparent": "00-zz"}, twice):
            await evaluate(service, headers)
        unsampled = CALLER["traceparent"][:-2] + "00"
        await evaluate(service, {"traceparent": unsampled}, criteria=["The answer is short."])
        await receiver.until(lambda: len(receiver.events) == 4)
        await receiver.until(lambda: len(receiver.named("POST /v1/evaluations")) == 3)
        assert provider.requests[-1].headers["traceparent"].endswith("-00")
    spans = receiver.named("POST /v1/evaluations")
    assert len({span.trace_id for span in spans}) == 3
    assert all(not span.parent_span_id for span in spans)
    own = {(span.trace_id, span.span_id) for span in spans}
    assert {(event.trace_id, event.span_id) for event in receiver.events[:3]} == own


async def test_a_failed_attempt_and_a_wait_have_spans(tmp_path, provider):
    """Each attempt is one; the wait before it is no part of it."""
    await provider.play("500", every=2)
    async with (
        otlp_receiver() as receiver,
        exporting(tmp_path, receiver.url, provider, rpm=60) as service,
    ):
        await asyncio.gather(
            *(evaluate(service, criteria=[f"Criterion {n}."], timeout_ms=15_000) for n in range(6))
        )
        await receiver.until(lambda: len(receiver.named("POST /v1/evaluations")) == 6)
        await receiver.until(lambda: receiver.named("wait provider_quota"))
    failed = [span for span in receiver.named("chat judge-1") if "error.type" in attributes(span)]
    assert failed
    assert {span.status.code for span in failed} == {ERROR}
    for wait in receiver.named("wait provider_quota"):
        assert attributes(wait)["assay.model.id"] == "fake/judge"
        assert wait.end_time_unix_nano - wait.start_time_unix_nano > 1_000_000
    for span in receiver.named("chat judge-1"):
        assert span.parent_span_id in {p.span_id for p in receiver.named("POST /v1/evaluations")}


async def test_a_row_links_to_its_batch_and_its_scores_to_what_was_judged(tmp_path, provider):
    """A row has a trace of its own; the subject's span is the parent of the row's scores."""
    async with otlp_receiver() as receiver, exporting(tmp_path, receiver.url, provider) as service:
        async with aiohttp.ClientSession(service.url) as session:
            created = await create(session, ["The answer is polite."])
            rows = [{"id": "a", "output": "x", "subject": SUBJECT}, {"id": "b", "output": "y"}]
            await upload(session, created, "\n".join(map(json.dumps, rows)).encode())
            async with session.post(f"/v1/batches/{created['id']}/start") as answer:
                assert answer.status == 200, await answer.text()
            await ended(session, created)
        await receiver.until(lambda: receiver.named("batch"))
        await receiver.until(lambda: len(receiver.named("batch row")) == 2)
        await receiver.until(lambda: len(receiver.events) == 2)
    (batch,) = receiver.named("batch")
    assert attributes(batch) == {"assay.batch.id": created["id"], "assay.batch.status": "completed"}
    row_spans = receiver.named("batch row")
    assert len({span.trace_id for span in (batch, *row_spans)}) == 3
    assert {span.trace_state for span in receiver.spans} == {"assay=judge"}
    for span in row_spans:
        assert (batch.trace_id, batch.span_id) in {
            (link.trace_id, link.span_id) for link in span.links
        }
    judged = {event.trace_id.hex(): event for event in receiver.events}
    assert judged[SUBJECT["trace_id"]].span_id.hex() == SUBJECT["span_id"]
    assert attributes(judged[SUBJECT["trace_id"]])["gen_ai.response.id"] == "resp-1"
    calls = receiver.named("chat judge-1")
    assert {call.parent_span_id for call in calls} == {span.span_id for span in row_spans}
    linked = {link.trace_id.hex() for span in row_spans for link in span.links}
    assert SUBJECT["trace_id"] in linked


@pytest.mark.parametrize(
    ("subject", "pointer"),
    [
        ({"trace_id": "a" * 31, "span_id": "b" * 16}, "/subject/trace_id"),
        ({"trace_id": "0" * 32, "span_id": "b" * 16}, "/subject/trace_id"),
        ({"trace_id": "a" * 32, "span_id": "0" * 16}, "/subject/span_id"),
        ({"trace_id": "a" * 32}, "/subject/span_id"),
        ({"span_id": "b" * 16}, "/subject/trace_id"),
        ({"response_id": ""}, "/subject/response_id"),
        ({"response_id": "r" * 257}, "/subject/response_id"),
        ({"traceid": "a" * 32}, "/subject/traceid"),
    ],
)
async def test_a_subject_that_names_nothing_is_refused_by_its_field(api, subject, pointer):
    """422 before any call is made."""
    body = {"output": "x", "criteria": ["Polite."], "subject": subject}
    status, problem = await api(body)
    assert status == 422
    assert [error["pointer"] for error in problem["errors"]] == [pointer]


async def test_a_collector_in_trouble_hurts_no_request(tmp_path, provider):
    """Requests are answered as ever, what is lost is counted, and the process ends in time."""
    async with (
        otlp_receiver() as receiver,
        exporting(tmp_path, receiver.url, provider) as service,
    ):
        receiver.status = 400
        await lose(service, "export_failed", "refusing")
        receiver.body = b"x" * 8 * 1_048_576
        await lose(service, "export_failed", "huge")
        receiver.hold = asyncio.Event()
        await lose(service, "queue_full", "slow")


async def test_a_collector_that_is_not_there_hurts_no_request(tmp_path, provider):
    """Nor does it keep a process from its end."""
    async with exporting(tmp_path, "http://127.0.0.1:9", provider) as service:
        await lose(service, "export_failed", "down")


async def lose(service: Exporting, reason: str, trouble: str) -> None:
    """Evaluate until more is lost for that reason."""
    before, number = await lost(service, reason), 0
    async with asyncio.timeout(30):
        while await lost(service, reason) == before:
            number += 1
            answer = await evaluate(service, criteria=[f"Is it {trouble}? {number}"])
            assert answer["status_code"] == 200


async def test_without_its_library_the_service_says_so_in_a_line_and_goes_on(tmp_path):
    """An operator who sets the variables for a whole cluster has no service that does not start."""
    (tmp_path / "sitecustomize.py").write_text(
        "import sys\nsys.modules['opentelemetry.sdk'] = None\n"
    )
    environ = {"PYTHONPATH": f"{tmp_path}:{ROOT / 'src'}"}
    environ["OTEL_EXPORTER_OTLP_ENDPOINT"] = "http://127.0.0.1:9"
    async with running_service(tmp_path, "", environ) as service:
        assert (await evaluate(service))["status_code"] == 200
    said = [line for line in service.log.read_text().splitlines() if "assay-judge[" in line]
    assert len(said) == 1
    assert "assay-judge[server,otel]" in said[0]


async def test_off_nothing_of_it_is_loaded(tmp_path):
    """By default, and where the standard variable turns it off."""
    environ = {"PYTHONPROFILEIMPORTTIME": "1", "OTEL_SDK_DISABLED": "true"}
    environ["OTEL_EXPORTER_OTLP_ENDPOINT"] = "http://127.0.0.1:9"
    async with running_service(tmp_path, "", environ) as service:
        assert (await evaluate(service, CALLER))["status_code"] == 200
    loaded = service.log.read_text()
    assert "assay.bootstrap.otel" in loaded
    # Other libraries load what they find of the SDK.
    assert "opentelemetry.exporter" not in loaded
    assert "assay.telemetry.otel" not in loaded


@pytest.fixture
async def api(tmp_path) -> AsyncIterator[Any]:
    """The API as it answers one body."""
    async with running_api() as running:

        async def post(body: dict[str, Any]) -> tuple[int, Any]:
            async with (
                aiohttp.ClientSession() as session,
                session.post(f"{running.url}/v1/evaluations", json=body) as answer,
            ):
                return answer.status, await answer.json()

        yield post
