"""The vendors' own clients against the fakes: what these insist on is what the real APIs do."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

import anthropic
import botocore.session
import openai
import pytest
from botocore.config import Config
from google import genai
from google.oauth2.credentials import Credentials

from fakes.providers.clouds import AWS_KEYS, CLOUD_MODELS, LOCATION, PROJECT, REGION, TOKENS
from fakes.providers.play import TEXT
from fakes.providers.server import FaultServer

TOKEN = "token-vendor"
QUESTION = "Is this right?"


@pytest.fixture
async def server(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[FaultServer]:
    [(key, secret)] = AWS_KEYS.items()
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", key)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", secret)
    TOKENS.add(TOKEN)
    async with FaultServer() as server:
        yield server
    TOKENS.clear()


def bedrock(server: FaultServer) -> Any:
    return botocore.session.Session().create_client(
        "bedrock-runtime",
        region_name=REGION,
        endpoint_url=server.base_url("bedrock"),
        config=Config(retries={"total_max_attempts": 1}),
    )


def converse(server: FaultServer, **fields: Any) -> str:
    client = bedrock(server)
    turns = [{"role": "user", "content": [{"text": QUESTION}]}]
    try:
        answer = client.converse(modelId=CLOUD_MODELS["bedrock"], messages=turns, **fields)
    finally:
        client.close()
    return "".join(part.get("text", "") for part in answer["output"]["message"]["content"])


def converse_stream(server: FaultServer) -> str:
    client = bedrock(server)
    turns = [{"role": "user", "content": [{"text": QUESTION}]}]
    try:
        answer = client.converse_stream(modelId=CLOUD_MODELS["bedrock"], messages=turns)
        with contextlib.closing(answer["stream"]) as stream:
            events = list(stream)
    finally:
        client.close()
    assert events[-1]["metadata"]["usage"]["outputTokens"] == 30
    deltas = [
        event["contentBlockDelta"]["delta"] for event in events if "contentBlockDelta" in event
    ]
    return "".join(delta.get("text", "") for delta in deltas)


async def test_bedrocks_client_reads_the_fake(server: FaultServer) -> None:
    """Its signatures are verified, and its models of answers and events are met."""
    assert await asyncio.to_thread(converse, server) == TEXT
    assert await asyncio.to_thread(converse_stream, server) == TEXT


@pytest.mark.parametrize(
    ("fault", "code"),
    [
        ("429", "ThrottlingException"),
        ("403", "AccessDeniedException"),
        ("404", "ResourceNotFoundException"),
    ],
)
async def test_bedrocks_client_reads_errors(server: FaultServer, fault: str, code: str) -> None:
    """The kind of an error is in its header."""
    await server.play(fault)
    with pytest.raises(botocore.exceptions.ClientError) as caught:
        await asyncio.to_thread(converse, server)
    assert caught.value.response["Error"]["Code"] == code


async def test_bedrocks_client_reads_errors_inside_a_stream(server: FaultServer) -> None:
    """They are messages of their own kind."""
    await server.play("error_mid")
    with pytest.raises(botocore.exceptions.EventStreamError, match="serviceUnavailableException"):
        await asyncio.to_thread(converse_stream, server)


@pytest.mark.parametrize("stream", [True, False], ids=["stream", "whole"])
async def test_azures_client_reads_the_fake(server: FaultServer, stream: bool) -> None:
    """Deployment and version are where it puts them; the token is verified."""
    client = openai.AsyncAzureOpenAI(
        azure_endpoint=server.base_url("azure"),
        api_version="2024-10-21",
        azure_ad_token=TOKEN,
        max_retries=0,
    )
    async with client:
        answer: Any = await client.chat.completions.create(
            model="judge-1", messages=[{"role": "user", "content": QUESTION}], stream=stream
        )
        if not stream:
            assert answer.choices[0].message.content == TEXT
            return
        chunks = [chunk async for chunk in answer]
    texts = [chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices]
    assert "".join(texts) == TEXT


async def test_azures_client_is_refused_another_version(server: FaultServer) -> None:
    """The fake insists on a version that there is."""
    client = openai.AsyncAzureOpenAI(
        azure_endpoint=server.base_url("azure"),
        api_version="1999-01-01",
        api_key="k",
        max_retries=0,
    )
    async with client:
        with pytest.raises(openai.NotFoundError):
            await client.chat.completions.create(model="judge-1", messages=[])


@pytest.mark.parametrize("stream", [True, False], ids=["stream", "whole"])
async def test_anthropics_client_reads_the_fake(server: FaultServer, stream: bool) -> None:
    """The path names the model, and the body the version."""
    client = anthropic.AsyncAnthropicVertex(
        region=LOCATION,
        project_id=PROJECT,
        access_token=TOKEN,
        base_url=server.base_url("vertex_claude"),
        max_retries=0,
    )
    async with client:
        answer: Any = await client.messages.create(
            model=CLOUD_MODELS["vertex_claude"],
            max_tokens=100,
            messages=[{"role": "user", "content": QUESTION}],
            stream=stream,
        )
        if stream:
            events = [event async for event in answer]
            deltas = [event.delta for event in events if event.type == "content_block_delta"]
            assert "".join(getattr(delta, "text", "") for delta in deltas) == TEXT
        else:
            assert answer.content[-1].text == TEXT


@pytest.mark.filterwarnings("ignore:Inheritance class:DeprecationWarning")
async def test_googles_client_reads_the_fake_of_vertex(server: FaultServer) -> None:
    """Streamed and whole, under the project and location."""
    client = genai.Client(
        vertexai=True,
        project=PROJECT,
        location=LOCATION,
        credentials=Credentials(TOKEN),
        http_options={
            "base_url": server.base_url("vertex").removesuffix("/v1"),
            "api_version": "v1",
        },
    )
    async with client.aio as api:
        whole = await api.models.generate_content(model="judge-1", contents=QUESTION)
        stream = await api.models.generate_content_stream(model="judge-1", contents=QUESTION)
        pieces = [piece.text or "" async for piece in stream]
    assert whole.text == "".join(pieces) == TEXT
