"""`assay demo`: fills a service with public cases, so that every page has something to show."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

import orjson
import typer

from assay.cli import options
from assay.cli.app import Exit, app, check_url, notice
from assay.client import BatchClient, ServiceError
from assay.client.http import json_object, read_body
from assay.demo.cases import PHRASES, SEED, Assistant, demo_cases

MODELS = ("careful", "hasty", "assistant-1", "assistant-2")
RECORDED: Mapping[str, Mapping[str, Any]] = {
    "providers": {"recorded": {"dialect": "recorded"}, "simulated": {"dialect": "simulated"}},
    "models": {
        **{f"recorded/{name}": {"provider": "recorded", "name": name} for name in MODELS},
        "simulated/judge": {"provider": "simulated", "name": "judge"},
    },
    "judges": {"default": {"models": ["recorded/careful", "simulated/judge"]}},
}
"""The settings of a service that can be filled; cases of visitors are judged by the simulation."""
DATASET, EVALUATOR = "support-questions", "support-quality"
HELPFUL = {"type": "rubric", "name": "helpful", "rubric": PHRASES["helpful"]}
POLICY = {"type": "rubric", "name": "follows_policy", "rubric": PHRASES["follows_policy"]}
SHORT = {"type": "word_count", "name": "short_enough", "max": 55}
VERSIONS: tuple[dict[str, Any], ...] = (
    {"criteria": [HELPFUL, POLICY], "judge": {"models": ["recorded/hasty"], "fallback": "none"}},
    {
        "criteria": [
            {**HELPFUL, "rubric": f"{PHRASES['helpful']} One concrete step is enough."},
            {**POLICY, "rubric": f"{PHRASES['follows_policy']} It adds no promise of its own."},
            SHORT,
        ],
        "judge": {"models": ["recorded/careful"], "fallback": "none"},
    },
)
BATCHES: tuple[tuple[str, int, Assistant], ...] = (
    ("Assistant 1, hasty judge", 1, "assistant-1"),
    ("Assistant 1", 2, "assistant-1"),
    ("Assistant 2", 2, "assistant-2"),
)
"""Their names, the version of the evaluator, and who answers."""
GATES = [{"criterion": "helpful", "min_pass_rate": 0.75}]
ANNOTATORS = ("mira", "jonas")
LABELLED, DRAWN, PAGE = 60, 30, 100


@app.command()
def demo(
    *,
    url: options.Url = options.DEFAULT_URL,
    api_key_file: options.ApiKeyFile = None,
) -> None:
    """Fill a service that was started with `assay serve --demo`. What is there already is kept.

    Exit codes: 0 it is filled; 2 wrong arguments; 3 the service refused or did not answer.
    """
    check_url(url)
    try:
        asyncio.run(_fill(BatchClient(url, options.key_from(api_key_file))))
    except ServiceError as error:
        notice(f"assay: {error}")
        raise typer.Exit(Exit.INCOMPLETE) from None
    notice(f"assay: the demonstration is ready: {url.rstrip('/')}/console/")


async def _fill(opening: BatchClient) -> None:
    async with opening as client:
        models = {model["id"] for model in (await client.get("/v1/models"))["data"]}
        if not models.issuperset(RECORDED["models"]):
            notice("assay: the service has no recorded judges: start it with `assay serve --demo`")
            raise typer.Exit(Exit.INCOMPLETE)
        await _dataset(client)
        await _evaluator(client)
        batches = await _batches(client)
        for batch, (_, _, assistant) in zip(batches[:2], BATCHES, strict=False):
            await _labels(client, batch, assistant)
        if not await _has(client, "/v1/labels/draws", batches[1]):
            wanted = {"batch": batches[1], "criterion": "follows_policy", "labels": DRAWN}
            await client.post("/v1/labels/draws", {**wanted, "seed": SEED % 1_000})
        for batch in batches[:2]:
            if not await _has(client, "/v1/calibrations", batch):
                await client.post("/v1/calibrations", {"batch": batch})


async def _dataset(client: BatchClient) -> None:
    found = await _or_none(client, f"/v1/datasets/{DATASET}")
    if found is None:
        text = "Questions to an invented shop for bicycles, written for this demonstration."
        found = await client.post("/v1/datasets", {"name": DATASET, "description": text})
    if found["version"]:
        return
    items = [
        {
            "id": case.id,
            "input": case.question,
            "context": [case.policy],
            "reference": case.reference,
            "group": case.id.rpartition("-")[0],
            "split": case.split,
        }
        for case in demo_cases()
    ]
    await _upload(client, "PUT", f"/v1/datasets/{DATASET}/items", items)


async def _evaluator(client: BatchClient) -> None:
    found = await _or_none(client, f"/v1/evaluators/{EVALUATOR}")
    if found is None:
        text = "Is an answer of the support helpful, right and short?"
        found = await client.post(
            "/v1/evaluators", {"name": EVALUATOR, "description": text, **VERSIONS[0]}
        )
    if found["version"] < len(VERSIONS):
        await client.post(f"/v1/evaluators/{EVALUATOR}/versions", VERSIONS[1])


async def _batches(client: BatchClient) -> list[str]:
    """The ids of the batches, which have ended."""
    listed = (await client.get(f"/v1/batches?limit={PAGE}"))["data"]
    known = {batch["name"]: batch["id"] for batch in listed if batch["status"] != "cancelled"}
    ids: list[str] = []
    for name, version, assistant in BATCHES:
        if name not in known:
            made = await client.create(
                {
                    "name": name,
                    "evaluator": f"{EVALUATOR}@{version}",
                    "dataset": f"{DATASET}@1",
                    "generate": {
                        "model": f"recorded/{assistant}",
                        "messages": [{"role": "user", "content": "{{item.input}}"}],
                    },
                    "gates": GATES,
                }
            )
            known[name] = made["id"]
        ids.append(known[name])
    for id_ in ids:
        async for _ in client.follow(id_):
            """Until its end."""
    return ids


async def _labels(client: BatchClient, batch: str, assistant: Assistant) -> None:
    """What two people say of a random sample of the batch's rows."""
    if (await client.get(f"/v1/labels?batch={batch}&limit=1"))["data"]:
        return
    sample = random.Random(SEED).sample(demo_cases(), LABELLED)  # noqa: S311  # repeatable
    labels = [
        {
            "item": {"batch": batch, "item_id": case.id},
            "criterion": criterion,
            "annotator": annotator,
            "passed": case.answers[assistant].passed[annotator, criterion],
            "comment": case.answers[assistant].reasons[annotator, criterion],
            "random_sample": True,
        }
        for case in sample
        for annotator in ANNOTATORS
        for criterion in PHRASES
    ]
    await _upload(client, "POST", "/v1/labels", labels)


async def _upload(
    client: BatchClient, method: str, path: str, rows: list[dict[str, Any]]
) -> dict[str, Any]:
    content = b"\n".join(map(orjson.dumps, rows))
    headers = {"Content-Type": "application/x-ndjson"}
    async with client.request(method, path, data=content, headers=headers) as response:
        return json_object(await read_body(response))


async def _has(client: BatchClient, path: str, batch: str) -> bool:
    listed = (await client.get(f"{path}?limit={PAGE}"))["data"]
    return any(one["batch"] == batch for one in listed)


async def _or_none(client: BatchClient, path: str) -> dict[str, Any] | None:
    try:
        return await client.get(path)
    except ServiceError as error:
        if error.status == HTTPStatus.NOT_FOUND:
            return None
        raise
