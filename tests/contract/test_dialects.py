"""What only one provider does, and how adapters are built."""

from __future__ import annotations

import asyncio
import json
import socket
import sys
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from assay.domain.completion import Turn, Usage
from assay.domain.errors import ConnectTimedOut, ModelError, NameUnresolved, ProviderSilent
from assay.domain.models import Model
from assay.providers import ProviderClient, ProviderConfig, Simulated, build_model
from assay.providers.anthropic import AnthropicStream
from assay.providers.gemini import GeminiStream
from assay.providers.openai import OpenAI, OpenAIStream
from assay.providers.stream_accumulator import Timing
from fakes.calls import call
from fakes.providers import server as server_module
from fakes.providers.faults import FAULTS
from fakes.providers.server import FaultServer
from fakes.providers.subject import KEY, PROMPT, Subject

MODEL = Model(id="acme/judge", provider="acme", name="judge")
TIMING = Timing(1.0, 2.0)


@pytest.fixture
async def server() -> AsyncIterator[FaultServer]:
    async with FaultServer() as server:
        yield server


@pytest.mark.parametrize(
    ("base_url", "named", "expected"),
    [
        ("https://api.openai.com/v1", None, "max_completion_tokens"),
        ("https://acme.openai.azure.com/openai/v1/", None, "max_completion_tokens"),
        ("http://localhost:11434/v1", None, "max_tokens"),
        ("https://notopenai.com/v1", None, "max_tokens"),
        ("http://gateway/v1", "max_completion_tokens", "max_completion_tokens"),
    ],
)
async def test_output_limit_is_named_by_host(
    base_url: str, named: str | None, expected: str
) -> None:
    """OpenAI and Azure take the newer field, compatible servers the older, unless configured."""
    config = ProviderConfig("acme", base_url, output_limit_field=named)
    assert expected in OpenAI(MODEL, ProviderClient(config)).document(PROMPT)


async def test_base_url_may_end_in_a_slash(server: FaultServer) -> None:
    """Both ways to write an address reach the same place."""
    subject = Subject("openai", True, server, [])
    client = subject.client(base_url=server.base_url("openai") + "/")
    await subject.ask(client=client)
    assert server.requests[-1].path == "/openai/v1/chat/completions"
    await client.aclose()


def test_openai_reads_refusals_over_text() -> None:
    """A refusal is the answer, whatever finish reason comes with it."""
    accumulator = OpenAIStream(MODEL)
    accumulator.read_event({"choices": [{"delta": {"refusal": "I will "}}]})
    accumulator.read_event({"choices": [{"delta": {"refusal": "not."}, "finish_reason": "stop"}]})
    completion = accumulator.completion(TIMING)
    assert (completion.finish, completion.text) == ("refusal", "I will not.")


def test_openai_counts_what_it_reads_and_writes() -> None:
    """Both are part of its input."""
    details = {"cached_tokens": 3, "cache_write_tokens": 5}
    usage = {"prompt_tokens": 9, "completion_tokens": 1, "prompt_tokens_details": details}
    accumulator = OpenAIStream(MODEL)
    accumulator.read_event({"choices": [{"delta": {"content": "x"}, "finish_reason": "stop"}]})
    accumulator.read_event({"choices": [], "usage": usage})
    assert accumulator.completion(TIMING).usage == Usage(9, 1, 0, 3, 5)


def test_anthropic_adds_cached_input_and_takes_the_last_count() -> None:
    """Input written to a cache is input; the count at the end replaces the one at the start."""
    accumulator = AnthropicStream(MODEL)
    usage = {"input_tokens": 0, "cache_creation_input_tokens": 7, "output_tokens": 1}
    accumulator.read_event({"type": "message_start", "message": {"usage": usage}})
    end = {"delta": {"stop_reason": "end_turn"}, "usage": {"input_tokens": 5, "output_tokens": 9}}
    accumulator.read_event({"type": "message_delta", **end})
    accumulator.read_event({"type": "some_event_of_tomorrow"})
    accumulator.read_event({"type": "message_stop"})
    assert accumulator.ended
    assert accumulator.completion(TIMING).usage == Usage(12, 9, cache_write_tokens=7)


