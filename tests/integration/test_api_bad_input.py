"""Whatever a caller sends wrong gets a problem that names the place, and no judge is asked."""

import asyncio
import io
import json
import re
from contextlib import closing
from urllib.parse import urlsplit

import pytest
from uvicorn.server import ServerState

from assay.http.protocol import PacedConnection
from assay.http.server import server_config
from fakes.http_api import running_api
from fakes.limits import limits_with

GOOD = {"input": "2+2?", "output": "4", "criteria": "Is it right?"}


def nested(depth):
    return "[" * depth + "]" * depth


MALFORMED = {
    "cut": b'{"output": "4", "criteria"',
    "empty": b"",
    "nan": b'{"output": "4", "criteria": [{"type": "rubric", "rubric": "r", "weight": NaN}]}',
    "infinity": b'{"output": "4", "criteria": "c", "metadata": {"a": Infinity}}',
    "overflow": b'{"output": "4", "criteria": "c", "metadata": {"a": 1e999}}',
    "invalid utf-8": b'{"output": "\xff", "criteria": "c"}',
    "utf-16": '{"output": "4"}'.encode("utf-16"),
    "lone surrogate": b'{"output": "\\ud800", "criteria": "c"}',
    "raw nul": b'{"output": "a\x00b", "criteria": "c"}',
    "deep": b'{"output": "4", "criteria": "c", "metadata": {"a": %s}}' % nested(500).encode(),
    "deeper than the parser": b'{"metadata": %s}' % nested(20_000).encode(),
}


@pytest.mark.parametrize("name", MALFORMED)
async def test_a_body_that_is_not_json_is_a_400_that_says_why(name):
    """No parser's leniency reaches the resource: NaN, bad UTF-8, lone surrogates, deep nesting."""
    async with running_api() as api:
        status, headers, problem = await api.post(data=MALFORMED[name])
        assert (status, problem["code"]) == (400, "malformed_json")
        assert headers["content-type"] == "application/problem+json"
        assert len(problem["detail"]) > 10
        assert not api.evaluator.calls


async def test_a_body_in_another_encoding_is_told_its_first_wrong_byte():
    """The parser speaks of surrogates at the first character."""
    async with running_api() as api:
        body = '{"output": "Café", "criteria": "c"}'.encode("latin-1")
        *_, problem = await api.post(data=body)
        assert problem["detail"] == "Text is not valid UTF-8 at byte 16."
        *_, problem = await api.post(data=b" " * 100_000 + body)
        assert problem["detail"] == "Text is not valid UTF-8 at byte 100016."


