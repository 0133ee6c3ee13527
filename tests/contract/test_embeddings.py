"""Embedding models of every dialect that has them: requests, vectors, usage, faults."""

from __future__ import annotations

import base64
import math
import struct
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from assay.domain.completion import Completion, Prompt, Turn
from assay.domain.errors import ModelError, StreamBroken, VectorsUnusable
from assay.domain.models import Model
from assay.domain.sampling import Sampling
from assay.domain.vectors import vectors_from
from assay.providers import EMBEDDINGS, ProviderClient, build_model
from fakes.calls import call, read_text
from fakes.providers.dialects import INPUT_TOKENS
from fakes.providers.faults import FAULTS
from fakes.providers.play import letter_counts
from fakes.providers.server import FaultServer
from fakes.providers.subject import KEY, SHORT_SILENCE_S, config_of

TEXTS = ('Output: "a"\\\n\x01 ü 🦊\u2028', "abba")
PROMPT = Prompt(tuple(Turn("user", (text,)) for text in TEXTS), read_text, Sampling(0))
CHAT_ONLY = ("refusal", "length", "aborted", "filtered", "error_mid")
"""Faults of an answer in words, or of a stream."""


class Embedder:
    """One dialect's adapter with the server it talks to."""

    def __init__(self, dialect: str, server: FaultServer) -> None:
        self.dialect, self.server, self.silence_s = dialect, server, 5.0
        self.clients: list[ProviderClient] = []

    async def ask(self, **options: Any) -> Completion:
        model = Model(
            f"{self.dialect}/e", self.dialect, "e-1", "embedding", input_usd_per_mtok=1.0, **options
        )
        config = config_of(self.dialect, self.server, silence_timeout_s=self.silence_s)
        client = ProviderClient(config)
        self.clients.append(client)
        return await build_model(self.dialect, model, client).complete(PROMPT, call())

    async def aclose(self) -> None:
        for client in self.clients:
            await client.aclose()


@pytest.fixture(params=sorted(EMBEDDINGS))
async def embedder(request: pytest.FixtureRequest) -> AsyncIterator[Embedder]:
    async with FaultServer() as server:
        embedder = Embedder(request.param, server)
        yield embedder
        await embedder.aclose()


async def test_a_vector_for_each_text_in_one_request(embedder):
    """The texts arrive as they are; vectors, served model, usage and cost come back."""
    completion = await embedder.ask()
    assert vectors_from(completion.text, 2) == [tuple(vector) for vector in letter_counts(TEXTS)]
    assert (completion.usage.input_tokens, completion.usage.output_tokens) == (INPUT_TOKENS, 0)
    assert completion.cost_usd == pytest.approx(INPUT_TOKENS / 1_000_000)
    assert completion.model == ("e-1" if embedder.dialect == "gemini" else "served-1")
    [received] = embedder.server.requests
    paths = {
        "gemini": "/gemini/v1beta/models/e-1:batchEmbedContents",
        "azure": "/azure/openai/deployments/e-1/embeddings?api-version=2024-10-21",
    }
    assert received.path == paths.get(embedder.dialect, f"/{embedder.dialect}/v1/embeddings")
    assert KEY in " ".join(received.headers.values())


async def test_the_request_is_that_of_the_reference(embedder):
    """Word for word, with and without `dimensions`."""
    embedder.server.vectors = lambda texts: [[1.0, 2.0]] * len(texts)
    await embedder.ask()
    await embedder.ask(dimensions=2)
    bodies = [received.body for received in embedder.server.requests]
    if embedder.dialect == "gemini":
        asked = {"model": "models/e-1", "taskType": "SEMANTIC_SIMILARITY"}
        contents = [{"content": {"parts": [{"text": text}]}} for text in TEXTS]
        plain, short = (
            {"requests": [asked | more | content for content in contents]}
            for more in ({}, {"outputDimensionality": 2})
        )
    else:
        plain = {"model": "e-1", "input": list(TEXTS)}
        short = plain | {"dimensions": 2}
    assert bodies == [plain, short]


async def test_a_server_without_usage_costs_nothing(embedder):
    """Nothing is estimated, as for judges."""
    embedder.server.usage = False
    completion = await embedder.ask()
    assert (completion.usage.input_tokens, completion.cost_usd) == (0, 0)


