"""Requests that are sent before the one in front of them is answered."""

import asyncio
import json

from assay.http import protocol
from fakes.http_api import running_api


def request(output: str) -> tuple[bytes, bytes]:
    body = json.dumps({"output": output, "criteria": "Is it right?"}).encode()
    head = (
        "POST /evaluate HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n"
        f"content-length: {len(body)}\r\n\r\n"
    )
    return head.encode(), body


async def connected(api):
    host, port = api.url.removeprefix("http://").split(":")
    return await asyncio.open_connection(host, int(port))


async def status_of(reader) -> int:
    """The status of the next answer, which is read to its end."""
    head = (await reader.readuntil(b"\r\n\r\n")).lower()
    length = int(head.partition(b"content-length: ")[2].split(b"\r\n")[0])
    await reader.readexactly(length)
    return int(head.split()[1])


async def test_each_pipelined_request_is_judged_by_its_own_body():
    """The answer to one request takes nothing of what came for the next."""
    async with running_api() as api:
        reader, writer = await connected(api)
        outputs = ["one", "two" * 2_000, "three" * 20_000]
        writer.write(b"".join(part for each in outputs for part in request(each)))
        assert [await status_of(reader) for _ in outputs] == [200] * 3
        assert [call["case"].output for call in api.evaluator.calls] == outputs
        writer.close()


async def test_a_pipelined_body_is_wanted_though_it_comes_late(monkeypatch):
    """The time for the rest of a refused body is not for the body of who comes next."""
    monkeypatch.setattr(protocol, "UNWANTED_S", 0.05)
    async with running_api() as api:
        reader, writer = await connected(api)
        (head, body), (next_head, next_body) = request("one"), request("two")
        writer.write(head + body + next_head + next_body[:5])
        assert await status_of(reader) == 200
        await asyncio.sleep(0.2)
        writer.write(next_body[5:])
        assert await status_of(reader) == 200
        assert api.evaluator.calls[1]["case"].output == "two"
        writer.close()


async def test_a_body_in_the_tiniest_chunks_is_read_whole():
    """However many of them come in one read."""
    text = "abcdefghij" * 5_000
    body = json.dumps({"output": text, "criteria": "c"}).encode()
    chunks = b"".join(b"1\r\n%c\r\n" % each for each in body) + b"0\r\n\r\n"
    head = b"POST /evaluate HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n"
    async with running_api() as api:
        reader, writer = await connected(api)
        writer.write(head + b"transfer-encoding: chunked\r\n\r\n" + chunks)
        assert await status_of(reader) == 200
        assert api.evaluator.calls[0]["case"].output == text
        assert api.services.load.body_bytes == 0
        writer.close()