INVALID = {
    "not an object": ([1], "invalid_request", ""),
    "no output": ({"criteria": "c"}, "invalid_request", "/output"),
    "no criteria": ({"output": "4"}, "invalid_request", "/criteria"),
    "no messages": (GOOD | {"output": []}, "invalid_request", "/output"),
    "null output": (GOOD | {"output": None}, "invalid_request", "/output"),
    "number as output": (GOOD | {"output": 4}, "invalid_request", "/output"),
    "object as output": (GOOD | {"output": {"text": 1}}, "invalid_request", "/output"),
    "message without a role": (
        GOOD | {"input": [{"content": "hi"}]},
        "invalid_request",
        "/input/0/role",
    ),
    "message role": (
        GOOD | {"output": [{"role": "robot", "content": "hi"}]},
        "invalid_request",
        "/output/0/role",
    ),
    "message content": (
        GOOD | {"input": [{"role": "user", "content": 7}]},
        "invalid_request",
        "/input/0/content",
    ),
    "number as context": (GOOD | {"context": ["a", 7]}, "invalid_request", "/context/1"),
    "number as reference": (GOOD | {"reference": ["a", 7]}, "invalid_request", "/reference/1"),
    "alias keeps its name": (GOOD | {"expected": 7}, "invalid_request", "/expected"),
    "unknown field": (GOOD | {"referense": "4"}, "invalid_request", "/referense"),
    "alias twice": (GOOD | {"expected": "a", "reference": "b"}, "invalid_request", "/expected"),
    "escaped pointer": (GOOD | {"a/b~c": 1}, "invalid_request", "/a~1b~0c"),
    "unknown type": (
        GOOD | {"criteria": [{"type": "exact_mach"}]},
        "unknown_criterion",
        "/criteria/0/type",
    ),
    "no type": (GOOD | {"criteria": [{"rubric": "r"}]}, "invalid_request", "/criteria/0/type"),
    "unknown field in a criterion": (
        GOOD | {"criteria": [{"type": "rubric", "rubric": "r", "treshold": 1}]},
        "invalid_request",
        "/criteria/0/treshold",
    ),
    "wrong type in a criterion": (
        GOOD | {"criteria": ["ok", {"type": "rubric", "rubric": "r", "weight": "heavy"}]},
        "invalid_request",
        "/criteria/1/weight",
    ),
    "negative weight": (
        GOOD | {"criteria": [{"type": "rubric", "rubric": "r", "weight": -1}]},
        "invalid_request",
        "/criteria/0/weight",
    ),
    "duplicate names": (
        GOOD
        | {
            "criteria": [
                {"type": "rubric", "rubric": "r", "name": "a"},
                {"type": "rubric", "rubric": "s", "name": "a"},
            ]
        },
        "invalid_request",
        "/criteria/1/name",
    ),
    "65 criteria": (GOOD | {"criteria": ["c"] * 65}, "invalid_request", "/criteria"),
    "no criterion": (GOOD | {"criteria": []}, "invalid_request", "/criteria"),
    "judge samples": (GOOD | {"judge": {"samples": 0}}, "invalid_request", "/judge/samples"),
    "judge field": (GOOD | {"judge": {"sample": 2}}, "invalid_request", "/judge/sample"),
    "judge kind": (GOOD | {"judge": 7}, "invalid_request", "/judge"),
    "criterion judge": (
        GOOD | {"criteria": [{"type": "rubric", "rubric": "r", "judge": {"samples": "two"}}]},
        "invalid_request",
        "/criteria/0/judge/samples",
    ),
    "timeout 0": (GOOD | {"timeout_ms": 0}, "invalid_request", "/timeout_ms"),
    "timeout over the server's": (GOOD | {"timeout_ms": 30_001}, "invalid_request", "/timeout_ms"),
    "timeout as text": (GOOD | {"timeout_ms": "5"}, "invalid_request", "/timeout_ms"),
    "timeout true": (GOOD | {"timeout_ms": True}, "invalid_request", "/timeout_ms"),
    "metadata": (GOOD | {"metadata": {"a": "x" * 17_000}}, "invalid_request", "/metadata"),
    "metadata as a list": (GOOD | {"metadata": []}, "invalid_request", "/metadata"),
    "nul in metadata": (GOOD | {"metadata": {"a": "b\0"}}, "invalid_request", "/metadata/a"),
    "nul in a criterion": (
        GOOD | {"criteria": [{"type": "rubric", "rubric": "a\0b"}]},
        "invalid_request",
        "/criteria/0/rubric",
    ),
    "nul in a name": (GOOD | {"metadata": {"a\0": 1}}, "invalid_request", "/metadata"),
    "invalid regex": (
        GOOD | {"criteria": [{"type": "regex", "pattern": "("}]},
        "invalid_request",
        "/criteria/0/pattern",
    ),
}


@pytest.mark.parametrize("name", INVALID)
async def test_a_wrong_field_is_a_422_with_a_pointer_to_it(name):
    """The first error's pointer leads to the field at fault, in the caller's own document."""
    document, code, pointer = INVALID[name]
    async with running_api() as api:
        status, _, problem = await api.post(document)
        assert (status, problem["code"]) == (422, code), problem
        assert pointer in [each["pointer"] for each in problem["errors"]], problem
        assert len(problem["errors"]) == 1, problem
        assert not api.evaluator.calls


