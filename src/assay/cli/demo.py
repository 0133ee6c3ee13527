"""`assay demo`: fills a service with public cases, so that every page has something to show."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Mapping
from typing import Any

import typer

from assay.cli import options
from assay.cli.app import Exit, app, examples, notice
from assay.client import AsyncAssay
from assay.demo.cases import PHRASES, SEED, Assistant, demo_cases
from assay.errors import NotFound, ServiceError

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
LABELLED, DRAWN = 60, 30


@app.command(epilog=examples("assay demo --url http://127.0.0.1:8080"))
def demo(
    *,
    url: options.Url = options.DEFAULT_URL,
    api_key_file: options.ApiKeyFile = None,
) -> None:
    """Fill a service that was started with `assay serve --demo`.

    What is there already is kept. Exit codes: 0 it is filled; 2 wrong arguments; 3 the service
    refused or did not answer.
    """
    try:
        asyncio.run(_fill(options.client_for(AsyncAssay, url, api_key_file)))
    except ServiceError as error:
        notice(f"assay: {error}")
        raise typer.Exit(Exit.INCOMPLETE) from None
    notice(f"assay: the demonstration is ready: {url.rstrip('/')}/console/")


async def _fill(opening: AsyncAssay) -> None:
    async with opening as client:
        models = {model["id"] for model in await client.models()}
        if not models.issuperset(RECORDED["models"]):
            notice("assay: the service has no recorded judges: start it with `assay serve --demo`")
            raise typer.Exit(Exit.INCOMPLETE)
        await _dataset(client)
        await _evaluator(client)
        batches = await _batches(client)
        for batch, (_, _, assistant) in zip(batches[:2], BATCHES, strict=False):
            await _labels(client, batch, assistant)
        drawn = [draw["batch"] async for draw in client.labels.draws()]
        if batches[1] not in drawn:
            wanted = {"batch": batches[1], "criterion": "follows_policy", "labels": DRAWN}
            await client.labels.draw(**wanted, seed=SEED % 1_000)
        calibrated = [made["batch"] async for made in client.calibrations.list()]
        for batch in batches[:2]:
            if batch not in calibrated:
                await client.calibrations.create(batch)


async def _dataset(client: AsyncAssay) -> None:
    try:
        found = await client.datasets.get(DATASET)
    except NotFound:
        text = "Questions to an invented shop for bicycles, written for this demonstration."
        found = await client.datasets.create(DATASET, description=text)
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
    await client.datasets.upload(DATASET, items)


async def _evaluator(client: AsyncAssay) -> None:
    try:
        found = await client.evaluators.get(EVALUATOR)
    except NotFound:
        text = "Is an answer of the support helpful, right and short?"
        found = await client.evaluators.create(EVALUATOR, description=text, **VERSIONS[0])
    if found["version"] < len(VERSIONS):
        await client.evaluators.add_version(EVALUATOR, **VERSIONS[1])


async def _batches(client: AsyncAssay) -> list[str]:
    """The ids of the batches, which have ended."""
    known = {
        one.raw["name"]: one async for one in client.batches.list() if one.status != "cancelled"
    }
    for name, version, assistant in BATCHES:
        if name not in known:
            known[name] = await client.batches.create(
                name=name,
                evaluator=f"{EVALUATOR}@{version}",
                dataset=f"{DATASET}@1",
                generate={
                    "model": f"recorded/{assistant}",
                    "messages": [{"role": "user", "content": "{{item.input}}"}],
                },
                gates=GATES,
            )
    return [(await known[name].wait()).id for name, _, _ in BATCHES]


async def _labels(client: AsyncAssay, batch: str, assistant: Assistant) -> None:
    """What two people say of a random sample of the batch's rows."""
    async for _ in client.labels.list(batch=batch, limit=1):
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
    await client.labels.add(labels)
