"""OpenAI's own client, unchanged but for its base URL, drives the Evals, files and graders API."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import openai
import pytest
import pytest_asyncio
from aiohttp import web
from aiohttp.test_utils import TestServer
from openai import AsyncOpenAI

from assay.http.keys_file import new_key
from fakes.images import data_uri, png
from fakes.service_process import clean_environment, running_service

pytestmark = pytest.mark.asyncio(loop_scope="module")

SOURCE = "def grade(sample, item):\n    return 1.0 if sample['output_text'] == item['a'] else 0.25"
MATCH = {
    "type": "string_check", "name": "match", "operation": "eq",
    "input": "{{sample.output_text}}", "reference": "{{item.a}}",
}  # fmt: skip
SIMILAR = {
    "type": "text_similarity", "name": "similar", "evaluation_metric": "rouge_l",
    "input": "{{sample.output_text}}", "reference": "{{ item.a }}", "pass_threshold": 0.5,
}  # fmt: skip
SCORED = {
    "type": "score_model", "name": "scored", "model": "judge", "range": [1, 5],
    "pass_threshold": 1, "sampling_params": {"temperature": 0, "top_p": 1, "seed": None},
    "input": [
        {"role": "developer", "content": "Grade the answer."},
        {"role": "user", "content": {"type": "input_text", "text": "{{item.q}}"}},
        {"role": "user", "content": [{"type": "output_text", "text": "{{sample.output_text}}"}]},
    ],
}  # fmt: skip
LABELLED = {
    "type": "label_model", "name": "labelled", "model": "judge", "labels": ["good", "bad"],
    "passing_labels": ["good"], "input": [{"role": "user", "content": "{{sample.output_text}}"}],
}  # fmt: skip
PYTHON = {"type": "python", "name": "python", "source": SOURCE, "image_tag": "2025-05-08"}
SCHEMA = {
    "type": "object",
    "properties": {"q": {"type": "string"}, "a": {"type": "string"}},
    "required": ["q"],
}
CUSTOM = {"type": "custom", "item_schema": SCHEMA, "include_sample_schema": True}
ROWS = [
    {"item": {"q": "one", "a": "x"}, "sample": {"output_text": "x"}},
    {"item": {"q": "two", "a": "x"}, "sample": {"output_text": "y"}},
    {"item": {"q": "three"}, "sample": {"output_text": "y"}},
    {"item": {"q": "four", "a": "x"}},
]
CONTENT = {"type": "file_content", "content": ROWS[:1]}
TEMPLATE = {"type": "template", "template": [{"role": "user", "content": "{{item.q}}"}]}
MADE = {"type": "completions", "model": "judge", "source": CONTENT, "input_messages": TEMPLATE}
EVAL_KEYS = {
    "object", "id", "name", "data_source_config", "testing_criteria", "created_at", "metadata",
}  # fmt: skip
RUN_KEYS = {
    "object", "id", "eval_id", "status", "model", "name", "created_at", "report_url",
    "result_counts", "per_model_usage", "per_testing_criteria_results", "data_source", "metadata",
    "error",
}  # fmt: skip
ITEM_KEYS = {
    "object", "id", "run_id", "eval_id", "created_at", "status", "datasource_item_id",
    "datasource_item", "results", "sample",
}  # fmt: skip
SAMPLE_KEYS = {
    "input", "output", "finish_reason", "model", "usage", "error", "temperature", "top_p",
    "max_completion_tokens", "seed",
}  # fmt: skip
USAGE_KEYS = {
    "model_name", "invocation_count", "prompt_tokens", "completion_tokens", "total_tokens",
    "cached_tokens",
}  # fmt: skip


@dataclass
class Surface:
    """A running service, and the clients of two tenants."""

    url: str
    key: str
    other_key: str
    client: AsyncOpenAI
    other: AsyncOpenAI


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def surface(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Surface]:
    folder: Path = tmp_path_factory.mktemp("openai")
    (key, line), (other, other_line) = new_key("acme"), new_key("other")
    (folder / "keys").write_text(f"{line}\n{other_line}\n")
    config = '[auth]\nrequired = true\nkeys_file = "keys"\n[server]\nmax_body_bytes = 1_000_000\n'
    config += "[batches]\nwebhooks_to_private_hosts = true\n"
    async with running_service(folder, config) as service:
        clients = [
            AsyncOpenAI(base_url=f"{service.url}/v1", api_key=one, max_retries=0)
            for one in (key, other)
        ]
        yield Surface(service.url, key, other, *clients)
        for client in clients:
            await client.close()


async def finished(client: AsyncOpenAI, run: Any) -> Any:
    async with asyncio.timeout(60):
        while run.status in ("queued", "in_progress"):
            await asyncio.sleep(0.05)
            run = await client.evals.runs.retrieve(run.id, eval_id=run.eval_id)
    return run


async def new_eval(client: AsyncOpenAI, *criteria: Any, **more: Any) -> Any:
    fields = {"data_source_config": CUSTOM, **more}
    return await client.evals.create(testing_criteria=list(criteria or [MATCH]), **fields)


async def new_run(client: AsyncOpenAI, eval_id: str, rows: Any = ROWS, **more: Any) -> Any:
    source = {"type": "jsonl", "source": {"type": "file_content", "content": rows}}
    return await client.evals.runs.create(eval_id, **{"data_source": source, **more})


async def items_of(client: AsyncOpenAI, run: Any, **query: Any) -> list[Any]:
    pages = client.evals.runs.output_items.list(run.id, eval_id=run.eval_id, **query)
    return [item async for item in pages]


async def test_an_eval_with_every_grader_runs_over_rows_that_have_samples(surface: Surface) -> None:
    """Bodies have the keys that the reference requires, and what is not scored is no 0."""
    client = surface.client
    made = await new_eval(
        client, MATCH, SIMILAR, SCORED, LABELLED, PYTHON, name="all", metadata={"team": "a"}
    )
    assert made.to_dict().keys() == EVAL_KEYS
    assert made.data_source_config.schema_ == {
        "type": "object",
        "properties": {"item": SCHEMA, "sample": {"type": "object"}},
        "required": ["item", "sample"],
    }
    ids = {criterion.name: criterion.id for criterion in made.testing_criteria}
    assert all(id_.startswith(f"{name}-") for name, id_ in ids.items())
    run = await finished(client, await new_run(client, made.id, name="first", metadata={"k": "v"}))
    document = run.to_dict()
    assert document.keys() == RUN_KEYS
    assert document["data_source"]["source"]["content"] == ROWS
    assert (run.status, run.name, run.metadata, run.error) == (
        "completed",
        "first",
        {"k": "v"},
        None,
    )
    counts = run.result_counts
    assert (counts.total, counts.errored, counts.passed + counts.failed) == (4, 2, 2)
    [usage] = document["per_model_usage"]
    assert usage.keys() == USAGE_KEYS
    assert usage["invocation_count"] == 2 * 3
    by_criterion = {
        one["testing_criteria"]: one for one in document["per_testing_criteria_results"]
    }
    assert by_criterion[ids["match"]] == {
        "testing_criteria": ids["match"], "passed": 1, "failed": 1,
    }  # fmt: skip
    items = await items_of(client, run, limit=1)
    assert [item.datasource_item for item in items] == [row["item"] for row in ROWS]
    for item in items:
        assert item.to_dict().keys() == ITEM_KEYS
        assert item.to_dict()["sample"].keys() == SAMPLE_KEYS
    scores = [{one.name: one.score for one in item.results} for item in items]
    assert [one.get(ids["match"]) for one in scores] == [1, 0, None, None]
    assert [one.get(ids["python"]) for one in scores] == [1, 0.25, None, None]
    assert [one.get(ids["similar"]) for one in scores] == [1, 0, None, None]
    assert 1 <= scores[2][ids["scored"]] <= 5
    assert [item.status == "error" for item in items] == [False, False, True, True]
    assert [item.sample.error and item.sample.error.code for item in items] == [
        None, None, "variable_missing", "variable_missing",
    ]  # fmt: skip
    assert items[3].sample.output == []
    await client.evals.runs.delete(run.id, eval_id=made.id)
    with pytest.raises(openai.NotFoundError):
        await client.evals.runs.retrieve(run.id, eval_id=made.id)


async def test_items_are_paged_and_filtered_in_both_orders(surface: Surface) -> None:
    """The client's own pagination sees each row once."""
    client = surface.client
    made = await new_eval(client)
    rows = [
        {"item": {"q": str(n), "a": "x"}, "sample": {"output_text": "x" if n % 3 else "y"}}
        for n in range(25)
    ]
    run = await finished(client, await new_run(client, made.id, rows))
    numbers = [one.datasource_item_id for one in await items_of(client, run, limit=7)]
    assert numbers == list(range(25))
    down = [one.datasource_item_id for one in await items_of(client, run, limit=7, order="desc")]
    assert down == list(range(24, -1, -1))
    failed = await items_of(client, run, limit=2, status="fail")
    assert [one.datasource_item_id for one in failed] == list(range(0, 25, 3))
    one = await client.evals.runs.output_items.retrieve(
        failed[1].id, eval_id=made.id, run_id=run.id
    )
    assert one.to_dict() == failed[1].to_dict()
    page = await client.evals.runs.output_items.list(run.id, eval_id=made.id, limit=25)
    raw = page.to_dict()
    assert (raw["object"], raw["has_more"]) == ("list", False)
    assert (raw["first_id"], raw["last_id"]) == (raw["data"][0]["id"], raw["data"][-1]["id"])


