"""Models that decide: the request word for word, answers, usage and faults."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import pytest

from assay.domain.completion import Completion, Prompt, Turn
from assay.domain.decision import Decision, TypedQuestion
from assay.domain.errors import (
    ContextExceeded,
    InputUnsupported,
    ModelError,
    ModelMissing,
    StreamBroken,
)
from assay.domain.images import Image
from assay.domain.models import DECISION, Model
from assay.providers import ProviderClient, build_model
from fakes.calls import call, read_text
from fakes.providers.dialects import INPUT_TOKENS
from fakes.providers.faults import FAULTS, Fault
from fakes.providers.play import decided
from fakes.providers.server import FaultServer
from fakes.providers.subject import KEY, SHORT_SILENCE_S, config_of

STATE = Turn("user", ('Output: "a"\\', "\n\x01 ü 🦊\u2028"))
QUESTIONS = {
    "c1": TypedQuestion("noul", "Is it polite?"),
    "c2_item_1": TypedQuestion("choice", "Which tone?", ("polite", "rude")),
    "c3": TypedQuestion("score", "How clear?", ("1", "2", "3")),
}
PROMPT = Prompt(
    (Turn("user", ("not sent",)),), read_text, decision=lambda: Decision(STATE, QUESTIONS)
)
WRITTEN = ("refusal", "length", "aborted", "filtered", "error_mid")
"""Faults of an answer in words, or of a stream."""


class Decider:
    """The adapter with the server it talks to."""

    def __init__(self, server: FaultServer) -> None:
        self.server, self.silence_s = server, 5.0
        self.clients: list[ProviderClient] = []

    async def ask(self, prompt: Prompt = PROMPT) -> Completion:
        model = Model("s/d", "s", "d-1", reading=(DECISION,), input_usd_per_mtok=1.0)
        client = ProviderClient(
            config_of("systemone", self.server, silence_timeout_s=self.silence_s)
        )
        self.clients.append(client)
        return await build_model("systemone", model, client).complete(prompt, call())


@pytest.fixture
async def decider() -> AsyncIterator[Decider]:
    async with FaultServer() as server:
        decider = Decider(server)
        yield decider
        for client in decider.clients:
            await client.aclose()


async def test_the_request_is_that_of_the_reference(decider):
    """State, model, and each question by its id with its type, instructions and criteria."""
    await decider.ask()
    [received] = decider.server.requests
    assert received.path == "/systemone/v1/systemone"
    assert received.headers["Authorization"] == f"Bearer {KEY}"
    assert received.body == {
        "model": "d-1",
        "state": STATE.text,
        "questions": {
            "c1": {"type": "noul", "instructions": "Is it polite?"},
            "c2_item_1": {
                "type": "choice",
                "instructions": "Which tone?",
                "criteria": {"polite": None, "rude": None},
            },
            "c3": {"type": "score", "instructions": "How clear?", "criteria": ["1", "2", "3"]},
        },
    }


async def test_the_answers_come_back_as_they_are(decider):
    """With usage, cost and the model that served; a path of the server's disk is not shown."""
    completion = await decider.ask()
    body = decider.server.requests[0].body
    assert json.loads(completion.text) == decided(body["questions"])
    assert (completion.usage.input_tokens, completion.usage.output_tokens) == (INPUT_TOKENS, 0)
    assert completion.cost_usd == pytest.approx(INPUT_TOKENS / 1_000_000)
    assert (completion.model, completion.finish) == ("served-1", "stop")
    decider.server.decide = lambda _: {}
    decider.server.usage = False
    completion = await decider.ask()
    assert (completion.text, completion.usage.input_tokens) == ("{}", 0)


async def test_a_path_of_the_servers_disk_is_not_shown(monkeypatch, decider):
    """llama.cpp names the model's file where it has no alias."""
    monkeypatch.setattr(
        "fakes.providers.play.Play._decided",
        lambda _: {"model": "/home/someone/models/kev.gguf", "answers": {}},
    )
    assert (await decider.ask()).model == "d-1"


@pytest.mark.parametrize("answers", [None, [], "yes", 1])
async def test_answers_of_another_shape_are_none(decider, answers):
    """Who reads them finds no answer to its questions."""
    decider.server.decide = lambda _: answers
    assert (await decider.ask()).text == "{}"


async def test_what_is_no_json_is_a_broken_answer(decider):
    """Python servers write NaN, which is no JSON."""
    decider.server.decide = lambda _: {"c1": {"type": "noul", "noul": float("nan")}}
    with pytest.raises(StreamBroken):
        await decider.ask()


async def test_a_model_that_does_not_decide_says_so(decider):
    """llama.cpp answers 501 with its reason; the breaker counts that as an answer."""
    message = "This model is not a decision model"
    error = {"code": 501, "message": message, "type": "not_supported_error"}
    decider.server.error_body = {"error": error}
    await decider.server.play(Fault(status=501, problem="501"))
    with pytest.raises(ModelMissing) as caught:
        await decider.ask()
    assert caught.value.message == f"s answered 501: {message} (asked for the model 'd-1')"
    assert not caught.value.call_result.failed
    assert caught.value.retry == "no"


async def test_a_state_that_is_too_long_is_said_to_be(decider):
    """TypeSafe names the fault in a field of its own, without a sentence."""
    decider.server.error_body = {"detail": {"error_type": "max_tokens_exceeded"}}
    await decider.server.play(Fault(status=400, problem="400"))
    with pytest.raises(ContextExceeded):
        await decider.ask()


async def test_what_needs_a_text_or_an_image_is_not_sent(decider):
    """A prompt without questions, and a state with images."""
    seen = Image("digest", format="png", data="AAAA")
    blind = replace(PROMPT, decision=lambda: Decision(Turn("user", ("a", seen)), QUESTIONS))
    for prompt in (replace(PROMPT, decision=None), blind):
        with pytest.raises(InputUnsupported):
            await decider.ask(prompt)
    assert decider.server.count == 0


@pytest.mark.parametrize("name", [name for name in FAULTS if name not in WRITTEN])
async def test_a_fault_becomes_its_error(decider, name):
    """The same errors as for judges that write, without the key."""
    fault: Any = FAULTS[name]
    decider.silence_s = SHORT_SILENCE_S if fault.behaviour.startswith("silent") else 5.0
    decider.server.echo = f" with {KEY}"
    await decider.server.play(name)
    if fault.raises is None:
        assert json.loads((await decider.ask()).text).keys() == QUESTIONS.keys()
        return
    with pytest.raises(ModelError) as caught:
        await decider.ask()
    assert type(caught.value) is fault.raises, caught.value
    assert KEY not in f"{caught.value} {caught.value!r}"
