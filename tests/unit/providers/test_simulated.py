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

from assay.domain.completion import AnswerSchema, Model, Prompt, Sampling, Turn
from assay.domain.errors import DeadlineExceeded
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
        "score": {"type": "number", "minimum": 0, "maximum": 1},
    },
    "required": ["explanation", "label", "score"],
}


def prompt(delimiter: str, key: tuple[object, ...] | None = ("v1", "case-1")) -> Prompt:
    turns = (Turn("user", (delimiter, "the output", delimiter)),)
    return Prompt(turns, read_text, answer=AnswerSchema("verdict", SCHEMA), key=key)


async def ask(asked: Prompt) -> str:
    return (await Simulated(MODEL).complete(asked, call(1))).text


def _bounded(kind: str) -> st.SearchStrategy[dict[str, Any]]:
    limits = st.tuples(st.integers(-50, 50), st.integers(2, 50))
    names = st.sampled_from(
        [
            ("minimum", "maximum"),
            ("exclusiveMinimum", "exclusiveMaximum"),
            ("minimum", "exclusiveMaximum"),
            ("exclusiveMinimum", "maximum"),
        ]
    )
    return st.builds(
        lambda at, name: {"type": kind, name[0]: at[0], name[1]: at[0] + at[1]}, limits, names
    )


LEAVES = st.one_of(
    st.sampled_from([{"type": "boolean"}, {"type": "null"}, {"type": "string"}, {}, True]),
    st.sampled_from([{"type": "integer", "minimum": 3}, {"type": "number", "maximum": -3}]),
    st.just({"type": ["integer", "null"]}),
    st.just({"type": "number", "multipleOf": 0.5, "minimum": 1, "maximum": 3}),
    st.lists(st.text(max_size=5) | st.integers(), min_size=1, max_size=4).map(
        lambda values: {"enum": values}
    ),
    st.integers().map(lambda value: {"const": value}),
    st.integers(0, 300).map(lambda size: {"type": "string", "minLength": size}),
    st.integers(0, 300).map(lambda size: {"type": "string", "maxLength": size}),
    _bounded("integer"),
    _bounded("number"),
)


def _deeper(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    objects = st.dictionaries(st.text(max_size=4), inner, max_size=4).map(
        lambda each: {
            "type": "object",
            "properties": each,
            "required": list(each),
            "additionalProperties": False,
        }
    )
    arrays = st.builds(
        lambda items, least, more: {
            "type": "array",
            "items": items,
            "minItems": least,
            "maxItems": least + more,
        },
        inner,
        st.integers(0, 3),
        st.integers(0, 3),
    )
    unions = st.lists(inner, min_size=1, max_size=3).map(lambda options: {"anyOf": options})
    return objects | arrays | unions


SCHEMAS = st.recursive(LEAVES, _deeper, max_leaves=8)


@given(SCHEMAS, st.integers())
def test_instance_is_valid(schema: Any, seed: int) -> None:
    """Whatever the schema and the chance, the value is one that the schema allows."""
    root = {"type": "object", "properties": {"it": schema}, "required": ["it"]}
    value = instance(root, random.Random(seed), SIMULATED_TEXT)
    jsonschema_rs.validate(root, value)


def test_references_are_followed_and_may_be_circular() -> None:
    """A schema that contains itself gives a finite value."""
    schema = {
        "$defs": {
            "node": {
                "type": "object",
                "properties": {
                    "children": {"type": "array", "items": {"$ref": "#/$defs/node"}},
                    "weight": {"allOf": [{"type": "integer"}, {"minimum": 2, "maximum": 4}]},
                },
                "required": ["weight"],
            }
        },
        "$ref": "#/$defs/node",
    }
    for seed in range(10):
        value = instance(schema, random.Random(seed), "")
        jsonschema_rs.validate(schema, value)


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
    assert completion.usage.input_tokens == prompt("x").size // 4 + 1
    assert completion.usage.output_tokens > 0
    plain = await Simulated(MODEL).complete(replace(prompt("x"), answer=None), call(1))
    assert plain.text == SIMULATED_TEXT


async def test_latency_keeps_to_the_deadline() -> None:
    """A judge slower than the deadline fails like a real one."""
    with pytest.raises(DeadlineExceeded):
        await Simulated(MODEL, latency_s=5).complete(prompt("x"), call(0.05))