async def test_a_file_is_stored_read_back_run_over_and_deleted(surface: Surface) -> None:
    """Equal lines are two rows; a run generates an output for each."""
    client = surface.client
    lines = [{"item": {"q": "same"}}] * 2 + [{"item": {"q": "ünï"}, "sample": {"output_text": "s"}}]
    content = "\n\n".join(json.dumps(line) for line in lines).encode()
    file = await client.files.create(
        file=("rows.jsonl", content), purpose="evals",
        expires_after={"anchor": "created_at", "seconds": 3_600},
    )  # fmt: skip
    assert (file.bytes, file.filename, file.purpose) == (len(content), "rows.jsonl", "evals")
    assert file.expires_at == file.created_at + 3_600
    read = (await client.files.content(file.id)).text
    assert [json.loads(line) for line in read.splitlines()] == lines
    assert (await client.files.retrieve(file.id)).id == file.id
    assert file.id in [one.id async for one in client.files.list(limit=1)]
    made = await new_eval(client, SCORED)
    source = {
        "type": "completions", "model": "judge", "source": {"type": "file_id", "id": file.id},
        "input_messages": {
            "type": "template",
            "template": [
                {"role": "system", "content": "Answer."},
                {"role": "user", "content": {"type": "input_text", "text": "{{item.q}}?"}},
            ],
        },
        "sampling_params": {
            "temperature": 0.5, "top_p": 0.9, "seed": 7, "max_completion_tokens": 64,
        },
    }  # fmt: skip
    run = await client.evals.runs.create(made.id, data_source=source)
    run = await finished(client, run)
    assert (run.model, run.result_counts.errored) == ("judge", 0)
    assert run.data_source.to_dict() == source
    items = await items_of(client, run)
    assert [item.datasource_item["q"] for item in items] == ["same", "same", "ünï"]
    for item in items:
        assert item.sample.output[0].content not in ("", "s")
        assert item.sample.input[1].content == f"{item.datasource_item['q']}?"
        assert (item.sample.temperature, item.sample.top_p, item.sample.seed) == (0.5, 0.9, 7)
        assert item.sample.usage.total_tokens > 0
    assert (await client.files.delete(file.id)).deleted
    with pytest.raises(openai.NotFoundError):
        await client.files.content(file.id)
    left = await items_of(client, run)
    assert [(item.datasource_item, item.sample.input) for item in left] == [({}, [])] * 3


