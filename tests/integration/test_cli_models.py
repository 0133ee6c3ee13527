"""`assay models` against a host that lists and serves models."""

from __future__ import annotations

import asyncio
import contextlib
import json
import ssl
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import trustme
from aiohttp import web

from fakes.http_proxy import HttpProxy
from fakes.service_process import clean_environment

LISTED = ("gpt-6-luna", "gpt-5.4-mini", "text-embedding-3-small")
KEY = "sk-a-secret-0123456789"


class Host:
    """Lists `LISTED`, serves them, refuses a temperature, and counts what it was asked."""

    def __init__(self) -> None:
        self.asked: list[dict[str, Any]] = []
        self.url = ""

    async def models(self, request: web.Request) -> web.Response:
        if request.headers.get("authorization") != f"Bearer {KEY}":
            return web.json_response({"error": {"message": "who are you"}}, status=401)
        return web.json_response({"data": [{"id": name} for name in LISTED]})

    async def chat(self, request: web.Request) -> web.Response:
        body = await request.json()
        self.asked.append(body)
        if body["model"] not in LISTED:
            return web.json_response({"error": {"message": "404 page not found"}}, status=404)
        usage = {"prompt_tokens": 12, "completion_tokens": 2}
        choice = {"message": {"content": "OK"}, "finish_reason": "stop"}
        return web.json_response({"model": body["model"], "choices": [choice], "usage": usage})


@pytest.fixture
async def host() -> AsyncIterator[Host]:
    host, app = Host(), web.Application()
    app.router.add_get("/v1/models", host.models)
    app.router.add_post("/v1/chat/completions", host.chat)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    host.url = f"http://127.0.0.1:{runner.addresses[0][1]}/v1"
    try:
        yield host
    finally:
        with contextlib.suppress(asyncio.CancelledError):
            await runner.cleanup()


CONFIG = """
[providers.host]
dialect = "openai_chat"
base_url = "{url}"
api_key_env = "HOST_KEY"
stream = false
[models."host/luna"]
provider = "host"
name = "gpt-6-luna"
input_usd_per_mtok = 2
output_usd_per_mtok = 8
cached_input_usd_per_mtok = 0.5
end_of_life = 2027-06-01
"""
MISSPELT = """
[models."host/misspelt"]
provider = "host"
name = "gpt-6-lunar"
"""


async def run(folder: Path, config: str, *options: str, key: str = KEY) -> tuple[int, str, str]:
    """Exit status, output and errors of `assay models`."""
    (folder / "assay.toml").write_text(config)
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "assay", "models", *options,
        cwd=folder, env=clean_environment({"HOST_KEY": key}),
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    out, err = await process.communicate()
    assert process.returncode is not None
    return process.returncode, out.decode(), err.decode()


async def test_each_model_is_checked_with_one_small_call(host: Host, tmp_path: Path) -> None:
    """What answers is shown with its price, its end and its time."""
    status, out, err = await run(tmp_path, CONFIG.format(url=host.url))
    assert status == 0, err
    (asked,) = host.asked
    assert len(json.dumps(asked)) < 200
    assert "ok      host/luna: gpt-6-luna at host 127.0.0.1\n  answered in " in out
    assert "$2 input, $0.5 cached input, $8 output per million tokens (configuration)" in out
    assert "ends on 2027-06-01" in out
    assert "text-embedding" not in out
    assert KEY not in out + err


async def test_a_model_that_is_not_listed_is_named_with_the_nearest(
    host: Host, tmp_path: Path
) -> None:
    """The check fails in words, the exit status is 1, and the other model is checked all the
    same."""
    config = CONFIG.format(url=host.url) + MISSPELT
    status, out, _ = await run(tmp_path, config, "--available")
    assert status == 1
    assert "ok      host/luna" in out
    assert "FAILED  host/misspelt" in out
    assert "host answered 404: 404 page not found (asked for the model 'gpt-6-lunar')" in out
    assert "host does not list 'gpt-6-lunar'; did you mean 'gpt-6-luna'?" in out
    assert "host lists\n  gpt-5.4-mini\n" in out


