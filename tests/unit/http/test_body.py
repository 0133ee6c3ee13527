"""What is found in a parsed body before any model sees it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from assay.api.requests import ComparisonRequest, EvaluationRequest
from assay.domain.errors import RequestError
from assay.domain.json_pointer import pointer_part
from assay.http.body import CASE_TEXTS, DEPTH_MAX, check_structure

keys = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=8)
documents = st.dictionaries(
    keys,
    st.recursive(
        keys | st.none() | st.booleans(),
        lambda inner: st.lists(inner, max_size=4) | st.dictionaries(keys, inner, max_size=4),
        max_leaves=20,
    ),
)


@given(documents)
def test_bodies_without_nul_pass(document):
    """Every other text is accepted, also backslashes that spell an escape."""
    check_structure(document)
    check_structure({**document, "spelt": "\\u0000"})


@given(documents, st.lists(keys | st.integers(0, 0), max_size=6))
def test_a_nul_is_found_wherever_it_is(document, path):
    """The pointer leads to the text that holds it (RFC 6901)."""
    value = "a\0b"
    for step in reversed(path):
        value = [value] if isinstance(step, int) else {step: value}
    with pytest.raises(RequestError) as caught:
        check_structure({**document, "here": value})
    pointer = "/here" + "".join(f"/{pointer_part(str(step))}" for step in path)
    assert [fault.pointer for fault in caught.value.errors] == [pointer]


@pytest.mark.parametrize("name", sorted(CASE_TEXTS))
def test_the_texts_of_a_case_may_hold_a_nul(name):
    """A model's output may hold anything; the name of a member may not."""
    check_structure({name: "a\0b"})
    check_structure({name: [{"role": "user", "content": "a\0b"}]})
    with pytest.raises(RequestError):
        check_structure({name: [{"a\0b": 1}]})


def test_every_text_of_a_case_is_listed():
    """Under each of its names, in every request."""
    texts = {"output", "output_a", "output_b", "input", "reference", "context"}
    for request in (EvaluationRequest, ComparisonRequest):
        for name, field in request.model_fields.items():
            if name in texts:
                alias = field.validation_alias
                assert {name, *(alias.choices if alias else ())} <= CASE_TEXTS


@pytest.mark.parametrize("kind", ["list", "dict"])
def test_nesting_ends_at_the_limit(kind):
    """The deepest accepted body has DEPTH_MAX levels."""
    value = 1
    for _ in range(DEPTH_MAX - 1):
        value = [value] if kind == "list" else {"a": value}
    check_structure({"a": value})
    with pytest.raises(RequestError) as caught:
        check_structure({"a": [value]})
    assert caught.value.code == "malformed_json"
