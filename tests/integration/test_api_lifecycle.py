"""Load, disconnects, and a real process from its start to its end."""

import asyncio
import contextlib
import os
import signal
import sys
from pathlib import Path

import aiohttp
import pytest

from assay.bootstrap.service import run_service
from assay.http.server import listen
from assay.settings import Settings
from fakes.api_process import large_answers
from fakes.http_api import running_api
from fakes.limits import limits_with
from fakes.ports import free_port

TESTS = Path(__file__).parents[1]
GOOD = {"output": "4", "criteria": "Is it right?"}


async def until(condition):
    """Wait for a condition that has no event."""
    async with asyncio.timeout(5):
        while not condition():  # noqa: ASYNC110 # see above
            await asyncio.sleep(0.005)


async def test_a_caller_who_leaves_cancels_the_work():
    """An unread answer costs nothing more; the event says 499."""
    async with running_api() as api:
        api.evaluator.hold = asyncio.Event()
        sent = asyncio.create_task(api.post(GOOD))
        await until(lambda: api.evaluator.calls)
        sent.cancel()
        await until(lambda: api.evaluator.cancelled)
        await until(lambda: api.events.events)
        assert [each.status for each in api.events.events] == [499]
        assert api.services.load.requests == api.services.load.body_bytes == 0


async def test_a_caller_who_leaves_in_the_middle_of_the_body_is_no_error():
    """A cut body is a disconnect, not malformed JSON."""
    async with running_api() as api:
        host, port = api.url.removeprefix("http://").split(":")
        _, writer = await asyncio.open_connection(host, int(port))
        writer.write(
            b"POST /evaluate HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n"
            b"content-length: 100\r\n\r\n{"
        )
        await until(lambda: api.services.load.requests)
        writer.close()
        await until(lambda: api.events.events)
        assert [each.status for each in api.events.events] == [499]


async def test_a_large_response_is_in_flight_until_it_is_read():
    """It counts as a request and as memory, and its end frees both."""
    size = 16_000_000
    async with running_api(routers=[large_answers()]) as api:
        load = api.services.load
        host, port = api.url.removeprefix("http://").split(":")
        reader, writer = await asyncio.open_connection(host, int(port), limit=65_536)
        writer.write(f"GET /large/{size} HTTP/1.1\r\nhost: localhost\r\n\r\n".encode())
        await reader.readuntil(b"\r\n\r\n")
        await asyncio.sleep(0.1)
        assert (load.requests, load.body_bytes) == (1, size)
        assert len(await reader.readexactly(size)) == size
        await until(lambda: (load.requests, load.body_bytes) == (0, 0))
        writer.close()


async def test_over_the_limit_of_requests_in_flight_is_a_503():
    """What does not fit is refused at once with a time to come back, and later let in."""
    async with running_api(limits=limits_with(inflight_max=2)) as api:
        api.evaluator.hold = asyncio.Event()
        held = [asyncio.create_task(api.post(GOOD)) for _ in range(2)]
        await until(lambda: len(api.evaluator.calls) == 2)
        status, headers, problem = await api.post(GOOD)
        assert (status, problem["code"]) == (503, "overloaded")
        assert headers["retry-after"] == "1"
        api.evaluator.hold.set()
        assert [status for status, _, _ in await asyncio.gather(*held)] == [200, 200]
        assert (await api.post(GOOD))[0] == 200


@pytest.mark.parametrize("chunked", [False, True])
async def test_over_the_budget_of_bytes_in_flight_is_a_503(chunked):
    """Admission is by bytes as well: a few large bodies fill the memory as many small ones do."""
    large = b'{"output": "%s", "criteria": "c"}' % (b"x" * 60_000)

    async def chunks():
        yield large

    async with running_api(limits=limits_with(inflight_bytes_max=150_000)) as api:
        api.evaluator.hold = asyncio.Event()
        held = asyncio.create_task(api.post(data=chunks() if chunked else large))
        await until(lambda: api.evaluator.calls)
        status, _, problem = await api.post(data=chunks() if chunked else large)
        assert (status, problem["code"]) == (503, "overloaded")
        async with asyncio.timeout(5), api.http.get(api.url + "/v1/models") as listed:
            assert listed.status == 200
        api.evaluator.hold.set()
        assert (await held)[0] == 200
        await until(lambda: api.services.load.body_bytes == 0)


@contextlib.asynccontextmanager
async def api_process(hold_s, drain_delay_s):
    """A process, the addresses of its two ports, and a client."""
    environment = {**os.environ, "PYTHONPATH": f"{TESTS.parent / 'src'}:{TESTS}"}
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "fakes.api_process", str(hold_s), str(drain_delay_s)),
        stdout=asyncio.subprocess.PIPE,
        env=environment,
    )
    try:
        ports = (await process.stdout.readline()).split()
        api, operations = (f"http://127.0.0.1:{int(port)}" for port in ports)
        async with aiohttp.ClientSession() as http:
            yield process, api, operations, http
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()