async def test_a_responses_run_takes_its_messages_from_the_row(surface: Surface) -> None:
    """An item reference leads to a list of messages; a row without one is an error of its own."""
    client = surface.client
    made = await new_eval(client, SCORED, data_source_config={**CUSTOM, "item_schema": {}})
    talk = [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": [{"text": "Yes"}]}]
    rows = [{"item": {"q": "a", "talk": {"so_far": talk}}}, {"item": {"q": "b", "talk": 5}}]
    source = {
        "type": "responses", "model": "judge", "source": {"type": "file_content", "content": rows},
        "input_messages": {"type": "item_reference", "item_reference": "item.talk.so_far"},
        "sampling_params": {"text": {"format": {"type": "text"}}},
    }  # fmt: skip
    run = await finished(client, await client.evals.runs.create(made.id, data_source=source))
    counts = run.result_counts
    assert (counts.errored, counts.total) == (1, 2)
    first, second = await items_of(client, run)
    assert [message.content for message in first.sample.input] == ["Hi", "Yes"]
    assert second.status == "error"
    assert "item.talk.so_far" in second.sample.error.message


async def test_templates_show_images(surface: Surface) -> None:
    """Of the template, of a field and of the row's own messages; a row without one is an error."""
    client = surface.client
    made = await new_eval(client, SCORED, data_source_config={**CUSTOM, "item_schema": {}})
    shown, photo = data_uri(png(4, 4)), data_uri(png(5, 5))
    talk = [
        {
            "role": "user",
            "content": [
                {"type": "input_text", "text": "Look:"},
                {"type": "input_image", "image_url": photo},
            ],
        }
    ]
    rows = [{"item": {"q": "a", "photo": photo, "talk": talk}}, {"item": {"q": "b"}}]
    blocks = [
        {"type": "input_text", "text": "Compare {{item.q}}"},
        {"type": "input_image", "image_url": shown, "detail": "low", "file_id": None},
        {"type": "input_image", "image_url": "{{item.photo}}"},
    ]
    template = {"type": "template", "template": [{"role": "user", "content": blocks}]}
    of_row = {"type": "item_reference", "item_reference": "item.talk"}
    for messages, begins, images in ((template, "Compare a", 2), (of_row, "Look:", 1)):
        source = {
            **MADE,
            "input_messages": messages,
            "source": {"type": "file_content", "content": rows},
        }
        run = await finished(client, await client.evals.runs.create(made.id, data_source=source))
        first, second = await items_of(client, run)
        asked = first.sample.input[0].content
        assert (asked.startswith(begins), asked.count("[image ")) == (True, images)
        assert (second.status, first.sample.error) == ("error", None)


async def test_a_run_may_ask_for_json(surface: Surface) -> None:
    """In the words of either API."""
    made = await new_eval(surface.client, SCORED)
    form = {"type": "json_object"}
    for params in ({"response_format": form}, {"text": {"format": form}}):
        source = {**MADE, "sampling_params": params}
        run = await surface.client.evals.runs.create(made.id, data_source=source)
        (item,) = await items_of(surface.client, await finished(surface.client, run))
        assert isinstance(json.loads(item.sample.output[0].content), dict)


async def test_a_webhook_tells_of_a_run(surface: Surface) -> None:
    """OpenAI's own client verifies it, and finds the run."""
    got: asyncio.Queue[Any] = asyncio.Queue()

    async def receive(request: web.Request) -> web.Response:
        await got.put((await request.text(), dict(request.headers)))
        return web.Response()

    app = web.Application()
    app.router.add_post("/hook", receive)
    made = await new_eval(surface.client)
    async with TestServer(app) as server:
        hook = {"webhook": {"url": str(server.make_url("/hook"))}}
        run = await new_run(surface.client, made.id, extra_body=hook)
        async with asyncio.timeout(30):
            text, headers = await got.get()
        event = surface.client.webhooks.unwrap(text, headers, secret=run.webhook["secret"])
        assert (event.type, event.object, event.data.id) == ("eval.run.succeeded", "event", run.id)
        assert event.id.startswith("evt_")
    again = await surface.client.evals.runs.retrieve(run.id, eval_id=made.id)
    assert "webhook" not in again.to_dict()
    with pytest.raises(openai.BadRequestError) as caught:
        await new_run(surface.client, made.id, extra_body={"webhook": {"url": "ftp://a"}})
    assert caught.value.param == "webhook.url"


TOOL = {"name": "weather", "parameters": {"type": "object", "properties": {"city": {}}}}
CALLED = {"name": "weather", "arguments": '{"city": "Oslo"}'}
USAGE = {"prompt_tokens": 1, "completion_tokens": 1, "input_tokens": 1, "output_tokens": 1}


class Vendor:
    """Both of OpenAI's protocols: a model that answers every prompt with a call of its tool."""

    def __init__(self) -> None:
        self.asked: list[dict[str, Any]] = []

    async def chat(self, request: web.Request) -> web.Response:
        self.asked.append(await request.json())
        halves = [{"name": "weather", "arguments": '{"city"'}, {"arguments": ': "Oslo"}'}]
        deltas = [
            {"tool_calls": [{"index": 0, **({} if n else {"id": "call_1"}), "function": half}]}
            for n, half in enumerate(halves)
        ]
        chunks: list[Any] = [{"choices": [{"delta": delta}]} for delta in deltas]
        chunks.append({"choices": [{"delta": {}, "finish_reason": "tool_calls"}], "usage": USAGE})
        lines = [f"data: {json.dumps(chunk)}\n\n" for chunk in chunks]
        return web.Response(
            text="".join([*lines, "data: [DONE]\n\n"]), content_type="text/event-stream"
        )

    async def responses(self, request: web.Request) -> web.Response:
        self.asked.append(await request.json())
        call = {"type": "function_call", "call_id": "call_1", **CALLED}
        answer = {"status": "completed", "model": "m", "output": [call], "usage": USAGE}
        event = {"type": "response.completed", "response": answer}
        return web.Response(text=f"data: {json.dumps(event)}\n\n", content_type="text/event-stream")


async def test_tools_reach_the_model_and_its_calls_are_graded(tmp_path: Path) -> None:
    """Over both protocols, in the form of either run, and not in place of the text."""
    vendor, app = Vendor(), web.Application()
    app.router.add_post("/chat/completions", vendor.chat)
    app.router.add_post("/responses", vendor.responses)
    grader = {
        "type": "string_check", "name": "called", "operation": "eq",
        "input": "{{sample.output_tools[0].function.name}}", "reference": "weather",
    }  # fmt: skip
    async with TestServer(app) as server:
        config = "".join(
            f'[providers.{name}]\ndialect = "openai_{name}"\nbase_url = "{server.make_url("/")}"\n'
            f'[models."{name}/m"]\nprovider = "{name}"\nname = "m"\nfree = true\n'
            for name in ("chat", "responses")
        )
        config += '[judges.default]\nmodels = ["chat/m"]\n'
        async with (
            running_service(tmp_path, config) as service,
            AsyncOpenAI(base_url=f"{service.url}/v1", api_key="none", max_retries=0) as client,
        ):
            made = await new_eval(client, grader)
            for name, tool in (
                ("chat", {"type": "function", "function": TOOL}),
                ("responses", {"type": "function", **TOOL}),
            ):
                params = {"tools": [tool]}
                source = {**MADE, "model": f"{name}/m", "sampling_params": params}
                run = await client.evals.runs.create(made.id, data_source=source)
                (item,) = await items_of(client, await finished(client, run))
                assert (item.status, item.results[0].passed) == ("pass", True)
                (said,) = item.sample.to_dict()["output"]
                call = {"id": "call_1", "type": "function", "function": CALLED}
                assert said["tool_calls"] == [call]
    chat, responses = (one["tools"] for one in vendor.asked)
    assert chat == [{"type": "function", "function": TOOL}]
    assert responses == [{"type": "function", "strict": False, **TOOL}]


async def test_evals_are_listed_changed_and_deleted(surface: Surface) -> None:
    """The name and the metadata change; pages follow each other in either order."""
    client = surface.client
    made = [await new_eval(client, name=f"list {n}") for n in range(3)]
    ids = [one.id for one in made]
    listed = [one.id async for one in client.evals.list(limit=2) if one.id in ids]
    assert listed == ids
    down = [one.id async for one in client.evals.list(limit=2, order="desc") if one.id in ids]
    assert down == ids[::-1]
    changed = await client.evals.update(ids[0], name="renamed", metadata={"a": "b"})
    assert (changed.name, changed.metadata) == ("renamed", {"a": "b"})
    assert changed.testing_criteria == made[0].testing_criteria
    assert (await client.evals.retrieve(ids[0])).name == "renamed"
    by_update = [one.id async for one in client.evals.list(limit=2, order_by="updated_at")]
    assert [id_ for id_ in by_update if id_ in ids] == [*ids[1:], ids[0]]
    runs = [await new_run(client, ids[0]) for _ in range(3)]
    found = [run.id async for run in client.evals.runs.list(ids[0], limit=2)]
    assert found == [run.id for run in runs]
    for run in runs:
        await finished(client, run)
    done = [one.id async for one in client.evals.runs.list(ids[0], limit=1, status="completed")]
    assert done == found
    assert [one async for one in client.evals.runs.list(ids[0], status="failed")] == []
    deleted = await client.evals.delete(ids[0])
    assert (deleted.object, deleted.deleted, deleted.eval_id) == ("eval.deleted", True, ids[0])
    for call in (client.evals.retrieve(ids[0]), client.evals.delete(ids[0])):
        with pytest.raises(openai.NotFoundError):
            await call


GRADED = [
    (MATCH, {"a": "text"}, 1, {}),
    ({**SIMILAR, "evaluation_metric": "fuzzy_match"}, {"a": "test"}, 0.75, {}),
    (PYTHON, {"a": "no"}, 0.25, {}),
    ({**MATCH, "input": "{{sample.output_json.city}}"}, {"a": "x"}, None, "sample_parse_error"),
    (MATCH, {}, None, "invalid_variable_error"),
    ({**PYTHON, "source": "def grade(sample, item):\n    return 1 / 0"}, {}, None,
     "python_grader_runtime_error"),
    ({**PYTHON, "source": "def grade(sample, item):\n    return None"}, {}, None,
     "python_grader_runtime_error"),
]  # fmt: skip


@pytest.mark.parametrize(("grader", "item", "reward", "flag"), GRADED)
async def test_a_grader_is_run_on_one_sample(
    surface: Surface, grader: Any, item: Any, reward: Any, flag: Any
) -> None:
    """Where there is no grade there is no reward, and one of the errors says why."""
    graders = surface.client.fine_tuning.alpha.graders
    answer = (await graders.run(grader=grader, model_sample="text", item=item)).to_dict()
    assert answer["reward"] == reward
    errors = answer["metadata"].pop("errors")
    assert len(errors) == 14
    assert [name for name, value in errors.items() if value is True] == ([flag] if flag else [])
    assert answer["metadata"].keys() == {
        "name", "type", "execution_time", "scores", "token_usage", "sampled_model_name",
    }  # fmt: skip
    assert (await graders.validate(grader=grader)).to_dict()["grader"]["name"] == grader["name"]


async def test_a_multi_grader_has_a_reward_for_each_part(surface: Surface) -> None:
    """Sub-rewards, tokens by model, and a formula that has no value."""
    graders = surface.client.fine_tuning.alpha.graders
    multi: Any = {
        "type": "multi", "name": "both", "calculate_output": "2 * match + scored",
        "graders": {"match": MATCH, "scored": SCORED},
    }  # fmt: skip
    item = {"q": "?", "a": "text"}
    answer = (await graders.run(grader=multi, model_sample="text", item=item)).to_dict(
        warnings=False
    )
    assert answer["reward"] == 2 * answer["sub_rewards"]["match"] + answer["sub_rewards"]["scored"]
    assert answer["sub_rewards"]["match"] == 1
    [usage] = answer["model_grader_token_usage_per_model"].values()
    assert usage == answer["metadata"]["token_usage"]
    assert answer["metadata"]["sampled_model_name"]
    lacking = (await graders.run(grader=multi, model_sample="text", item={"q": "?"})).to_dict(
        warnings=False
    )
    assert (lacking["reward"], list(lacking["sub_rewards"])) == (None, ["scored"])
    for formula, flag in (("1 / (match - 1)", "other_error"), ("match +", "formula_parse_error"),
                          ("9" * 5_000, "formula_parse_error")):  # fmt: skip
        bad = {**multi, "calculate_output": formula}
        answer = (await graders.run(grader=bad, model_sample="text", item=item)).to_dict(
            warnings=False
        )
        assert (answer["reward"], answer["metadata"]["errors"][flag]) == (None, True)
    with pytest.raises(openai.BadRequestError) as caught:
        await graders.validate(grader={**multi, "calculate_output": "nobody + 1"})
    assert caught.value.param == "grader.calculate_output"


def of(criterion: dict[str, Any], **changes: Any) -> dict[str, Any]:
    return {"data_source_config": CUSTOM, "testing_criteria": [{**criterion, **changes}]}


BAD_EVALS = {
    "testing_criteria[0].operation": of(MATCH, operation="neq"),
    "testing_criteria[0].model": of(SCORED, model="nobody"),
    "testing_criteria[0].input": of(MATCH, input="{{config.key}}"),
    "testing_criteria[0].source": of(PYTHON, source="import numpy"),
    "testing_criteria[0].evaluation_metric": of(SIMILAR, evaluation_metric="rouge_9"),
    "testing_criteria[0].type": of(MATCH, type="nothing"),
    "testing_criteria": {"data_source_config": CUSTOM, "testing_criteria": []},
    "data_source_config.item_schema": {
        "data_source_config": {**CUSTOM, "item_schema": {"type": "nothing"}},
        "testing_criteria": [MATCH],
    },
    "metadata.k": {**of(MATCH), "metadata": {"k": "v" * 513}},
}  # fmt: skip


@pytest.mark.parametrize("param", BAD_EVALS)
async def test_a_faulty_eval_is_refused_with_its_place(surface: Surface, param: str) -> None:
    """The error is OpenAI's, with the parameter at fault, and nothing is stored."""
    before = [one.id async for one in surface.client.evals.list(limit=100)]
    with pytest.raises(openai.BadRequestError) as caught:
        await surface.client.evals.create(**BAD_EVALS[param])
    assert caught.value.param == param
    assert caught.value.body.keys() == {"message", "type", "param", "code"}  # type: ignore[attr-defined]
    assert [one.id async for one in surface.client.evals.list(limit=100)] == before


BAD_RUNS = {
    "data_source.source.content[1].item": {
        "type": "jsonl",
        "source": {"type": "file_content", "content": [ROWS[0], {"item": {"q": 5}}]},
    },
    "data_source.source.type": {**MADE, "source": {"type": "stored_completions"}},
    "data_source.source.content": {"type": "jsonl", "source": {"type": "file_content"}},
    "data_source.model": {**MADE, "model": "nobody"},
    "data_source.input_messages": {**MADE, "input_messages": None},
    "data_source.sampling_params.tools": {
        **MADE, "sampling_params": {"tools": [{"type": "function", "function": {"name": "f"}}]},
    },
    "data_source.sampling_params.tools[0].type": {
        **MADE, "sampling_params": {"tools": [{"type": "web_search"}]},
    },
    "data_source.sampling_params.tools[0].name": {
        **MADE, "sampling_params": {"tools": [{"type": "function", "function": {"name": "a b"}}]},
    },
    "data_source.sampling_params.response_format": {
        **MADE, "sampling_params": {"response_format": {"type": "grammar"}},
    },
    "data_source.sampling_params.text.format": {
        **MADE, "sampling_params": {"text": {"format": {"type": "json_schema"}}},
    },
    "data_source.sampling_params.text.verbosity": {
        **MADE, "sampling_params": {"text": {"verbosity": "low"}},
    },
    "data_source.input_messages.template[0].role": {
        **MADE, "input_messages": {"type": "template", "template": [
            {"role": "tool", "content": "x"}]},
    },
    "data_source.input_messages.template[1].content": {
        **MADE, "input_messages": {"type": "template", "template": [
            {"role": "user", "content": "x"},
            {"role": "user", "content": [{"type": "input_audio", "input_audio": {
                "data": "", "format": "wav"}}]}]},
    },
    "data_source.input_messages.template[0].content[0].image_url": {
        **MADE, "input_messages": {"type": "template", "template": [
            {"role": "user", "content": [
                {"type": "input_image", "image_url": "https://a.example/b.png"}]}]},
    },
    "data_source.input_messages.template[0].content": {
        **MADE, "input_messages": {"type": "template", "template": [
            {"role": "user", "content": "{{nothing}}"}]},
    },
}  # fmt: skip


@pytest.mark.parametrize("param", BAD_RUNS)
async def test_a_faulty_run_is_refused_with_its_place(surface: Surface, param: str) -> None:
    """Rows that do not fit the schema, stored completions, and parameters that no model takes."""
    made = await new_eval(surface.client)
    with pytest.raises(openai.BadRequestError) as caught:
        await surface.client.evals.runs.create(made.id, data_source=BAD_RUNS[param])
    assert caught.value.param == param
    assert [one async for one in surface.client.evals.runs.list(made.id)] == []


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "no rows"),
        (b"{", "Line 1"),
        (b'{"item": {}}\n[]', "Line 2"),
        (b'{"item": {}, "smaple": {}}', "Line 1"),
        (b'{"q": 1}', "Line 1"),
        (b"\xff\xfe", "Line 1"),
        (b'{"item": ' + b'{"a":' * 80 + b"1" + b"}" * 81, "Line 1"),
        (b'{"item": {"a": "' + b"x" * 2_000_000 + b'"}}', "bytes"),
    ],
)
async def test_a_file_of_the_wrong_form_is_refused(
    surface: Surface, content: bytes, said: str
) -> None:
    """The number of the line at fault is said, and no part of the file is stored."""
    before = [one.id async for one in surface.client.files.list(limit=100)]
    with pytest.raises(openai.BadRequestError, match=said):
        await surface.client.files.create(file=("f.jsonl", content), purpose="evals")
    assert [one.id async for one in surface.client.files.list(limit=100)] == before