async def test_base64_is_read_as_numbers_are(embedder):
    """Some servers answer with `encoding_format: base64`."""
    packed = base64.b64encode(struct.pack("<2f", 0.25, -3.0)).decode()
    embedder.server.vectors = lambda _: [packed, [0.25, -3]]
    completion = await embedder.ask()
    assert vectors_from(completion.text, 2) == [(0.25, -3.0)] * 2


@pytest.mark.parametrize(
    "vectors",
    [
        [["0.1", 2.0], [1.0, 2.0]],
        [[None], [1.0]],
        [[True], [1.0]],
        [[], [1.0]],
        [None, [1.0]],
        ["not base64!", [1.0]],
        [{"0": 1.0}, [1.0]],
    ],
)
async def test_what_is_no_vector_is_an_error_that_is_paid_for(embedder, vectors):
    """Strings, nulls and truth values are no numbers; what was counted is charged."""
    embedder.server.vectors = lambda _: vectors
    with pytest.raises(VectorsUnusable) as caught:
        await embedder.ask()
    assert caught.value.usage.input_tokens == INPUT_TOKENS


async def test_other_dimensions_than_configured_are_an_error(embedder):
    """A server that ignores `dimensions` is found out."""
    embedder.server.vectors = lambda _: [[1.0, 2.0], [1.0, 2.0]]
    with pytest.raises(VectorsUnusable, match="2 dimensions, and 3 are configured"):
        await embedder.ask(dimensions=3)


@pytest.mark.parametrize("number", [math.nan, math.inf])
async def test_what_is_no_json_is_a_broken_answer(embedder, number):
    """Python servers write NaN, which is no JSON."""
    embedder.server.vectors = lambda _: [[number], [1.0]]
    with pytest.raises(StreamBroken):
        await embedder.ask()


@pytest.mark.parametrize(
    "body", [{}, {"data": None, "embeddings": None}, {"data": "x", "embeddings": {}}]
)
async def test_an_answer_without_vectors_has_none(embedder, body):
    """Who reads it finds fewer vectors than texts."""
    embedder.server.vectors = lambda _: body
    completion = await embedder.ask()
    with pytest.raises(VectorsUnusable, match="0 embeddings for 2 texts"):
        vectors_from(completion.text, 2)


@pytest.mark.parametrize("name", [name for name in FAULTS if name not in CHAT_ONLY])
async def test_a_fault_becomes_its_error(embedder, name):
    """The same errors as for judges, without the key."""
    fault = FAULTS[name]
    if fault.ending == "prompt_blocked" and embedder.dialect == "gemini":
        pytest.skip("Gemini filters no embeddings")
    embedder.silence_s = SHORT_SILENCE_S if fault.behaviour.startswith("silent") else 5.0
    embedder.server.echo = f" with {KEY}"
    await embedder.server.play(name)
    if fault.raises is None:
        assert vectors_from((await embedder.ask()).text, 2)
        return
    with pytest.raises(ModelError) as caught:
        await embedder.ask()
    assert type(caught.value) is fault.raises, caught.value
    assert KEY not in f"{caught.value} {caught.value!r}"


def openai_entries(*indexes: Any) -> Callable[[list[str]], dict[str, Any]]:
    """An answer whose vectors have these numbers; the vector is the number."""
    data = [{"index": index, "embedding": [number]} for number, index in enumerate(indexes, 1)]
    return lambda _: {"data": data}


@pytest.fixture
async def openai() -> AsyncIterator[Embedder]:
    async with FaultServer() as server:
        embedder = Embedder("openai", server)
        yield embedder
        await embedder.aclose()


async def test_vectors_are_put_in_the_order_of_their_index(openai):
    """A server may answer in any order."""
    openai.server.vectors = openai_entries(1, 0)
    assert vectors_from((await openai.ask()).text, 2) == [(2.0,), (1.0,)]


async def test_vectors_without_an_index_are_in_order(openai):
    """Some compatible servers leave it out."""
    openai.server.vectors = lambda _: {"data": [{"embedding": [1]}, {"embedding": [2]}]}
    assert vectors_from((await openai.ask()).text, 2) == [(1.0,), (2.0,)]


@pytest.mark.parametrize("indexes", [(0, 0), (1, 2), (0, None), (0, "1"), (0, -1)])
async def test_vectors_with_doubtful_numbers_are_an_error(openai, indexes):
    """Which text each one belongs to is not guessed."""
    openai.server.vectors = openai_entries(*indexes)
    with pytest.raises(VectorsUnusable, match="not numbered"):
        await openai.ask()
