"""What reaches a provider: the prompt byte for byte, only what its model can do, and the key."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

import pytest

from assay.domain.completion import Turn
from assay.domain.errors import KeyRejected, ModelError, RequestRejected
from assay.domain.models import Capabilities
from assay.domain.sampling import Sampling
from fakes.providers.subject import KEY, PROMPT, SCHEMA, SHORT_SILENCE_S, STRUCTURED, Subject

KEY_HEADERS = {
    "openai": ("Authorization", f"Bearer {KEY}"),
    "openai_responses": ("Authorization", f"Bearer {KEY}"),
    "anthropic": ("x-api-key", KEY),
    "gemini": ("x-goog-api-key", KEY),
    "azure": ("api-key", KEY),
    "bedrock": ("Authorization", f"Bearer {KEY}"),
    "vertex": ("x-goog-api-key", KEY),
    "vertex_claude": ("x-goog-api-key", KEY),
}


def texts(dialect: str, body: dict[str, Any]) -> list[str]:
    """Every text of a request, the system's first."""
    if dialect.startswith("openai"):
        messages = body["messages"] if dialect == "openai" else body["input"]
        return [message["content"] for message in messages]
    if dialect == "anthropic":
        system = [block["text"] for block in body["system"]]
        return system + [message["content"] for message in body["messages"]]
    if dialect == "bedrock":
        blocks = [*body["system"], *(part for turn in body["messages"] for part in turn["content"])]
        return [block["text"] for block in blocks]
    turns = [body["systemInstruction"], *body["contents"]]
    return [part["text"] for turn in turns for part in turn["parts"]]


async def test_prompt_arrives_exactly(subject: Subject) -> None:
    """Escapes, control characters and every plane of Unicode reach the model as they were."""
    await subject.ask()
    received = subject.server.requests[-1]
    assert texts(subject.family, received.body) == [turn.text for turn in PROMPT.turns]


async def test_megabyte_arrives_exactly(subject: Subject) -> None:
    """A prompt of a megabyte, in many parts, is sent whole and with its length declared."""
    parts = tuple('naïve "quoted" \\ \n 🦊 日本語 ' * 9 + str(i) for i in range(4_000))
    prompt = replace(PROMPT, turns=(PROMPT.turns[0], Turn("user", parts)))
    await subject.ask(prompt)
    received = subject.server.requests[-1]
    assert len(received.raw) > 1_000_000
    assert received.headers["Content-Length"] == str(len(received.raw))
    assert texts(subject.family, received.body)[1] == "".join(parts)


async def test_broken_unicode_is_rejected_unsent(subject: Subject) -> None:
    """A lone surrogate cannot be sent; it is the caller's error and no crash."""
    prompt = replace(PROMPT, turns=(Turn("user", ("\ud800",)),))
    with pytest.raises(RequestRejected):
        await subject.ask(prompt)
    assert subject.server.count == 0


async def test_key_goes_in_its_header_alone(subject: Subject) -> None:
    """The key is in the provider's own header, and nowhere in the address or the body."""
    await subject.ask()
    received = subject.server.requests[-1]
    name, value = KEY_HEADERS[subject.dialect]
    assert received.headers[name] == value
    assert KEY not in received.path
    assert KEY.encode() not in received.raw


async def test_no_key_sends_none(subject: Subject) -> None:
    """A local server without a key gets no empty header."""
    await subject.ask(client=subject.client(api_key=lambda: None))
    assert KEY_HEADERS[subject.dialect][0] not in subject.server.requests[-1].headers


async def test_changed_key_is_used_by_the_next_call(subject: Subject) -> None:
    """A key that changes while the service runs is picked up without a restart."""
    keys = iter(["sk-first", "sk-second"])
    client = subject.client(api_key=lambda: next(keys))
    await subject.ask(client=client)
    await subject.ask(client=client)
    name = KEY_HEADERS[subject.dialect][0]
    sent = [received.headers[name] for received in subject.server.requests]
    assert [value.removeprefix("Bearer ") for value in sent] == ["sk-first", "sk-second"]


@pytest.mark.parametrize("key", ["sk-a\r\nX-Evil: 1", "sk-ключ"])
async def test_key_that_is_no_header_value_is_rejected(subject: Subject, key: str) -> None:
    """A mangled key is named as such, without being shown."""
    with pytest.raises(KeyRejected) as caught:
        await subject.ask(client=subject.client(api_key=lambda: key))
    assert "sk-" not in str(caught.value)
    assert subject.server.count == 0


async def test_errors_never_show_the_key(subject: Subject) -> None:
    """A provider that repeats the key in its error does not bring it into ours."""
    echo = {"error": {"message": f"bad\x1b[31m\nthing {KEY} and sk-other-key", "type": "x"}}
    subject.server.error_body = echo
    await subject.server.play("400")
    client = subject.client()
    with pytest.raises(RequestRejected) as caught:
        await subject.ask(client=client)
    shown = f"{caught.value} {caught.value!r} {client!r} {client.config!r}"
    assert KEY not in shown
    assert "sk-other" not in shown
    assert "\x1b" not in shown
    assert "thing [key] and [key]" in caught.value.message