async def test_two_uploads_at_once_do_not_mix(surface: Surface) -> None:
    """Each file has its own lines."""

    async def upload(name: str) -> list[str]:
        content = "\n".join(json.dumps({"item": {"q": f"{name} {n}"}}) for n in range(500))
        file = await surface.client.files.create(file=(name, content.encode()), purpose="evals")
        read = (await surface.client.files.content(file.id)).text
        return [json.loads(line)["item"]["q"] for line in read.splitlines()]

    both = await asyncio.gather(upload("one"), upload("two"))
    assert both == [[f"{name} {n}" for n in range(500)] for name in ("one", "two")]


async def test_another_tenants_ids_are_unknown(surface: Surface) -> None:
    """Evals, runs, items and files of others are 404s, and they are on no list."""
    client, other = surface.client, surface.other
    made = await new_eval(client)
    run = await finished(client, await new_run(client, made.id))
    [item, *_] = await items_of(client, run)
    file = await client.files.create(file=("f", b'{"item": {"q": "x"}}'), purpose="evals")
    mine = await new_eval(other)
    source: Any = {"type": "jsonl", "source": {"type": "file_id", "id": file.id}}
    items = other.evals.runs.output_items
    for call in (
        other.evals.retrieve(made.id), other.evals.update(made.id, name="mine"),
        other.evals.delete(made.id), other.evals.runs.retrieve(run.id, eval_id=made.id),
        other.evals.runs.retrieve(run.id, eval_id=mine.id),
        other.evals.runs.cancel(run.id, eval_id=made.id),
        other.evals.runs.delete(run.id, eval_id=made.id),
        items.retrieve(item.id, eval_id=made.id, run_id=run.id),
        other.files.retrieve(file.id), other.files.content(file.id), other.files.delete(file.id),
        other.evals.runs.create(mine.id, data_source=source), new_run(other, made.id),
    ):  # fmt: skip
        with pytest.raises(openai.NotFoundError):
            await call
    assert made.id not in [one.id async for one in other.evals.list()]
    assert file.id not in [one.id async for one in other.files.list()]
    assert (await client.evals.retrieve(made.id)).id == made.id


