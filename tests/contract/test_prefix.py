"""The criteria of one case begin alike at every provider, in the order in which it reads."""

from __future__ import annotations

import json
import os.path
from dataclasses import replace
from typing import Any

import orjson
import pytest

from assay.criteria import parse_criteria
from assay.criteria.judge import Judge, judge_spec
from assay.domain.completion import AnswerSchema, Prompt, SharedPrefix, Turn
from assay.domain.evaluation import Case
from assay.domain.models import Capabilities, Model
from assay.domain.policy import Deadline
from assay.domain.ports import ChatModel
from assay.evaluation.evaluator import Evaluator
from assay.evaluation.sandbox.pool import SandboxPool
from assay.providers import ProviderClient, ProviderConfig, build_model
from assay.providers.azure import Azure
from assay.providers.bedrock import Bedrock
from assay.providers.openai import OpenAI, OpenAIResponses
from assay.screening import Screener
from fakes.calls import read_text
from fakes.engine import CALLER, NO_FETCHES
from fakes.judges import FakeJudges
from fakes.providers.clouds import CLOUD_MODELS
from fakes.providers.subject import PROMPT, Subject, protocol_of
from fakes.recorded_events import RecordedEvents

CASE = Case("The parcel left on Monday. " * 600, input="Where is it?", context=("Sent. " * 200,))
CRITERIA: list[Any] = [
    "Is it polite?",
    {"type": "boolean", "question": "Does it name a day?"},
    {"type": "score", "rubric": "How clear is it?", "min": 1, "max": 5},
    {"type": "score", "rubric": "How long is it?", "min": 0, "max": 1000},
    {"type": "label", "question": "Tone?", "labels": ["warm", "cold"], "passing_labels": ["warm"]},
    {"type": "helpfulness"},
]
MARKS = {
    "anthropic": {"cache_control": {"type": "ephemeral"}},
    "vertex_claude": {"cache_control": {"type": "ephemeral"}},
    "bedrock": {"cachePoint": {"type": "default"}},
}
NAMES = {"bedrock": "anthropic.claude-sonnet-4-5-v1:0"}


def model_of(dialect: str) -> Model:
    name = NAMES.get(dialect, CLOUD_MODELS.get(dialect, "judge-1"))
    return Model("m", dialect, name, capabilities=Capabilities())


class ForModel:
    """Prompts as the layers above hand them to a provider's adapter."""

    def __init__(self, model: Model, chat: ChatModel) -> None:
        self._model = model
        self._chat = chat

    async def complete(self, prompt: Prompt[Any], context: Any) -> Any:
        return await self._chat.complete(prompt.for_model(self._model), context)


async def bodies(
    subject: Subject, criteria: list[Any], case: Case = CASE, **judge: Any
) -> list[dict[str, Any]]:
    """The requests that the criteria of one case make."""
    model = model_of(subject.dialect)
    chat = build_model(protocol_of(subject.dialect), model, subject.client())
    events, sandbox = RecordedEvents(), SandboxPool(RecordedEvents())
    evaluator = Evaluator(
        FakeJudges(ForModel(model, chat)), sandbox, Screener(events), events, NO_FETCHES, b"k" * 32
    )
    await evaluator.evaluate(
        case,
        parse_criteria(criteria),
        judge=judge_spec(Judge(**judge)),
        caller=CALLER,
        deadline=Deadline.after(20),
    )
    await sandbox.aclose()
    return [request.body for request in subject.server.requests]


def document(kind: Any, host: str, name: str) -> dict[str, Any]:
    """What an adapter at a host sends for a prompt that shares its beginning."""
    model = Model("m", "p", name)
    client = ProviderClient(ProviderConfig("openai", f"https://{host}/v1", lambda: ""))
    turns = (Turn("system", ("Judge.",)), Turn("user", ("case", "# Task"), shared=1))
    own, common = (AnswerSchema("verdict", {"title": title}) for title in ("own", "common"))
    shared = SharedPrefix("key", common)
    prompt = Prompt(turns=turns, read=read_text, answer=own, shared=shared)
    sent: dict[str, Any] = kind(model, client).document(prompt)
    return sent


@pytest.mark.parametrize("kind", [OpenAI, OpenAIResponses, Azure])
@pytest.mark.parametrize(
    ("name", "is_marked"),
    [
        ("gpt-5.6", True),
        ("gpt-6-mini", True),
        ("gpt-5.4", False),
        ("gpt-4o", False),
        ("gpt-35", False),
    ],
)
async def test_openai_is_told_how_calls_begin(kind: Any, name: str, is_marked: bool) -> None:
    """A key brings calls to one machine; newer models are told what to cache, and nothing else.

    OpenAI shows the schema before all else, so it is the one that the calls share.
    """
    sent = document(kind, "eu.api.openai.com", name)
    assert sent["prompt_cache_key"] == "key"
    assert ("prompt_cache_options" in sent) is is_marked
    *_, user = sent.get("messages") or sent["input"]
    if is_marked:
        first, second = user["content"]
        assert first["prompt_cache_breakpoint"] == {"mode": "explicit"}
        assert (first["text"].text, second["text"].text) == ("case", "# Task")
    else:
        assert isinstance(user["content"], Turn)
    form = sent.get("response_format", {}).get("json_schema") or sent["text"]["format"]
    assert b"common" in orjson.dumps(form)


