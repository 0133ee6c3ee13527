"""`assay serve` without a configuration, beside a host that lists models."""

import aiohttp
from aiohttp import web

from fakes.service_process import running_service

LISTED = ("text-embedding-3-small", "gpt-5-mini", "gpt-realtime-2", "gpt-6.1-terra", "gpt-6-luna")


async def test_serve_picks_a_listed_chat_model_and_says_so(tmp_path):
    """The judge is one that stays and can chat; the log names it and how to pin it."""

    async def models(_: web.Request) -> web.Response:
        return web.json_response({"data": [{"id": name} for name in LISTED]})

    app = web.Application()
    app.router.add_get("/v1/models", models)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    port = runner.addresses[0][1]
    environ = {"OPENAI_API_KEY": "sk-x", "OPENAI_BASE_URL": f"http://127.0.0.1:{port}/v1"}
    try:
        async with (
            running_service(tmp_path, environ=environ) as service,
            aiohttp.ClientSession() as session,
            session.get(f"{service.url}/v1/models") as response,
        ):
            (model,) = (await response.json())["data"]
            log = service.log.read_text()
    finally:
        await runner.cleanup()
    assert model["id"] == "local/gpt-6-luna"
    assert model["input_usd_per_mtok"] is model["price_source"] is model["end_of_life"] is None
    assert "local/gpt-6-luna judges, chosen from what its provider lists" in log
    assert "default: local/gpt-6-luna" in log