@pytest.mark.parametrize(
    ("method", "path", "options", "status"),
    [
        ("GET", "/v1/evals", {"headers": {"Authorization": "Bearer no"}}, 401),
        ("GET", "/v1/evals/eval_0", {}, 404),
        ("GET", "/v1/evals/eval_0/nothing", {}, 404),
        ("PUT", "/v1/evals", {}, 405),
        ("POST", "/v1/evals", {"data": b"x" * 1_010_000}, 413),
        ("POST", "/v1/evals", {"data": b"{"}, 400),
        ("POST", "/v1/evals", {"data": b"{}", "headers": {"Content-Type": "text/plain"}}, 415),
        ("POST", "/v1/files", {"data": b"{}"}, 415),
        ("GET", "/v1/evals?limit=0", {}, 400),
        ("GET", "/v1/evals?order=up", {}, 400),
        ("POST", "/v1/fine_tuning/alpha/graders/run", {"data": b"[]"}, 400),
    ],
)
async def test_every_error_has_the_form_of_openai(
    surface: Surface, method: str, path: str, options: dict[str, Any], status: int
) -> None:
    """Also those that are found before a resource is reached."""
    headers = {
        "Authorization": f"Bearer {surface.key}", "Content-Type": "application/json",
        **options.get("headers", {}),
    }  # fmt: skip
    async with (
        aiohttp.ClientSession() as session,
        session.request(
            method, surface.url + path, data=options.get("data"), headers=headers
        ) as answer,
    ):
        assert answer.status == status
        assert answer.content_type == "application/json"
        body = await answer.json()
    assert body.keys() == {"error"}
    assert body["error"].keys() == {"message", "type", "param", "code"}