@pytest.mark.parametrize(
    ("reason", "expected"),
    [("STOP", "stop"), ("MAX_TOKENS", "length"), ("OTHER", "refusal"), ("LANGUAGE", "refusal")],
)
def test_gemini_names_its_endings(reason: str, expected: str) -> None:
    """An ending without an answer is not taken for one."""
    accumulator = GeminiStream(MODEL)
    accumulator.read_event({"candidates": [{"finishReason": reason}]})
    assert accumulator.completion(TIMING).finish == expected


async def test_system_turns_and_roles_of_gemini(server: FaultServer) -> None:
    """The assistant is called model, and a repair keeps the order of turns."""
    subject = Subject("gemini", True, server, [])
    await subject.ask(PROMPT.repaired("not json", "Answer in JSON."))
    body = server.requests[-1].body
    assert [turn["role"] for turn in body["contents"]] == ["user", "model", "user"]
    assert server.requests[-1].path.endswith("/models/judge-1:streamGenerateContent?alt=sse")
    await subject.clients[0].aclose()


async def test_empty_system_turn_is_not_sent_to_anthropic(server: FaultServer) -> None:
    """Anthropic rejects empty text blocks."""
    subject = Subject("anthropic", True, server, [])
    await subject.ask(replace(PROMPT, turns=(Turn("system", ("",)), PROMPT.turns[1])))
    assert "system" not in server.requests[-1].body
    assert server.requests[-1].headers["anthropic-version"] == "2023-06-01"
    await subject.clients[0].aclose()


async def test_connection_that_is_not_taken_is_down() -> None:
    """A host that lets connections hang is given up after the connect timeout."""
    with socket.socket() as full, socket.socket() as first, socket.socket() as second:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        for waiting in (first, second):
            # The kernel drops what goes beyond the queue of connections to be accepted.
            waiting.setblocking(False)
            waiting.connect_ex(full.getsockname())
        await asyncio.sleep(0.05)
        base_url = f"http://127.0.0.1:{full.getsockname()[1]}/v1"
        client = ProviderClient(
            ProviderConfig("acme", base_url, connect_timeout_s=0.2, silence_timeout_s=3.0)
        )
        with pytest.raises(ConnectTimedOut, match=r"within 0\.2 s"):
            await OpenAI(MODEL, client).complete(PROMPT, call(5))
        await client.aclose()


async def test_body_that_is_not_read_is_silence() -> None:
    """A provider that takes the connection and reads nothing is dropped like a silent one."""
    with socket.create_server(("127.0.0.1", 0)) as deaf:
        base_url = f"http://127.0.0.1:{deaf.getsockname()[1]}/v1"
        client = ProviderClient(ProviderConfig("acme", base_url, silence_timeout_s=0.3))
        prompt = replace(PROMPT, turns=(Turn("user", ("x" * 20_000_000,)),))
        with pytest.raises(ProviderSilent):
            await OpenAI(MODEL, client).complete(prompt, call(5))
        await client.aclose()


async def test_unresolvable_host_is_down() -> None:
    """A name that DNS does not know is told apart from a host that refuses."""
    client = ProviderClient(ProviderConfig("acme", "http://no-such-host.invalid/v1"))
    with pytest.raises(NameUnresolved, match="acme: DNS: the host name cannot be resolved"):
        await OpenAI(MODEL, client).complete(PROMPT, call(5))
    await client.aclose()


async def test_configured_headers_do_not_replace_the_key(server: FaultServer) -> None:
    """Extra headers are sent; the provider's own win, however they are written."""
    subject = Subject("openai", True, server, [])
    client = subject.client(headers=lambda: {"authorization": "Basic x", "X-Team": "judges"})
    await subject.ask(client=client)
    headers = server.requests[-1].headers
    assert headers["X-Team"] == "judges"
    assert [value for name, value in headers.items() if name.lower() == "authorization"] == [
        f"Bearer {KEY}"
    ]
    await client.aclose()


