"""The simulated judge: its answers fit their schema, repeat themselves and say what they are."""

from __future__ import annotations

import json
import random
from dataclasses import replace
from typing import Any

import jsonschema_rs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from assay.domain.completion import AnswerSchema, Prompt, Turn
from assay.domain.errors import DeadlineExceeded
from assay.domain.models import Model
from assay.domain.sampling import Sampling
from assay.domain.tokens import estimated_tokens
from assay.domain.vectors import vectors_from
from assay.providers import Simulated
from assay.providers.schema_instances import instance
from assay.providers.simulated import SIMULATED_TEXT
from fakes.calls import call, read_text

MODEL = Model(id="simulated/judge", provider="simulated", name="judge", simulated=True)
SCHEMA = {
    "type": "object",
    "properties": {
        "explanation": {"type": "string"},
        "label": {"enum": ["good", "fair", "poor"]},
        "score": {"type": "number", "description": "from 0 to 1"},
    },
    "required": ["explanation", "label", "score"],
}


def prompt(delimiter: str, key: tuple[object, ...] | None = ("v1", "case-1")) -> Prompt:
    turns = (Turn("user", (delimiter, "the output", delimiter)),)
    return Prompt(turns, read_text, answer=AnswerSchema("verdict", SCHEMA), key=key)


async def ask(asked: Prompt) -> str:
    return (await Simulated(MODEL).complete(asked, call(1))).text


LEAVES = st.one_of(
    st.just({"type": "string", "description": "why"}),
    st.lists(st.text(max_size=5), min_size=1, max_size=4).map(
        lambda labels: {"type": "string", "enum": labels}
    ),
    st.builds(
        lambda kind, low, span: {
            "type": kind,
            "description": f"from {low:g} to {low + span:g}",
            "minimum": low,
            "maximum": low + span,
        },
        st.sampled_from(["integer", "number"]),
        st.integers(-50, 50),
        st.integers(0, 50),
    ),
)


def _object_of(properties: dict[str, Any]) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }


SCHEMAS = st.recursive(
    LEAVES,
    lambda inner: st.dictionaries(st.text(max_size=4), inner, max_size=4).map(_object_of),
    max_leaves=8,
)


@given(SCHEMAS, st.integers())
def test_instance_is_valid(schema: Any, seed: int) -> None:
    """For every schema that answers are made of, the value is one that the schema allows."""
    value = instance(schema, random.Random(seed), SIMULATED_TEXT)
    jsonschema_rs.validate(schema, value)


@pytest.mark.parametrize("schema", [{"type": "array"}, {"type": "number"}, {}])
def test_another_schema_is_refused(schema: dict[str, Any]) -> None:
    """A schema that no answer of ours has is an error, not a guess."""
    with pytest.raises(ValueError, match=r"type|range"):
        instance(schema, random.Random(0), "")


async def test_same_question_same_answer() -> None:
    """The random delimiter of a request does not change the answer; another question does."""
    first = await ask(prompt("«a1»"))
    assert await ask(prompt("«b2»")) == first
    others = {await ask(prompt("«a1»", key=("v1", f"case-{i}"))) for i in range(20)}
    assert len(others) > 5


async def test_without_a_key_the_text_decides() -> None:
    """A question that has no key is known by its text."""
    assert await ask(prompt("a", key=None)) == await ask(prompt("a", key=None))
    assert len({await ask(prompt(str(i), key=None)) for i in range(20)}) > 5


async def test_a_seed_asks_for_another_sample() -> None:
    """Several samples of one question may differ by their seed."""
    seeds = [replace(prompt("a"), sampling=Sampling(seed=seed)) for seed in range(20)]
    assert len({await ask(each) for each in seeds}) > 5


async def test_answers_are_the_same_in_every_process() -> None:
    """The answer hangs on no hash that is salted for each process: this one is pinned."""
    answer = json.loads(await ask(prompt("x")))
    assert (answer["label"], answer["score"]) == ("poor", 0.98)


async def test_says_that_it_is_simulated() -> None:
    """The answer is marked, explains itself, and has plausible counts."""
    completion = await Simulated(MODEL).complete(prompt("x"), call(1))
    assert completion.simulated
    assert json.loads(completion.text)["explanation"] == SIMULATED_TEXT
    assert "imulated" in SIMULATED_TEXT
    assert completion.usage.input_tokens == estimated_tokens(prompt("x").turns[0].parts)
    assert completion.usage.output_tokens == estimated_tokens([completion.text])
    plain = await Simulated(MODEL).complete(replace(prompt("x"), answer=None), call(1))
    assert plain.text == SIMULATED_TEXT


async def test_latency_keeps_to_the_deadline() -> None:
    """A judge slower than the deadline fails like a real one."""
    with pytest.raises(DeadlineExceeded):
        await Simulated(MODEL, latency_s=5).complete(prompt("x"), call(0.05))


async def test_embeddings_are_repeatable_directions():
    """One for each text, the same for the same text, of the length that is configured."""
    embedder = replace(MODEL, kind="embedding", dimensions=5)
    asked = Prompt(tuple(Turn("user", (text,)) for text in ("a", "b", "a")), read_text)
    completion = await Simulated(embedder).complete(asked, call(1))
    one, other, again = vectors_from(completion.text, 3)
    assert one == again != other
    assert len(one) == 5
    assert completion.simulated
    assert (completion.usage.input_tokens, completion.usage.output_tokens) == (1, 0)