@pytest.mark.parametrize(
    ("change", "nearest"),
    [
        ({"referense": "4"}, "reference"),
        ({"expeted_output": "4"}, "expected_output"),
        ({"criteria": [{"type": "rubrik"}]}, "rubric"),
        ({"criteria": [{"type": "rubric", "rubric": "r", "treshold": 1}]}, "threshold"),
    ],
)
async def test_a_misspelt_name_gets_the_nearest_one(change, nearest):
    """A typo is answered with the name that was probably meant."""
    async with running_api() as api:
        _, _, problem = await api.post(GOOD | change)
        assert f"'{nearest}'" in problem["errors"][0]["message"]


async def test_a_problem_lists_20_errors_and_never_echoes_the_callers_text():
    """A request of nothing but faults gets a short answer."""
    secret = "s3cret" * 1_000
    async with running_api() as api:
        document = GOOD | {"criteria": [{"type": "rubric", secret: 1, "weight": secret}] * 64}
        status, _, problem = await api.post(document)
        assert status == 422
        assert len(problem["errors"]) == 20
        assert len(json.dumps(problem)) < 20_000
        status, _, problem = await api.post(GOOD | {f"f{index}": 1 for index in range(50_000)})
        assert status == 422
        assert len(problem["errors"]) == 1


async def test_a_catastrophic_regex_is_linear():
    """A pattern that takes exponential time elsewhere is answered like any other."""
    async with running_api() as api:
        criterion = {"type": "regex", "pattern": "(a+)+$"}
        status, _, _ = await api.post(GOOD | {"output": "a" * 5_000 + "b", "criteria": [criterion]})
        assert status == 200


@pytest.mark.parametrize("content_type", ["text/plain", "application/x-www-form-urlencoded", ""])
async def test_a_body_of_another_type_is_a_415(content_type):
    """Only JSON is read, and what is not said to be JSON is not guessed at."""
    async with running_api() as api:
        status, _, problem = await api.post(data=b"{}", content_type=content_type)
        assert (status, problem["code"]) == (415, "unsupported_media_type")


async def test_a_compressed_body_is_a_415():
    """A few kilobytes that unpack to gigabytes are not unpacked."""
    async with running_api() as api:
        status, _, problem = await api.post(data=b"\x1f\x8b", content_encoding="gzip")
        assert (status, problem["code"]) == (415, "unsupported_media_type")


async def test_a_large_body_is_refused_from_its_content_length():
    """3 MB are refused with an answer that the caller gets to see, and the connection closes."""
    async with running_api() as api:
        status, headers, problem = await api.post(data=io.BytesIO(b"x" * 3_000_000))
        assert (status, problem["code"]) == (413, "body_too_large")
        assert headers["connection"] == "close"
        await asyncio.wait_for(api.services.load.idle.wait(), 5)
        assert api.services.load.body_bytes == 0


async def test_a_large_body_in_chunks_is_refused_while_it_comes():
    """Without a length the bytes are counted; the refusal reaches the caller all the same."""

    async def chunks():
        for _ in range(30):
            yield b"x" * 100_000

    async with running_api() as api:
        status, headers, problem = await api.post(data=chunks())
        assert (status, problem["code"]) == (413, "body_too_large")
        assert headers["connection"] == "close"
        await asyncio.wait_for(api.services.load.idle.wait(), 5)
        assert api.services.load.body_bytes == 0


async def test_a_body_that_trickles_is_dropped_at_the_deadline():
    """A slow body gets a 408 and holds its slot no longer."""
    async with running_api(limits=limits_with(body_timeout_s=0.2)) as api:
        host, port = api.url.removeprefix("http://").split(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        with closing(writer):
            writer.write(
                b"POST /v1/evaluations HTTP/1.1\r\nhost: localhost\r\n"
                b"content-type: application/json\r\n"
                b'content-length: 1000\r\n\r\n{"output'
            )
            head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 5)
            body = await asyncio.wait_for(reader.readuntil(b"}"), 5)
            writer.write_eof()
            await asyncio.wait_for(reader.read(), 5)
        assert head.startswith(b"HTTP/1.1 408 ")
        assert b"connection: close" in head
        assert json.loads(body)["code"] == "request_timeout"
        assert api.services.load.body_bytes == 0


