"""What a connection makes of bodies that are not wanted, heads in pieces, and callers who leave."""

from __future__ import annotations

import asyncio
import json
import logging
import re
from contextlib import asynccontextmanager, closing, suppress
from functools import partial
from urllib.parse import urlsplit

import pytest
from starlette.requests import Request
from uvicorn.server import ServerState

from assay.http import protocol
from assay.http.disconnect import CancelOnDisconnect
from assay.http.limits import Limits
from assay.http.protocol import HEAD_BYTES_MAX, HEAD_RECEIVE_BYTES, PacedConnection
from assay.http.request_id import CLIENT_CLOSED, RequestIdMiddleware
from assay.http.server import server_config
from fakes.http_api import ScriptedEvaluator, on_free_port, running_api
from fakes.limits import limits_with
from fakes.recorded_events import RecordedEvents

GOOD = json.dumps({"input": "2+2?", "output": "4", "criteria": "Is it right?"}).encode()
JSON = b"content-type: application/json\r\n"
OFFER = (
    b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\n"
    b"HTTP2-Settings: AAEAAEAAAAIAAAABAAMAAABkAAQBAAAAAAUAAEAA\r\n"
)
MEGABYTE = 1_048_576
UNWANTED_S = 0.2
WRITE_S = 0.5


class Echo:
    """An app that answers with the path and the body, and may be held at any path."""

    def __init__(self) -> None:
        self.held: dict[str, asyncio.Event] = {}
        self.started: list[str] = []
        self.cancelled: list[str] = []
        self.begun = asyncio.Event()

    async def __call__(self, scope, receive, send) -> None:
        path = scope["path"]
        self.started.append(path)
        self.begun.set()
        try:
            body = await read(receive)
            if path in self.held:
                await self.held[path].wait()
        except asyncio.CancelledError:
            self.cancelled.append(path)
            raise
        answer = f"{path} ".encode() + body
        headers = [(b"content-length", b"%d" % len(answer))]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": answer})


async def read(receive) -> bytes:
    body, more = b"", True
    while more:
        message = await receive()
        body += message.get("body", b"")
        more = message.get("more_body", False)
    return body


