"""Embeddings as text: the same form on OpenAI's wire, in the cache and for who reads the answer."""

from __future__ import annotations

import binascii
import math
import struct
from collections.abc import Sequence
from operator import mul

from assay.domain.errors import VectorsUnusable

Vector = Sequence[float]

NUMBER_BYTES = 4


def to_text(vector: Vector) -> str:
    """The numbers as little-endian single precision, in base64: OpenAI's `encoding_format`.

    Raises `VectorsUnusable` for what is no list of numbers.
    """
    try:
        numeric = bool(vector) and set(map(type, vector)) <= {int, float}
        packed = struct.pack(f"<{len(vector)}f", *vector) if numeric else b""
    except (TypeError, OverflowError, struct.error):
        packed = b""
    if not packed:
        raise VectorsUnusable("An embedding is not a list of single-precision numbers.")
    return binascii.b2a_base64(packed, newline=False).decode()


def vectors_from(text: str, count: int) -> list[Vector]:
    """The `count` vectors of an answer; raises `VectorsUnusable` where they cannot be compared."""
    vectors = [from_text(part) for part in text.split()]
    if len(vectors) != count:
        raise VectorsUnusable(f"The model returned {len(vectors)} embeddings for {count} texts.")
    lengths = sorted(set(map(len, vectors)))
    if len(lengths) > 1:
        raise VectorsUnusable(f"The embeddings have different lengths: {lengths[0]}, {lengths[1]}.")
    for vector in vectors:
        if not all(map(math.isfinite, vector)):
            raise VectorsUnusable("An embedding has a number that is not finite.")
        if not any(vector):
            raise VectorsUnusable("An embedding is zero, so it has no direction to compare.")
    return vectors


def cosine(one: Vector, other: Vector) -> float:
    """The cosine of the angle between two vectors, -1 to 1; neither may be zero."""
    product = math.fsum(map(mul, one, other)) / (math.hypot(*one) * math.hypot(*other))
    return max(-1.0, min(1.0, product))


def from_text(text: str) -> Vector:
    """What `to_text` wrote; raises `VectorsUnusable`."""
    try:
        packed = binascii.a2b_base64(text, strict_mode=True)
        return struct.unpack(f"<{len(packed) // NUMBER_BYTES}f", packed)
    except (ValueError, struct.error):
        raise VectorsUnusable("An embedding is not base64 of single-precision numbers.") from None
