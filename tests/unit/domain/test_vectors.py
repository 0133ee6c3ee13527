"""Embeddings as text, and the cosine between two of them."""

from __future__ import annotations

import base64
import math
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from assay.domain.errors import VectorsUnusable
from assay.domain.vectors import cosine, from_text, to_text, vectors_from

NUMBERS = st.lists(st.floats(width=32, allow_nan=False, allow_infinity=False), min_size=1)


@given(vector=NUMBERS)
def test_what_is_written_is_read(vector):
    """Single-precision numbers survive as they are."""
    assert list(from_text(to_text(vector))) == vector


def test_the_text_is_openais_base64():
    """Little-endian single precision, as `encoding_format: base64` has it."""
    assert to_text([1.0, -0.5]) == base64.b64encode(struct.pack("<2f", 1.0, -0.5)).decode()


@pytest.mark.parametrize(
    "vector", [None, [], {}, 3, "abc", ["1"], [None], [True], [[1.0]], [1e39], [10**400]]
)
def test_what_is_no_list_of_numbers_is_refused(vector):
    """Nothing is guessed from text, truth values, nested lists or numbers beyond the range."""
    with pytest.raises(VectorsUnusable, match="not a list of"):
        to_text(vector)


@pytest.mark.parametrize("text", ["%%%", "AAA", "AAAA", "AAAAAAA="])
def test_what_is_no_base64_of_numbers_is_refused(text):
    """Neither other letters, nor a number that is cut."""
    with pytest.raises(VectorsUnusable, match="not base64"):
        vectors_from(text, 1)


@pytest.mark.parametrize(
    ("vectors", "count", "why"),
    [
        ([[1.0]], 2, "1 embeddings for 2 texts"),
        ([[1.0]] * 3, 2, "3 embeddings for 2 texts"),
        ([], 1, "0 embeddings for 1 texts"),
        ([[1.0, 2.0], [1.0]], 2, "different lengths: 1, 2"),
        ([[1.0, math.nan], [1.0, 1.0]], 2, "not finite"),
        ([[1.0, 1.0], [-math.inf, 1.0]], 2, "not finite"),
        ([[1.0, 1.0], [0.0, -0.0]], 2, "is zero"),
    ],
)
def test_vectors_that_cannot_be_compared_say_why(vectors, count, why):
    """Each fault of an answer is an error with its reason."""
    text = " ".join(map(to_text, vectors))
    with pytest.raises(VectorsUnusable, match=why):
        vectors_from(text, count)


@pytest.mark.parametrize(
    ("one", "other", "expected"),
    [
        ([3.0, 4.0], [4.0, 3.0], 24 / 25),
        ([1.0, 0.0], [0.0, 7.0], 0.0),
        ([1.0, 2.0, 2.0], [-2.0, -4.0, -4.0], -1.0),
        ([1.0, 2.0, 3.0], [4.0, 5.0, 6.0], 0.9746318461970762),  # 32 ÷ √(14 × 77)
        ([1e-30, 1e-30], [1e30, 1e30], 1.0),
    ],
)
def test_the_cosine_is_that_of_the_textbook(one, other, expected):
    """By hand, also where squares would leave the range."""
    assert cosine(one, other) == pytest.approx(expected, abs=1e-12)


@given(one=NUMBERS, scale=st.floats(0.001, 1000))
def test_the_cosine_stays_in_range_and_ignores_length(one, scale):
    """A vector and a multiple of it have the cosine 1, never more."""
    if any(abs(number) > 1e-30 for number in one):
        found = cosine(one, [number * scale for number in one])
        assert found <= 1
        assert found == pytest.approx(1)