class ProviderClient:
    """A raw connection to a server."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    async def say(self, *pieces: bytes) -> None:
        """Send each piece on its own, and give the server the time to read it."""
        for piece in pieces:
            self.writer.write(piece)
            await self.writer.drain()
            await asyncio.sleep(0)

    async def answer(self) -> tuple[int, bytes]:
        """The status and the body of the next answer."""
        async with asyncio.timeout(10):
            head = await self.reader.readuntil(b"\r\n\r\n")
            length = re.search(rb"content-length: (\d+)", head, re.IGNORECASE)
            body = await self.reader.readexactly(int(length[1]) if length else 0)
        return int(head.split()[1]), body

    async def end(self) -> bytes:
        """What comes until the server closes the connection."""
        return await asyncio.wait_for(self.reader.read(), 10)


@asynccontextmanager
async def wire(url: str):
    address = urlsplit(url)
    reader, writer = await asyncio.open_connection(address.hostname, address.port)
    with closing(writer):
        yield ProviderClient(reader, writer)


@asynccontextmanager
async def echoing():
    """A server of an `Echo`, and a connection to it."""
    echo = Echo()
    async with on_free_port(CancelOnDisconnect(echo)) as (_, url), wire(url) as connection:
        yield echo, connection


@asynccontextmanager
async def impatient(app):
    """A server that soon loses patience with unwanted bodies and slow readers, and a connection."""
    config = server_config(app)
    config.load()
    state = ServerState()
    connect = partial(
        PacedConnection,
        config=config,
        server_state=state,
        app_state={},
        unwanted_s=UNWANTED_S,
        write_s=WRITE_S,
    )
    server = await asyncio.get_running_loop().create_server(connect, "127.0.0.1", 0)
    async with server:
        host, port = server.sockets[0].getsockname()
        async with wire(f"http://{host}:{port}") as connection:
            yield state, connection


def post(path: str, body: bytes, headers: bytes = b"", length: int | None = None) -> bytes:
    length = len(body) if length is None else length
    head = f"POST {path} HTTP/1.1\r\nhost: localhost\r\ncontent-length: {length}\r\n".encode()
    return head + headers + b"\r\n" + body


def judged(body: bytes = GOOD, headers: bytes = b"") -> bytes:
    return post("/v1/evaluations", body, JSON + headers)


async def say_until_closed(connection: ProviderClient) -> None:
    """Send one byte after the other for as long as the server takes them."""
    async with asyncio.timeout(10):
        with suppress(ConnectionError):
            while not connection.reader.at_eof():
                await connection.say(b"x")
                await asyncio.sleep(0.02)


async def until(condition) -> None:
    """Wait for what has no event of its own."""
    async with asyncio.timeout(10):
        while not condition():  # noqa: ASYNC110 # the other side is a server under test
            await asyncio.sleep(0.005)


def too_little_memory() -> Limits:
    return limits_with(inflight_bytes_max=MEGABYTE)


async def test_a_refused_body_is_dropped_and_the_connection_kept():
    """The answer does not wait for the body, and what comes of it is not the next request."""
    async with running_api(limits=too_little_memory()) as api, wire(api.url) as connection:
        body = b"x" * MEGABYTE
        for _ in range(2):
            await connection.say(judged(body)[: -MEGABYTE + 1_000])
            status, answer = await connection.answer()
            assert (status, json.loads(answer)["code"]) == (503, "overloaded")
            await connection.say(body[1_000:])
            await connection.say(judged())
            status, _ = await connection.answer()
            assert status == 200
        assert len(api.evaluator.calls) == 2
        assert api.services.load.body_bytes == 0


@pytest.mark.parametrize("ending", ["connection: close", "HTTP/1.0"])
async def test_a_caller_who_closes_gets_the_answer_to_a_refused_body(ending):
    """To close while the caller still sends would reset the connection, and lose the answer."""
    body = b"x" * MEGABYTE
    request = judged(body, b"" if ending == "HTTP/1.0" else b"Connection: Close\r\n")
    if ending == "HTTP/1.0":
        request = request.replace(b"HTTP/1.1", b"HTTP/1.0", 1)
    async with running_api(limits=too_little_memory()) as api, wire(api.url) as connection:
        await connection.say(request[:10_000])
        status, answer = await connection.answer()
        assert (status, json.loads(answer)["code"]) == (503, "overloaded")
        for start in range(10_000, len(request), 100_000):
            await connection.say(request[start : start + 100_000])
        assert await connection.end() == b""


async def test_a_refused_body_without_an_end_closes_the_connection():
    """A client that keeps sending slowly holds the connection no longer than is allowed."""

    async def refusing(scope, receive, send):
        headers = [(b"content-length", b"0")]
        await send({"type": "http.response.start", "status": 503, "headers": headers})
        await send({"type": "http.response.body", "body": b""})

    async with impatient(refusing) as (state, connection):
        await connection.say(post("/", b"x", length=MEGABYTE))
        assert await connection.answer() == (503, b"")
        await say_until_closed(connection)
        await until(lambda: not state.connections)


async def test_a_body_that_is_wanted_is_waited_for_whatever_was_answered_before_it():
    """The clock of a body that came too late does not run for the next request's."""
    echo = Echo()
    echo.held["/first"] = asyncio.Event()
    async with impatient(echo) as (_, connection):
        await connection.say(post("/first", b"1") + post("/second", b"half", length=8))
        await asyncio.wait_for(echo.begun.wait(), 10)
        echo.held["/first"].set()
        assert await connection.answer() == (200, b"/first 1")
        await asyncio.sleep(2 * UNWANTED_S)
        await connection.say(b"half")
        assert await connection.answer() == (200, b"/second halfhalf")


async def test_requests_sent_in_a_row_are_answered_in_order():
    """Each has its own body, though all of them came before the first was answered."""
    async with echoing() as (echo, connection):
        echo.held["/0"] = asyncio.Event()
        paths = [f"/{index}" for index in range(5)]
        await connection.say(b"".join(post(path, path.encode() * 3) for path in paths))
        await asyncio.wait_for(echo.begun.wait(), 10)
        echo.held["/0"].set()
        answers = [await connection.answer() for _ in paths]
        assert answers == [(200, f"{path} {path * 3}".encode()) for path in paths]
        assert echo.started == paths


async def test_a_large_body_behind_a_held_request_arrives_whole():
    """What is read of it early is not lost when the request before it is answered."""
    body = bytes(range(256)) * 4_096
    async with echoing() as (echo, connection):
        echo.held["/first"] = asyncio.Event()
        await connection.say(post("/first", b"1"))
        await asyncio.wait_for(echo.begun.wait(), 10)
        whole = post("/second", body)
        sending = asyncio.create_task(connection.say(whole[:300], whole[300:]))
        await asyncio.sleep(0.05)
        echo.held["/first"].set()
        assert await connection.answer() == (200, b"/first 1")
        assert await connection.answer() == (200, b"/second " + body)
        await sending


