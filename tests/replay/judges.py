"""Replays of comparisons, preferences and samples: what judges say more than once."""

from __future__ import annotations

import asyncio
import statistics
import tempfile
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp

from fakes.service_process import running_service
from replay.recordings import Pair, Weighed
from replay.server import Recorded, ReplayServer

CONCURRENCY = 32

CONFIG = """
[providers.replay]
dialect = "openai"
base_url = "{url}"
stream = false

[models."replay/judge"]
provider = "replay"
name = "judge"
structured_output = false
logprobs = {logprobs}
"""


@dataclass(frozen=True)
class Replayed:
    """The service's answers in the order of the requests, and the calls that the judge got."""

    answers: list[dict[str, Any]]
    calls: int


async def replayed(
    path: str,
    requests: Sequence[Mapping[str, Any]],
    recorded: Mapping[str, Sequence[Recorded]],
    *,
    logprobs: bool = False,
) -> Replayed:
    """Post the requests to a real service whose judge is the replay server."""
    slots = asyncio.Semaphore(CONCURRENCY)
    async with _judge(recorded, logprobs=logprobs) as (server, session):

        async def one(request: Mapping[str, Any]) -> dict[str, Any]:
            async with slots, session.post(path, json=request) as answer:
                body: dict[str, Any] = await answer.json()
                assert answer.status == 200, body
                return body

        answers = await asyncio.gather(*map(one, requests))
    return Replayed(answers, sum(server.calls.values()))


@asynccontextmanager
async def _judge(
    recorded: Mapping[str, Sequence[Recorded]], *, logprobs: bool
) -> AsyncIterator[tuple[ReplayServer, aiohttp.ClientSession]]:
    with tempfile.TemporaryDirectory() as folder:
        async with ReplayServer(recorded) as server:
            config = CONFIG.format(url=server.url, logprobs=str(logprobs).lower())
            async with (
                running_service(Path(folder), config) as service,
                aiohttp.ClientSession(service.url) as session,
            ):
                yield server, session


async def replay_pairs(pairs: Sequence[Pair]) -> dict[str, float]:
    """The shares of `published`, in per cent, as the service's comparisons give them.

    A completion that states no verdict counts as wrong, and as a disagreement of the orders.
    """
    recorded = {key: [text] for each in pairs for key, text in each.completions.items()}
    done = await replayed("/v1/comparisons", [each.request for each in pairs], recorded)
    right = [
        [
            order["winner"] == pair.label
            for pair, answer in zip(pairs, done.answers, strict=True)
            for order in answer["orders"]
            if order["first"] == first
        ]
        for first in ("a", "b")
    ]
    straight, swapped = (100 * statistics.fmean(each) for each in right)
    return {
        "correct_False": straight,
        "correct_True": swapped,
        "correct_average": (straight + swapped) / 2,
        "equal": 100 * statistics.fmean(answer["consistent"] is True for answer in done.answers),
    }


async def replay_preferences(weighed: Sequence[Weighed]) -> tuple[list[float], int]:
    """The service's preferences for the output, 0 to 1, and the judge calls that they took."""
    recorded = {each.key: [each.choice] for each in weighed if each.choice is not None}
    requests = [each.request for each in weighed]
    done = await replayed("/v1/evaluations", requests, recorded, logprobs=True)
    return [answer["results"][0]["score"] for answer in done.answers], done.calls


async def replay_samples(
    samples: Sequence[tuple[str, dict[str, Any], list[str], list[int]]],
) -> list[dict[str, Any]]:
    """The service's result for each case."""
    recorded = {key: texts for key, _, texts, _ in samples}
    done = await replayed("/v1/evaluations", [request for _, request, _, _ in samples], recorded)
    return [answer["results"][0] for answer in done.answers]
