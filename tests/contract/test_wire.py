"""Oddities of real servers, byte for byte, as a client of the OpenAI protocol meets them."""

from __future__ import annotations

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from assay.domain.completion import Completion
from assay.domain.errors import ModelError, RequestRejected, ServerError, StreamBroken
from assay.domain.models import Model
from assay.providers import ProviderClient, ProviderConfig
from assay.providers.openai import OpenAI
from fakes.calls import call
from fakes.providers.subject import KEY, PROMPT

MODEL = Model(id="acme/judge", provider="acme", name="judge")
YES = b'{"choices":[{"delta":{"content":"yes"},"finish_reason":"stop"}]}'
WHOLE = b'{"choices":[{"message":{"content":"yes"},"finish_reason":"stop"}]}'
SSE, JSON = "text/event-stream", "application/json"


async def answer_to(body: bytes, content_type: str, status: int = 200) -> Completion:
    async def handle(_: web.Request) -> web.Response:
        return web.Response(body=body, status=status, headers={"Content-Type": content_type})

    app = web.Application()
    app.router.add_post("/chat/completions", handle)
    async with TestServer(app) as server:
        config = ProviderConfig("acme", str(server.make_url("/")), lambda: KEY)
        client = ProviderClient(config)
        try:
            return await OpenAI(MODEL, client).complete(PROMPT, call(5))
        finally:
            await client.aclose()


@pytest.mark.parametrize(
    ("body", "content_type"),
    [
        (b"data: " + YES + b"\n\ndata: [DONE] \n\n", SSE),
        (b"data: " + YES + b"\n\ndata:[DONE]\r\n\r\n", SSE),
        (b"\xef\xbb\xbfdata: " + YES + b"\n\ndata: [DONE]\n\n", SSE),
        (b"data:\n\ndata: \n\ndata: " + YES + b"\n\ndata:\n\ndata: [DONE]\n\n", SSE),
        (b'data: {"choices":"none"}\n\ndata: ' + YES + b"\n\n", SSE),
        (b'data: {"choices":[],"usage":"none"}\n\ndata: ' + YES + b"\n\n", SSE),
        (b"\xef\xbb\xbf" + WHOLE, JSON),
        (WHOLE[:-1] + b',"usage":[1],"error":null}', JSON),
    ],
)
async def test_oddities_do_not_sink_the_answer(body: bytes, content_type: str) -> None:
    """Marks, empty events, blanks and fields of another shape are looked past."""
    completion = await answer_to(body, content_type)
    assert (completion.text, completion.finish) == ("yes", "stop")


@pytest.mark.parametrize(
    ("body", "content_type", "expected"),
    [
        (b'data: {"choices":[{"delta":{},"finish_reason":"error"}]}\n\n', SSE, StreamBroken),
        (b'{"choices":[{"message":{"content":"yes"},"finish_reason":null}]}', JSON, StreamBroken),
        (b'data: {"choices":[{"error":{"code":502,"message":"x"}}]}\n\n', SSE, ServerError),
        (b'{"choices":[{"error":{"code":502,"message":"x"}}]}', JSON, ServerError),
        (b'{"error":{"message":"bad","code":400}}', JSON, RequestRejected),
        (b'{"choices":{"message":{"content":"yes"}}}', JSON, StreamBroken),
        (b"data: [1]\n\n", SSE, StreamBroken),
        (b"", JSON, StreamBroken),
        (b'data: {"type":' + b"[" * 5_000 + b"\n\n", SSE, StreamBroken),
    ],
)
async def test_an_answer_that_failed(
    body: bytes, content_type: str, expected: type[ModelError]
) -> None:
    """An error inside an answer, or an answer without its required parts, is the provider's."""
    with pytest.raises(ModelError) as caught:
        await answer_to(body, content_type)
    assert type(caught.value) is expected
    assert caught.value.next_candidate == "any"


@pytest.mark.parametrize(
    ("body", "content_type", "said"),
    [
        (b"no healthy upstream", "text/plain", "acme answered 503: no healthy upstream"),
        (b'\xef\xbb\xbf{"detail":"Loading"}', JSON, "acme answered 503: Loading"),
        (b"bad \xff\n" + KEY.encode(), "text/plain", "acme answered 503: bad \ufffd [key]"),
        (b"<html><body>Bad Gateway</body></html>", "text/html", "acme answered 503"),
        (b"", "text/plain", "acme answered 503"),
    ],
)
async def test_the_message_of_an_error(body: bytes, content_type: str, said: str) -> None:
    """JSON of any shape and plain text give their message, without the key; pages give none."""
    with pytest.raises(ServerError) as caught:
        await answer_to(body, content_type, status=503)
    assert caught.value.message == said