@pytest.mark.parametrize("waiting", [0, 1])
async def test_a_client_that_leaves_between_pipelined_requests_cancels_the_current_one(
    waiting, caplog
):
    """Whether the other one waits or was answered: the one that is handled ends, and no more."""
    caplog.set_level(logging.ERROR)
    async with echoing() as (echo, connection):
        held = "/first" if waiting else "/second"
        echo.held[held] = asyncio.Event()
        await connection.say(post("/first", b"1") + post("/second", b"2"))
        await until(lambda: held in echo.started)
        connection.writer.close()
        await until(lambda: echo.cancelled == [held])
    assert echo.started == (["/first"] if waiting else ["/first", "/second"])
    assert not caplog.records


@pytest.mark.parametrize("size", [1, 7, 5_000])
async def test_a_body_in_chunks_is_put_together(size):
    """However small they are, and however many come at once."""
    body = bytes(range(256)) * 80
    parts = [body[start : start + size] for start in range(0, len(body), size)]
    chunks = b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in parts) + b"0\r\n\r\n"
    head = b"POST /x HTTP/1.1\r\nhost: localhost\r\ntransfer-encoding: chunked\r\n\r\n"
    async with echoing() as (_, connection):
        await connection.say(head + chunks)
        assert await connection.answer() == (200, b"/x " + body)
        await connection.say(head, chunks[:10], chunks[10:11], chunks[11:])
        assert await connection.answer() == (200, b"/x " + body)


@pytest.mark.parametrize("offer", [b"", OFFER], ids=["plain", "h2c"])
async def test_a_request_may_come_byte_by_byte(offer):
    """Wherever its head is cut, it is the same request; an offer of HTTP/2 costs no body."""
    request = post("/x", b"body\r\n", offer)
    async with echoing() as (_, connection):
        for _ in range(2):
            for index in range(len(request)):
                await connection.say(request[index : index + 1])
                await asyncio.sleep(0.001)
            assert await connection.answer() == (200, b"/x body\r\n")


async def test_an_offer_of_http2_costs_no_body_wherever_it_is_read_in_two():
    """A head is read in pieces: that one may end within the offer makes no difference."""
    async with echoing() as (_, connection):
        for cut in range(40):
            filled = HEAD_RECEIVE_BYTES - cut - len(post("/x", b"", b"a: \r\n", length=4)) + 2
            before = b"a: %s\r\nUpgrade: h2c\r\nConnection: Upgrade\r\n" % (b"x" * filled)
            await connection.say(post("/x", b"body", before))
            assert await connection.answer() == (200, b"/x body")


@pytest.mark.parametrize("offer", [b"", OFFER], ids=["plain", "h2c"])
@pytest.mark.parametrize("size", [10, 3_000, 500_000])
async def test_a_long_head_with_a_body_behind_it_is_one_request(size, offer):
    """20 KB of headers take several reads; the body begins in the middle of one of them."""
    headers = b"a: " + b"x" * 20_000 + b"\r\n" + offer
    body = b"y" * size
    async with echoing() as (_, connection):
        await connection.say(post("/x", body, headers))
        assert await connection.answer() == (200, b"/x " + body)
        await connection.say(post("/x", b"z"))
        assert await connection.answer() == (200, b"/x z")


def head_of(size: int) -> bytes:
    request = post("/x", b"", b"a: \r\n")
    return request.replace(b"a: ", b"a: " + b"x" * (size - len(request)))


async def test_the_longest_head_is_taken():
    """A head of the very limit is a request like any other, on a kept connection too."""
    head = head_of(HEAD_BYTES_MAX)
    async with echoing() as (_, connection):
        for _ in range(2):
            for start in range(0, len(head), 1_000):
                await connection.say(head[start : start + 1_000])
                await asyncio.sleep(0.001)
            assert await connection.answer() == (200, b"/x ")


async def test_a_head_that_goes_on_beyond_the_limit_is_refused():
    """However many pieces it comes in, its end is not waited for."""
    head = head_of(HEAD_BYTES_MAX + 2_000)
    async with echoing() as (echo, connection):
        for start in range(0, HEAD_BYTES_MAX, 1_024):
            await connection.say(head[start : start + 1_024])
            await asyncio.sleep(0.001)
        await connection.say(b"x")
        assert (await connection.end()).startswith(b"HTTP/1.1 400 ")
    assert not echo.started


async def test_a_client_that_expects_100_continue_gets_it():
    """The answer to `Expect: 100-continue` comes before the body, when the body is wanted."""
    async with running_api() as api, wire(api.url) as connection:
        await connection.say(judged(headers=b"Expect: 100-continue\r\n")[: -len(GOOD)])
        assert await connection.answer() == (100, b"")
        await connection.say(GOOD)
        status, _ = await connection.answer()
        assert status == 200