async def test_without_checks_nothing_is_called(host: Host, tmp_path: Path) -> None:
    """`--list` only lists; as JSON, with what is known of each model."""
    config = CONFIG.format(url=host.url) + MISSPELT
    for option in ("--list", "--no-check"):
        status, out, _ = await run(tmp_path, config, option, "--json")
        first, second = map(json.loads, out.splitlines())
        assert (status, host.asked) == (0, [])
        assert (first["listed"], first["did_you_mean"], first["check"]) == (True, None, None)
        assert (second["listed"], second["did_you_mean"]) == (False, "gpt-6-luna")
        assert first["cached_input_usd_per_mtok"] == 0.5
        assert first["capabilities"]["schema"]


async def test_an_embedding_model_is_shown_as_one(host: Host, tmp_path: Path) -> None:
    """It takes texts, and nothing that only a chat model takes."""
    embedder = (
        '[models.e]\nprovider = "host"\nname = "text-embedding-3-small"\nkind = "embedding"\n'
    )
    config = CONFIG.format(url=host.url) + embedder
    _, out, _ = await run(tmp_path, config, "--list")
    shown = out.partition("e: text-embedding-3-small")[2]
    assert "embeds texts" in shown
    assert "takes" not in shown
    _, out, _ = await run(tmp_path, config, "--list", "--json")
    assert [json.loads(line)["kind"] for line in out.splitlines()] == ["chat", "embedding"]


async def test_a_key_that_is_refused_is_said_and_not_shown(host: Host, tmp_path: Path) -> None:
    """What the provider lists is unknown then, which is no failure of a model."""
    config = CONFIG.format(url=host.url)
    status, out, err = await run(tmp_path, config, "--available", key="sk-another-0123456789")
    assert status == 0
    assert "host answered 401 to /models" in out
    assert "does not list" not in out
    assert "sk-another" not in out + err


async def test_a_list_is_asked_for_in_the_providers_own_way(tmp_path: Path) -> None:
    """By its proxy, under its authorities, with its headers and parameters."""
    asked: list[web.Request] = []

    async def models(request: web.Request) -> web.Response:
        asked.append(request)
        return web.json_response({"data": [{"id": "gpt-6-luna"}]})

    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("localhost").configure_cert(tls)
    app = web.Application()
    app.router.add_get("/v1/models", models)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "localhost", 0, ssl_context=tls)
    await site.start()
    url = f"https://localhost:{runner.addresses[0][1]}/v1"
    async with HttpProxy(credentials=f"user:{KEY}") as proxy:
        transport = (
            f'proxy = "http://user:${{env:HOST_KEY}}@127.0.0.1:{proxy.port}"\nca_file = "ca.pem"\n'
            'headers = { X-Team = "${env:HOST_KEY}" }\nquery = { trace = "a b" }\n[models.'
        )
        config = CONFIG.format(url=url).replace("[models.", transport, 1)
        status, out, err = await run(tmp_path, config, "--no-check", "--available")
        assert status == 0, err
        assert "host lists\n  gpt-6-luna" in out
        assert proxy.asked[0].startswith("CONNECT localhost:")
    (request,) = asked
    assert request.headers["X-Team"] == KEY
    assert request.headers["Authorization"] == f"Bearer {KEY}"
    assert request.query["trace"] == "a b"
    assert KEY not in out + err
    await runner.cleanup()


async def test_a_wrong_header_is_wrong_use_and_nothing_else(host: Host, tmp_path: Path) -> None:
    """The error is the only line: no call has begun."""
    extra = 'headers = { A = "${env:NOT_SET}" }\n[models.'
    config = CONFIG.format(url=host.url).replace("[models.", extra, 1)
    status, _, err = await run(tmp_path, config)
    assert status == 2
    assert err == "assay: providers.host.headers: ${env:NOT_SET}: is empty or not set\n"
    assert host.asked == []


async def test_a_host_that_is_down_fails_the_check(tmp_path: Path) -> None:
    """In words, and with exit status 1."""
    status, out, _ = await run(tmp_path, CONFIG.format(url="http://127.0.0.1:1/v1"))
    assert status == 1
    assert "FAILED  host/luna" in out
    assert "connection refused" in out


async def test_a_wrong_configuration_is_wrong_use(tmp_path: Path) -> None:
    """Exit status 2, before anything is asked."""
    status, _, err = await run(tmp_path, "[servr]\n")
    assert status == 2
    assert "servr" in err