@pytest.mark.parametrize("head", [b"a: b\r\n" * 20_000, b"a: " + b"b" * 100_000])
async def test_an_endless_head_closes_the_connection(head):
    """Headers are bounded as bodies are, in sum and one by one."""
    async with running_api() as api:
        host, port = api.url.removeprefix("http://").split(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        with closing(writer):
            writer.write(b"GET /v1/models HTTP/1.1\r\nhost: localhost\r\n" + head)
            answer = await asyncio.wait_for(reader.readuntil(b"\r\n"), 5)
        assert answer.startswith(b"HTTP/1.1 400 ")


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", "/v1/nothing", 404, "not_found"),
        ("GET", "/v1/evaluations/", 404, "not_found"),
        ("GET", "/v1/evaluations", 405, "method_not_allowed"),
        ("DELETE", "/v1/criteria", 405, "method_not_allowed"),
    ],
)
async def test_unknown_routes_and_methods_are_problems_too(method, path, status, code):
    """Not even the framework's own refusals come in another shape."""
    async with running_api() as api, api.http.request(method, api.url + path) as answer:
        problem = await answer.json(content_type=None)
        assert (answer.status, problem["code"]) == (status, code)
        assert answer.headers["x-request-id"] == problem["request_id"]
        assert status != 405 or answer.headers["allow"]


async def test_a_field_sent_under_two_names_gets_its_own_message():
    """A "did you mean" with the very name that was sent would be useless."""
    async with running_api() as api:
        _, _, problem = await api.post(GOOD | {"response": "5"})
        assert problem["errors"] == [
            {"pointer": "/response", "message": "is given twice, under two names"}
        ]


@pytest.mark.parametrize("said", [b"", b"\r\n"])
async def test_a_connection_that_asks_nothing_is_closed(said):
    """It holds a file descriptor: enough of them would block all other clients."""
    config = server_config(lambda *_: None)
    config.load()
    config.timeout_keep_alive = 0.05
    state = ServerState()
    loop = asyncio.get_running_loop()
    server = await loop.create_server(
        lambda: PacedConnection(config=config, server_state=state, app_state={}), "127.0.0.1", 0
    )
    async with server:
        reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
        with closing(writer):
            writer.write(said)
            assert await asyncio.wait_for(reader.read(), 5) == b""
        await writer.wait_closed()
    assert not state.connections


async def exchanged(api, request: bytes) -> tuple[bytes, bytes]:
    """The head and the body of the answer to raw bytes on a connection of their own."""
    address = urlsplit(api.url)
    reader, writer = await asyncio.open_connection(address.hostname, address.port)
    with closing(writer):
        writer.write(request)
        head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 5)
        length = int(re.search(rb"content-length: (\d+)", head)[1])
        body = await reader.readexactly(length)
    await writer.wait_closed()
    return head, body


async def test_an_offer_to_speak_http2_does_not_cost_the_body():
    """Java's client and `curl --http2` make it with their first request; it may be ignored."""
    body = json.dumps(GOOD).encode()
    offer = (
        b"POST /v1/evaluations HTTP/1.1\r\nHost: localhost\r\n"
        b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\n"
        b"HTTP2-Settings: AAEAAEAAAAIAAAABAAMAAABkAAQBAAAAAAUAAEAA\r\n"
        b"Content-Type: application/json\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body)
    )
    async with running_api() as api:
        head, answer = await exchanged(api, offer)
    assert head.startswith(b"HTTP/1.1 200 "), answer


@pytest.mark.parametrize("request_line", [b"BREW /pot HTTP/1.1", b"GET / HTTP/9.9", b"hello"])
async def test_malformed_http_gets_a_problem(request_line):
    """Even what the parser itself refuses has the shape and the id of every other answer."""
    async with running_api() as api:
        head, body = await exchanged(api, request_line + b"\r\nHost: localhost\r\n\r\n")
    problem = json.loads(body)
    assert head.startswith(b"HTTP/1.1 400 ")
    assert problem["code"] == "malformed_http"
    assert f"x-request-id: {problem['request_id']}".encode() in head