@pytest.mark.parametrize(
    ("name", "is_marked"),
    [
        ("eu.anthropic.claude-haiku-4-5-20251001-v1:0", True),
        ("us.amazon.nova-lite-v1:0", True),
        ("anthropic.claude-3-haiku-20240307-v1:0", False),
        ("meta.llama4-scout-17b-instruct-v1:0", False),
        ("arn:aws:bedrock:eu-west-1:1:application-inference-profile/x", False),
    ],
)
async def test_bedrock_marks_only_what_is_known_to_take_it(name: str, is_marked: bool) -> None:
    """Other models answer a mark with 403, as if the key were wrong."""
    assert ("cachePoint" in str(document(Bedrock, "bedrock.example", name))) is is_marked


@pytest.mark.parametrize("kind", [OpenAI, OpenAIResponses])
async def test_compatible_servers_get_no_fields_of_openais(kind: Any) -> None:
    """They may refuse them; and they bind the answer by its own schema, unseen by the model."""
    sent = document(kind, "llm.internal", "gpt-5.6")
    form = sent.get("response_format", {}).get("json_schema") or sent["text"]["format"]
    assert "cache" not in str(sent.keys())
    assert b"own" in orjson.dumps(form)


async def test_a_refused_cache_is_left_out(subject: Subject) -> None:
    """An API that knows no marks gets none, and the rest of the prompt as it was."""
    turns = (PROMPT.turns[0], Turn("user", ("case", "# Task"), shared=1))
    prompt = replace(PROMPT, turns=turns, shared=SharedPrefix("key", None))
    await subject.ask(prompt.without(frozenset({"prompt_cache"})))
    assert "cache" not in subject.server.requests[-1].raw.decode()


def as_read(family: str, body: dict[str, Any]) -> str:
    """The request in the order in which the model reads it: schema or tools, system, messages."""
    generation = body.get("generationConfig", {})
    schema = [
        body.get("tools"),
        body.get("toolConfig"),
        body.get("tool_choice"),
        body.get("response_format"),
        body.get("text"),
        generation.get("responseJsonSchema"),
    ]
    system = [body.get("system"), body.get("systemInstruction")]
    turns = body.get("messages") or body.get("input") or body.get("contents")
    assert turns, family
    return json.dumps([part for part in (*schema, *system, turns) if part])


def common_share(texts: list[str]) -> float:
    """The length of what all begin with, as a share of the longest."""
    return len(os.path.commonprefix(texts)) / max(map(len, texts))  # noqa: RUF071  # these are no paths


async def test_criteria_of_one_case_share_nine_tenths(subject: Subject) -> None:
    """Whatever is asked, the requests differ only after the case has been shown.

    A compatible server binds the answer by the schema and shows the model none of it.
    """
    sent = await bodies(subject, CRITERIA, prefix_cache=True)
    assert len(sent) == len(CRITERIA)
    if subject.family.startswith("openai"):
        for body in sent:
            body.pop("response_format", None)
            body.pop("text", None)
    assert common_share([as_read(subject.family, body) for body in sent]) >= 0.9


async def test_without_it_schemas_differ(subject: Subject) -> None:
    """The measure finds a schema that differs before all else, so it could fail."""
    sent = await bodies(subject, CRITERIA)
    assert common_share([as_read(subject.family, body) for body in sent]) < 0.9


async def test_the_end_of_the_case_is_marked_where_the_protocol_has_marks(
    subject: Subject,
) -> None:
    """A mark ends the case, which is all before it; other protocols have none and get none."""
    sent = await bodies(subject, CRITERIA[:2], prefix_cache=True)
    mark = json.dumps(MARKS.get(subject.dialect, {"none": None}))[1:-1]
    for body in sent:
        before, found, after = json.dumps(body).partition(mark)
        assert bool(found) is (subject.dialect in MARKS)
        if found:
            assert "Sent. Sent." in before
            assert "Sent. Sent." not in after
            assert "# Task" in after


@pytest.mark.parametrize("criteria", [CRITERIA[:1], [{"type": "boolean", "question": "x?"}]])
async def test_a_single_call_is_not_marked(subject: Subject, criteria: list[Any]) -> None:
    """To write a cache that nobody reads would cost more."""
    [body] = await bodies(subject, criteria, prefix_cache=True)
    assert "cache" not in json.dumps(body)


async def test_a_short_case_is_not_marked(subject: Subject) -> None:
    """No provider caches fewer than a thousand tokens."""
    sent = await bodies(subject, CRITERIA, Case("short"), prefix_cache=True)
    assert "cache" not in json.dumps(sent)


@pytest.mark.parametrize("asked", [None, False])
async def test_interactive_calls_do_not_wait(subject: Subject, asked: bool | None) -> None:
    """Only batches, or who asks for it, let one call go first: so nothing is marked, either."""
    sent = await bodies(subject, CRITERIA, prefix_cache=asked)
    assert "cache" not in json.dumps(sent)