async def test_a_client_that_expects_100_continue_gets_the_refusal_instead():
    """The refusal comes in the place of the question."""
    body = b"x" * MEGABYTE
    async with running_api(limits=too_little_memory()) as api, wire(api.url) as connection:
        await connection.say(judged(body, b"Expect: 100-continue\r\n")[:-MEGABYTE])
        status, _ = await connection.answer()
        assert status == 503


@pytest.mark.parametrize("sent", ["no body", "half a body", "the whole body"])
async def test_a_client_that_leaves_leaves_no_work_behind(sent):
    """Before, within and after the body: what was started ends, and its memory is given back."""
    evaluator = ScriptedEvaluator()
    evaluator.hold = asyncio.Event()
    request = judged(b" " * 20_000 + GOOD)
    if sent != "the whole body":
        request = request[: -20_000 - len(GOOD)] if sent == "no body" else request[:-9_000]
    async with running_api(evaluator=evaluator) as api:
        load = api.services.load
        before = asyncio.all_tasks()
        async with wire(api.url) as connection:
            await connection.say(request)
            await until(lambda: load.requests == 1)
            if sent == "the whole body":
                await until(lambda: evaluator.calls)
        await until(lambda: asyncio.all_tasks() == before)
        assert load.requests == load.body_bytes == 0
        assert evaluator.cancelled == (sent == "the whole body")


@pytest.mark.parametrize("hosts", [b"", b"host: localhost\r\nHost: evil.example\r\n"])
async def test_no_host_or_two_are_refused(hosts):
    """Servers on the way could each take another one for the target (RFC 9112, section 3.2)."""
    request = post("/x", b"body").replace(b"host: localhost\r\n", hosts)
    async with echoing() as (echo, connection):
        await connection.say(request)
        status, answer = await connection.answer()
        assert (status, json.loads(answer)["code"]) == (400, "malformed_http")
        assert await connection.end() == b""
        assert echo.started == []


class Deaf(Echo):
    """An app that misses its cancellation and reads on, as behind `wait_for` of Python 3.11."""

    async def __call__(self, scope, receive, send) -> None:
        await receive()
        asyncio.get_running_loop().call_later(0.05, self.begun.set)
        try:
            await receive()
        except asyncio.CancelledError:
            self.cancelled.append(scope["path"])
        async for _ in Request(scope, receive).stream():
            pass


async def test_a_caller_who_leaves_in_an_upload_is_no_fault(caplog):
    """Whether the cancellation ends the work or the next read of the body does."""
    caplog.set_level(logging.ERROR)
    app = Deaf()
    events = RecordedEvents()
    layers = RequestIdMiddleware(CancelOnDisconnect(app), events)
    async with on_free_port(layers) as (_, url), wire(url) as connection:
        await connection.say(post("/upload", b"half", length=8))
        await asyncio.wait_for(app.begun.wait(), 10)
        connection.writer.transport.abort()
        await until(lambda: events.events)
    assert app.cancelled == ["/upload"]
    assert [event.status for event in events.events] == [CLIENT_CLOSED]
    assert not caplog.records


async def test_an_old_client_needs_no_host():
    """HTTP/1.0 has none."""
    async with echoing() as (_, connection):
        await connection.say(b"POST /x HTTP/1.0\r\ncontent-length: 1\r\n\r\n1")
        assert await connection.answer() == (200, b"/x 1")


@pytest.mark.parametrize("first", [b"1", b"x" * 3_000])
async def test_an_upgrade_that_is_offered_behind_another_request_is_refused_in_its_turn(first):
    """The parser would take its body for another protocol: it is not answered without its body."""
    async with echoing() as (echo, connection):
        await connection.say(
            post("/first", first) + post("/second", b"body", OFFER) + post("/", b"")
        )
        assert await connection.answer() == (200, b"/first " + first)
        status, answer = await connection.answer()
        assert (status, json.loads(answer)["code"]) == (400, "malformed_http")
        assert await connection.end() == b""
        assert echo.started == ["/first"]


@pytest.mark.parametrize("behind", [b"\0\r\n\r\n", b"GET / HTTP/1.1\r\nx: " + b"x" * 90_000])
@pytest.mark.parametrize("requests", [1, 2])
async def test_what_is_malformed_behind_requests_is_refused_in_its_turn(requests, behind):
    """They are answered first: the refusal in their place would speak of the wrong request."""
    async with echoing() as (echo, connection):
        echo.held["/0"] = asyncio.Event()
        await connection.say(*(post(f"/{number}", b"1") for number in range(requests)), behind)
        await asyncio.wait_for(echo.begun.wait(), 10)
        await asyncio.sleep(0.05)
        echo.held["/0"].set()
        for number in range(requests):
            assert await connection.answer() == (200, b"/%d 1" % number)
        status, answer = await connection.answer()
        assert (status, json.loads(answer)["code"]) == (400, "malformed_http")