async def test_a_failed_start_leaves_no_port_bound(tmp_path):
    """A process that stays alive after it can start again on the same ports."""
    ports = {"port": free_port(), "metrics_port": free_port()}
    settings = Settings.model_validate(
        {"server": ports, "redis": {"url_file": str(tmp_path / "missing")}}
    )
    with pytest.raises(FileNotFoundError) as failure:
        await run_service(settings, lambda *_: None)
    for port in ports.values():
        listen("127.0.0.1", port).close()
    assert failure.tb is not None  # which keeps the frames of the start, and all they hold


async def test_a_taken_port_leaves_the_other_one_free():
    """The API's port is released if the port of the operations app is taken."""
    port = free_port()
    with listen("127.0.0.1", 0) as taken:
        ports = {"port": port, "metrics_port": taken.getsockname()[1]}
        with pytest.raises(OSError, match="in use") as failure:
            await run_service(Settings.model_validate({"server": ports}), lambda *_: None)
        listen("127.0.0.1", port).close()
    assert failure.tb is not None  # as above


async def status_of(http, url):
    async with http.get(url) as answer:
        return answer.status


async def test_a_process_drains_and_exits_with_0():
    """SIGTERM: readiness fails first, work is still taken, then refused; in flight finishes."""
    async with api_process(2.0, 0.8) as (process, api, operations, http):
        assert await status_of(http, operations + "/readyz") == 200
        held = asyncio.create_task(http.post(api + "/evaluate", json=GOOD))
        await asyncio.sleep(0.3)
        process.send_signal(signal.SIGTERM)
        await asyncio.sleep(0.2)
        assert await status_of(http, operations + "/readyz") == 503
        assert await status_of(http, operations + "/healthz") == 200
        assert await status_of(http, api + "/v1/models") == 200
        await asyncio.sleep(0.8)
        async with http.get(api + "/v1/models") as refused:
            assert refused.status == 503
            assert refused.headers["connection"] == "close"
            assert (await refused.json(content_type=None))["code"] == "overloaded"
        assert (await held).status == 200
        assert await asyncio.wait_for(process.wait(), 10) == 0


async def test_a_second_signal_ends_the_drain():
    """A second Ctrl-C is meant; the exit code says that work was dropped."""
    async with api_process(30, 30) as (process, api, _, http):
        held = asyncio.create_task(http.post(api + "/evaluate", json=GOOD))
        await asyncio.sleep(0.3)
        process.send_signal(signal.SIGINT)
        await asyncio.sleep(0.2)
        process.send_signal(signal.SIGINT)
        assert await asyncio.wait_for(process.wait(), 5) == 1
        answer = await held
        assert answer.status == 503
        assert answer.headers["content-type"] == "application/problem+json"


async def test_metrics_are_what_was_rendered():
    """The metrics port serves what the telemetry renders, in the type that it names."""
    async with (
        api_process(0, 0) as (_, _, operations, http),
        http.get(operations + "/metrics") as answer,
    ):
        assert await answer.text() == "up 1\n"
        assert answer.headers["content-type"] == "text/plain"


async def test_a_kept_connection_is_closed_by_a_process_that_exits():
    """While it leaves a process still answers, and closes the connection with the answer: the
    next request on it would be refused."""
    async with api_process(0, 5) as (process, api, operations, http):
        async with http.get(api + "/v1/models") as before:
            assert "connection" not in before.headers
        process.send_signal(signal.SIGTERM)
        await asyncio.sleep(0.2)
        assert await status_of(http, operations + "/readyz") == 503
        for asked in (http.get(api + "/v1/models"), http.post(api + "/evaluate", json=GOOD)):
            async with asked as told:
                assert (told.status, told.headers["connection"]) == (200, "close")


async def test_a_slow_reader_gets_the_whole_answer_of_a_process_that_leaves():
    """What has been answered and is not yet read keeps the process until it is."""
    size = 8_000_000
    async with api_process(0, 0) as (process, api, _, _http):
        host, port = api.removeprefix("http://").split(":")
        reader, writer = await asyncio.open_connection(host, int(port), limit=65_536)
        writer.write(f"GET /large/{size} HTTP/1.1\r\nhost: localhost\r\n\r\n".encode())
        head = await reader.readuntil(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 200")
        process.send_signal(signal.SIGTERM)
        await asyncio.sleep(3)
        assert process.returncode is None
        assert len(await reader.readexactly(size)) == size
        assert await asyncio.wait_for(process.wait(), 5) == 0
        writer.close()