async def test_schema_is_asked_for_in_the_providers_way(subject: Subject) -> None:
    """The answer's schema goes where the provider's structured output expects it."""
    await subject.ask(STRUCTURED)
    body = subject.server.requests[-1].body
    if subject.family == "openai":
        answer = {"name": "verdict", "strict": True, "schema": SCHEMA}
        assert body["response_format"] == {"type": "json_schema", "json_schema": answer}
    elif subject.family == "openai_responses":
        answer = {"type": "json_schema", "name": "verdict", "strict": True, "schema": SCHEMA}
        assert body["text"] == {"format": answer}
    elif subject.family == "anthropic":
        assert body["tools"] == [{"name": "verdict", "input_schema": SCHEMA}]
        assert body["tool_choice"] == {"type": "tool", "name": "verdict"}
    elif subject.family == "bedrock":
        [tool] = body["toolConfig"]["tools"]
        assert tool == {"toolSpec": {"name": "verdict", "inputSchema": {"json": SCHEMA}}}
        assert body["toolConfig"]["toolChoice"] == {"tool": {"name": "verdict"}}
    else:
        assert body["generationConfig"]["responseMimeType"] == "application/json"
        assert body["generationConfig"]["responseJsonSchema"] == SCHEMA


async def test_what_a_model_cannot_do_is_left_out(subject: Subject) -> None:
    """Neither schema, temperature, seed nor log probabilities are sent to a model without them."""
    sampling = Sampling(temperature=0.5, seed=7, top_logprobs=3, max_output_tokens=100)
    unable = Capabilities(schema=False, temperature=False)
    await subject.ask(replace(STRUCTURED, sampling=sampling), capabilities=unable)
    body = subject.server.requests[-1].body
    sent = {**body, **body.get("generationConfig", {}), **body.get("inferenceConfig", {})}
    absent = {
        *(
            "text",
            "include",
            "response_format",
            "tools",
            "tool_choice",
            "toolConfig",
            "responseJsonSchema",
            "responseMimeType",
        ),
        *("temperature", "seed", "logprobs", "top_logprobs", "responseLogprobs"),
    }
    assert absent.isdisjoint(sent)


async def test_what_a_model_can_do_is_sent(subject: Subject) -> None:
    """Sampling is passed on where the model has it; the output limit is the smaller of the two."""
    sampling = Sampling(temperature=0.5, seed=7, top_p=0.9, top_logprobs=3, max_output_tokens=100)
    able = Capabilities(logprobs=True, seed=True)
    await subject.ask(replace(PROMPT, sampling=sampling), capabilities=able, max_output_tokens=64)
    body = subject.server.requests[-1].body
    sent = {**body, **body.get("generationConfig", {}), **body.get("inferenceConfig", {})}
    assert sent["temperature"] == 0.5
    limit = "max_completion_tokens" if subject.dialect == "azure" else "max_tokens"
    expected = {
        "openai": {limit: 64, "seed": 7, "top_p": 0.9, "logprobs": True, "top_logprobs": 3},
        "openai_responses": {
            "max_output_tokens": 64,
            "include": ["message.output_text.logprobs"],
            "top_logprobs": 3,
            "top_p": 0.9,
            "store": False,
        },
        "anthropic": {"max_tokens": 64},
        "bedrock": {"maxTokens": 64},
        "gemini": {
            "maxOutputTokens": 64,
            "seed": 7,
            "topP": 0.9,
            "responseLogprobs": True,
            "logprobs": 3,
        },
    }[subject.family]
    assert expected.items() <= sent.items()


async def test_cancelled_call_closes_its_connection(subject: Subject) -> None:
    """The provider sees at once that its answer is no longer wanted."""
    await subject.server.play("silent_mid")
    call = asyncio.create_task(subject.ask())
    async with asyncio.timeout(5):
        await subject.server.arrived.wait()
        await asyncio.sleep(0.05)
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        await subject.server.requests[-1].gone.wait()


async def test_silent_call_closes_its_connection(subject: Subject) -> None:
    """A provider that was given up on is not left working."""
    await subject.server.play("silent")
    subject.silence_s = SHORT_SILENCE_S
    with pytest.raises(ModelError):
        await subject.ask()
    async with asyncio.timeout(5):
        await subject.server.requests[-1].gone.wait()


async def test_redirect_is_not_followed(subject: Subject) -> None:
    """The key is not carried to where a redirect points."""
    await subject.server.play("redirect")
    with pytest.raises(ModelError):
        await subject.ask()
    assert subject.server.count == 1


async def test_connection_is_used_again(subject: Subject) -> None:
    """Calls in a row share one connection."""
    client = subject.client()
    for _ in range(3):
        await subject.ask(client=client)
    assert len({received.peer for received in subject.server.requests}) == 1


async def test_full_pool_is_waited_for(subject: Subject) -> None:
    """Waiting for a free connection is not the provider's silence."""
    subject.server.latency_s = 0.4
    client = subject.client(connections_max=1, silence_timeout_s=1.0)
    completions = await asyncio.gather(*(subject.ask(client=client) for _ in range(4)))
    assert [completion.finish for completion in completions] == ["stop"] * 4