async def test_finished_stream_that_stays_open_is_an_answer() -> None:
    """After its last event a stream needs no end; nothing can fail the answer any more."""

    async def handle(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        chunk = b'{"choices":[{"delta":{"content":"yes"},"finish_reason":"stop"}]}'
        await response.write(b"data: " + chunk + b"\n\ndata: [DONE]\n\n")
        await asyncio.sleep(30)
        return response

    app = web.Application()
    app.router.add_post("/chat/completions", handle)
    async with TestServer(app, handler_cancellation=True) as open_ended:
        config = ProviderConfig("acme", str(open_ended.make_url("/")), silence_timeout_s=1.0)
        client = ProviderClient(config)
        async with asyncio.timeout(5):
            completion = await OpenAI(MODEL, client).complete(PROMPT, call(20))
        await client.aclose()
    assert completion.text == "yes"


def test_repr_shows_no_secret() -> None:
    """Neither the key, nor headers, nor what an address may carry is shown."""
    config = ProviderConfig(
        "acme", "https://user:pass@host/v1?k=q", lambda: "sk-1", headers=lambda: {"X-Team": "hush"}
    )
    shown = f"{config!r} {config}"
    assert not any(secret in shown for secret in ("user", "pass", "sk-1", "hush", "k=q"))


async def test_adapters_are_built_by_dialect() -> None:
    """Each dialect has its adapter; an unknown one, or one without a client, is an error."""
    client = ProviderClient(ProviderConfig("acme", "http://host/v1"))
    assert isinstance(build_model("simulated", MODEL, None), Simulated)
    assert isinstance(build_model("openai", MODEL, client), OpenAI)
    with pytest.raises(ValueError, match="unknown dialect"):
        build_model("morse", MODEL, client)
    with pytest.raises(ValueError, match=r"models\..*\.kind: the dialect 'anthropic' has no"):
        build_model("anthropic", replace(MODEL, kind="embedding"), client)
    with pytest.raises(ValueError, match="needs a client"):
        build_model("gemini", MODEL, None)


async def test_server_runs_as_a_process_and_is_switched_while_it_runs() -> None:
    """Other processes can start the fault server and change its fault, even to refusing."""
    script = str(Path(server_module.__file__))  # no file is touched
    process = await asyncio.create_subprocess_exec(
        sys.executable, script, "--fault", "503", stdout=asyncio.subprocess.PIPE
    )
    assert process.stdout is not None
    ports = json.loads(await process.stdout.readline())
    client = ProviderClient(ProviderConfig("openai", f"http://127.0.0.1:{ports['port']}/openai/v1"))
    control = f"http://127.0.0.1:{ports['control_port']}/_fault"
    try:
        async with aiohttp.ClientSession() as session:
            model = build_model("openai", MODEL, client)
            outcomes = []
            for fault in ("503", "none", "refused", "none"):
                async with session.post(control, json={"fault": fault}) as switched:
                    assert switched.status == 200
                try:
                    outcomes.append((await model.complete(PROMPT, call(5))).finish)
                except ModelError as error:
                    outcomes.append(error.outcome)
        # The pooled connection is closed, and a new one is refused: either may be noticed first.
        assert outcomes.pop(2) in {"connection_reset", "connection_refused"}
        assert outcomes == ["server_error", "stop", "stop"]
    finally:
        await client.aclose()
        process.terminate()
        await process.wait()


def test_every_status_of_an_error_is_played() -> None:
    """The server plays exactly the statuses of the design, and a redirect."""
    statuses = {fault.status for fault in FAULTS.values() if fault.behaviour == "error"}
    assert statuses == {
        *(307, 400, 401, 402, 403, 404, 408, 409, 413, 422, 429),
        *(500, 502, 503, 504, 529),
    }