async def test_what_is_stored_is_seen_on_our_own_contract(surface: Surface) -> None:
    """An eval is an evaluator, a file a dataset, and a run a batch; other paths keep their form."""
    client = surface.client
    made = await new_eval(client)
    run = await finished(client, await new_run(client, made.id))
    headers = {"Authorization": f"Bearer {surface.key}"}
    async with aiohttp.ClientSession(surface.url, headers=headers) as session:
        for path in (f"/v1/evaluators/{made.id}", run.report_url.removeprefix(surface.url)):
            async with session.get(path) as answer:
                assert answer.status == 200
        async with session.get("/v1/evaluators/nothing") as answer:
            assert answer.content_type == "application/problem+json"


async def assay(*arguments: str, **environ: str) -> tuple[int, str, str]:
    """A command's exit code and output."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "assay", *arguments, env=clean_environment(environ),
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    out, err = await process.communicate()
    return process.returncode or 0, out.decode(), err.decode()


async def test_an_account_is_imported(surface: Surface) -> None:
    """Evals and the rows of their runs come over, through every page of an account's lists."""
    client, other = surface.client, surface.other
    for one in [one async for one in client.evals.list(limit=100)]:
        await client.evals.delete(one.id)
    made = await new_eval(client, MATCH, PYTHON, name="to move", metadata={"team": "a"})
    rows = [{"item": {"q": str(n), "a": "x"}, "sample": {"output_text": "x"}} for n in range(150)]
    await finished(client, await new_run(client, made.id, rows, name="moved run"))
    code, out, err = await assay(
        "import", "openai-evals", "--url", surface.url, "--judge-again",
        OPENAI_API_KEY=surface.key, OPENAI_BASE_URL=f"{surface.url}/v1",
        ASSAY_API_KEY=surface.other_key,
    )  # fmt: skip
    assert (code, err) == (0, "")
    assert out.count("\n") == 3
    [moved] = [one async for one in other.evals.list() if one.name == "to move"]
    assert moved.metadata == {"team": "a"}
    assert moved.data_source_config.schema_ == made.data_source_config.schema_
    [run] = [one async for one in other.evals.runs.list(moved.id)]
    run = await finished(other, run)
    assert (run.name, run.result_counts.passed, run.result_counts.total) == ("moved run", 150, 150)