async def test_a_head_may_wait_for_the_request_in_front_of_it(monkeypatch):
    """Its time does not run meanwhile: no more may be read until then."""
    monkeypatch.setattr(protocol, "HEAD_TIMEOUT_S", 0.2)
    async with echoing() as (echo, connection):
        echo.held["/first"] = asyncio.Event()
        second = post("/second", b"2")
        await connection.say(post("/first", b"1") + second[:20])
        await asyncio.wait_for(echo.begun.wait(), 10)
        await asyncio.sleep(0.39)
        echo.held["/first"].set()
        assert await connection.answer() == (200, b"/first 1")
        await asyncio.sleep(0.05)
        await connection.say(second[20:])
        assert await connection.answer() == (200, b"/second 2")


class Headers(Echo):
    """An app that answers with the names of the headers, once the body is read."""

    async def __call__(self, scope, receive, send) -> None:
        await read(receive)
        answer = b" ".join(name for name, _ in scope["headers"])
        headers = [(b"content-length", b"%d" % len(answer))]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": answer})


async def test_trailers_are_no_headers():
    """What stands behind the body was not there when the request was admitted."""
    head = b"POST /x HTTP/1.1\r\nhost: localhost\r\ntransfer-encoding: chunked\r\n\r\n"
    chunks = b"3\r\nabc\r\n0\r\nAuthorization: Bearer x\r\nHost: evil.example\r\n\r\n"
    async with on_free_port(CancelOnDisconnect(Headers())) as (_, url), wire(url) as connection:
        for _ in range(2):
            await connection.say(head, chunks)
            assert await connection.answer() == (200, b"host transfer-encoding")


@pytest.mark.parametrize("framing", [b"0\r\na: ", b"3;a="])
async def test_the_framing_of_a_body_is_bounded(framing):
    """A trailer or the extension of a chunk is held until it ends, and need not end."""
    head = b"POST /x HTTP/1.1\r\nhost: localhost\r\ntransfer-encoding: chunked\r\n\r\n"
    async with echoing() as (echo, connection):
        await connection.say(head + framing)
        with suppress(ConnectionError):
            for _ in range(20):
                await connection.say(b"x" * 8_192)
                await asyncio.sleep(0.001)
        await until(lambda: echo.cancelled == ["/x"])


LARGE = 16 * MEGABYTE


class Large(Echo):
    """An app that answers with more than sockets hold, in one piece or in many."""

    def __init__(self, pieces: int) -> None:
        super().__init__()
        self.piece = b"x" * (LARGE // pieces)
        self.pieces = pieces
        self.ended = asyncio.Event()

    async def __call__(self, scope, receive, send) -> None:
        headers = [(b"content-length", b"%d" % LARGE)]
        try:
            await send({"type": "http.response.start", "status": 200, "headers": headers})
            for number in range(1, self.pieces + 1):
                more = number < self.pieces
                await send({"type": "http.response.body", "body": self.piece, "more_body": more})
        finally:
            self.ended.set()


@pytest.mark.parametrize("pieces", [1, 64])
async def test_a_reader_that_stands_still_is_dropped(pieces):
    """Its response would hold memory and a place for as long as it likes."""
    app = Large(pieces)
    async with impatient(CancelOnDisconnect(app)) as (state, connection):
        await connection.say(b"GET /x HTTP/1.1\r\nhost: localhost\r\n\r\n")
        await until(lambda: state.connections)
        await until(lambda: not state.connections)
        await asyncio.wait_for(app.ended.wait(), 10)
        with pytest.raises((asyncio.IncompleteReadError, ConnectionError)):
            await connection.reader.readexactly(LARGE * 2)


@pytest.mark.parametrize("pieces", [1, 64])
async def test_a_slow_reader_that_reads_on_gets_the_whole(pieces):
    """It may take many times as long as one part of the response may."""
    async with impatient(Large(pieces)) as (_, connection):
        await connection.say(b"GET /x HTTP/1.1\r\nhost: localhost\r\n\r\n")
        await connection.reader.readuntil(b"\r\n\r\n")
        for _ in range(32):
            await connection.reader.readexactly(LARGE // 32)
            await asyncio.sleep(0.05)
