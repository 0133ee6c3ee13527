"""Images through a real service with real Redis: fetched, judged, in batches, and never logged."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from fakes.batches import create, ended, results, until, upload
from fakes.images import ImageHost, base64_of, data_uri, image_host, message, part, png
from fakes.providers.server import FaultServer
from fakes.service_process import ServiceProcess, running_service

CONFIG = """
[images]
hosts = ["http://127.0.0.1:{port}"]
[providers.fake]
dialect = "openai"
base_url = "{base_url}"
[models."fake/blind"]
provider = "fake"
name = "blind"
[models."fake/seeing"]
provider = "fake"
name = "seeing"
vision = true
[judges.default]
models = ["fake/blind", "fake/seeing"]
[judges.blind]
models = ["fake/blind"]
"""


@pytest.fixture
async def provider() -> AsyncIterator[FaultServer]:
    async with FaultServer() as server:
        yield server


@pytest.fixture
async def host() -> AsyncIterator[ImageHost]:
    async with image_host() as host:
        yield host


@pytest.fixture
async def service(
    provider: FaultServer, host: ImageHost, tmp_path: Path
) -> AsyncIterator[ServiceProcess]:
    config = CONFIG.format(port=host.port, base_url=provider.base_url("openai"))
    async with running_service(tmp_path, config) as service:
        yield service


async def judged(service: ServiceProcess, status: int = 200, **fields: Any) -> dict[str, Any]:
    body = {"output": "It is blue.", "criteria": ["It is right."], **fields}
    async with (
        aiohttp.ClientSession(service.url) as session,
        session.post("/v1/evaluations", json=body) as answer,
    ):
        read: dict[str, Any] = await answer.json()
        assert answer.status == status, read
        return read


def shown(provider: FaultServer) -> list[str]:
    """The images of the last request to the provider."""
    content = provider.requests[-1].body["messages"][-1]["content"]
    return [block["image_url"]["url"] for block in content if block["type"] == "image_url"]


async def test_images_are_fetched_and_judged(
    service: ServiceProcess, provider: FaultServer, host: ImageHost
) -> None:
    """By a data URI and by the URL of a listed host, by the first model that can see."""
    url = host.give("/a.png", png(7))
    read = await judged(service, input=[message("Blue?", png(5), part(url))])
    assert read["status"] == "completed"
    attempts = read["results"][0]["judge"]["attempts"]
    assert [(attempt["model"], attempt["outcome"]) for attempt in attempts] == [
        ("fake/blind", "model_blind"),
        ("fake/seeing", "ok"),
    ]
    assert provider.count == 1
    assert shown(provider) == [data_uri(png(5)), data_uri(png(7))]
    log = service.log.read_text()
    assert base64_of(png(5)) not in log
    assert base64_of(png(7)) not in log
    async with (
        aiohttp.ClientSession(service.url) as session,
        session.get("/v1/models") as answer,
    ):
        models = {model["id"]: model for model in (await answer.json())["data"]}
    assert (models["fake/blind"]["vision"], models["fake/seeing"]["vision"]) == (False, True)


async def test_bad_images_cost_nothing(
    service: ServiceProcess, provider: FaultServer, host: ImageHost
) -> None:
    """A host that is not listed, a PDF in a PNG's clothes, a judge that cannot see."""
    private = await judged(service, 422, context=[part("http://169.254.169.254/latest")])
    assert private["errors"][0]["pointer"] == "/context/0/image_url/url"
    assert "images.hosts" in private["errors"][0]["message"]
    pdf = await judged(service, 422, input=[message(part(data_uri(b"%PDF-1.7")))])
    assert "PDF" in pdf["errors"][0]["message"]
    fetched = await judged(service, context=[part(host.give("/pdf.png", b"%PDF-1.7"))])
    assert fetched["results"][0]["reason"] == "input_unsupported"
    assert "is a PDF" in fetched["results"][0]["explanation"]
    moved = host.give("/moved", b"", 302, Location="http://169.254.169.254/")
    followed = await judged(service, context=[part(moved)])
    assert followed["results"][0]["reason"] == "input_unsupported"
    blind = await judged(service, context=[part(png())], judge="blind")
    assert blind["results"][0]["reason"] == "input_unsupported"
    assert 'vision = true in [models."fake/blind"]' in blind["results"][0]["explanation"]
    down = await judged(service, 503, context=[part(host.give("/down", b"", 500))])
    assert down["code"] == "input_unavailable"
    assert down["detail"].endswith("could not be fetched: the host answered 500.")
    assert provider.count == 0


async def test_rows_with_images_are_judged_like_requests(
    service: ServiceProcess, provider: FaultServer, host: ImageHost
) -> None:
    """A host that is down for a moment costs a row nothing: it is tried again."""
    provider.answer = json.dumps({"reasoning": "seen", "verdict": "pass"})
    url = host.give("/late.png", b"", 503)
    rows = [
        {"id": "1", "output": "a", "context": [part(png(5))]},
        {"id": "2", "output": "b", "context": [part(url)]},
        {"id": "3", "output": "c", "context": [part(host.give("/gone", b"", 404))]},
    ]
    async with aiohttp.ClientSession(service.url) as session:
        batch = await create(session, criteria=["It is right."])
        await upload(session, batch, b"\n".join(json.dumps(row).encode() for row in rows))
        async with session.post(f"/v1/batches/{batch['id']}/start") as answer:
            assert answer.status == 200
        await until(lambda: "/late.png" in [path for path, _ in host.asked])
        host.give("/late.png", png(6))
        done = await ended(session, batch)
        paged = await results(session, batch, limit=10)
    assert done["counts"]["total"] == 3
    reasons = {row["item_id"]: row["results"][0]["reason"] for row in paged}
    assert reasons == {"1": None, "2": None, "3": "input_unsupported"}
    sent = [
        block["image_url"]["url"]
        for request in provider.requests
        for block in request.body["messages"][-1]["content"]
        if block["type"] == "image_url"
    ]
    assert sorted(sent) == sorted([data_uri(png(5)), data_uri(png(6))])