async def test_a_folder_is_imported_with_a_report_of_what_is_left(
    surface: Surface, tmp_path: Path
) -> None:
    """What cannot be brought is named with the reason, and the rest is."""
    good = {
        "object": "eval", "id": "eval_1", "name": "good", "metadata": {}, "created_at": 1,
        "data_source_config": {"type": "custom", "schema": {"properties": {"item": SCHEMA}}},
        "testing_criteria": [{**MATCH, "id": "match-1"}],
    }  # fmt: skip
    bad = {**good, "id": "eval_2", "name": "bad"}
    bad["testing_criteria"] = [{**PYTHON, "source": "import numpy", "pass_threshold": None}]
    run = {
        "object": "eval.run", "id": "evalrun_1", "eval_id": "eval_1", "name": "with rows",
        "data_source": {"type": "jsonl", "source": {"type": "file_content", "content": ROWS}},
    }  # fmt: skip
    gone = {**run, "id": "evalrun_2", "name": "gone", "data_source": {}}
    (tmp_path / "evals.json").write_text(json.dumps({"object": "list", "data": [good, bad]}))
    (tmp_path / "runs.jsonl").write_text("\n".join(map(json.dumps, (run, gone))))
    arguments = ("import", "openai-evals", str(tmp_path), "--url", surface.url)
    code, out, err = await assay(*arguments, ASSAY_API_KEY=surface.key)
    assert code == 3
    assert "eval eval_1 (good)" in out
    assert "4 rows" in out
    assert "eval eval_2 (bad)" in err
    assert "numpy" in err
    assert "evalrun_2 (gone)" in err
    (tmp_path / "runs.jsonl").write_text("{")
    assert (await assay(*arguments, ASSAY_API_KEY=surface.key))[0] == 2


async def test_a_run_can_be_cancelled(surface: Surface) -> None:
    """A cancelled run keeps what was judged; one that has ended cannot be cancelled.

    The older clients cancel at the path of the run itself.
    """
    client = surface.client
    slow = {
        "type": "python",
        "name": "slow",
        "source": "def grade(sample, item):\n    while 1: pass",
    }
    made = await new_eval(client, slow)
    run = await new_run(client, made.id, [ROWS[0]] * 3)
    cancelled = await client.evals.runs.cancel(run.id, eval_id=made.id)
    assert cancelled.status == "canceled"
    with pytest.raises(openai.BadRequestError, match="ended"):
        await client.post(f"/evals/{made.id}/runs/{run.id}", cast_to=object)
    assert (await client.evals.runs.delete(run.id, eval_id=made.id)).deleted
