"""The console's pages of live traffic."""

from __future__ import annotations

import asyncio

import pytest

from assay.otlp.decoding import PROTOBUF
from fakes.spans import chat, export, span

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def send(console, *spans):
    headers = {"Content-Type": PROTOBUF}
    session = console.api.sessions["one"]
    async with session.post("/v1/traces", data=export(*spans), headers=headers) as response:
        assert response.status == 200


async def test_a_rule_is_made_watched_stopped_and_removed(console):
    """The whole way; what is not understood is listed, and nothing of a caller is markup."""
    empty = await console.get("live")
    assert "No spans have come in yet" in empty.words
    assert "A rule needs an evaluator" in empty.words
    evaluator = await console.api.evaluator(
        [{"type": "contains", "name": "<b>polite", "value": "please"}]
    )
    fields = {"name": "shop", "evaluator": evaluator, "percent": "100", "filter": "a ==="}
    wrong = await console.press("live", **fields)
    assert "is not a condition" in wrong.words
    made = await console.press("live", **fields | {"filter": 'service.name == "shop"'})
    assert made.headers["hx-redirect"] == "/console/live/shop"
    assert "Nothing was judged in these hours" in (await console.get("live/shop")).words
    silent = span(2, attributes={"gen_ai.request.model": "<i>small"})
    await send(console, span(1, attributes=chat("Hi", "please")), silent)
    async with asyncio.timeout(30):
        while "<b>polite" not in (page := await console.get("live/shop")).words:  # noqa: ASYNC110
            await asyncio.sleep(0.1)
    assert "<b>polite" not in page.text
    assert 'data-chart="hours"' in page.text
    listed = await console.get("live")
    assert "It has no content" in listed.words
    assert "100.0 %" in listed.words
    stopped = await console.press("live/shop/enabled", enabled="false")
    assert stopped.headers["hx-redirect"] == "/console/live/shop"
    assert "Judge again" in (await console.get("live/shop")).words
    gone = await console.press("live/shop/delete")
    assert gone.headers["hx-redirect"] == "/console/live"
    assert (await console.get("live/shop")).status == 404
