"""Makes a value that a JSON Schema of one of our answers allows.

Such a schema is an object of verdicts and texts: a verdict is a label out of an `enum`, a number
whose range its description states ("from 1 to 5"), a list, or an object of the same kind.
"""

from __future__ import annotations

import random
import re
from collections.abc import Mapping
from typing import Any

from assay.domain.evaluation import MANIPULATIONS

RANGE = re.compile(r"\bfrom (-?\d[\d.e+]*) to (-?\d[\d.e+]*)")


def instance(schema: Mapping[str, Any], rng: random.Random, text: str) -> Any:
    """A random value that `schema` allows; its free strings are `text`.

    Such an answer saw no manipulation. Raises `ValueError` for a schema of another kind.
    """
    if "enum" in schema:
        offered = list(schema["enum"])
        return offered[0] if tuple(offered) == MANIPULATIONS else rng.choice(offered)
    if "anyOf" in schema:
        return instance(schema["anyOf"][0], rng, text)
    match schema.get("type"):
        case "object":
            properties: Mapping[str, Mapping[str, Any]] = schema.get("properties", {})
            return {name: instance(inner, rng, text) for name, inner in properties.items()}
        case "array" if "items" in schema:
            return [instance(schema["items"], rng, text)]
        case "string":
            return text
        case "integer" | "number" as kind:
            low, high = _range(schema)
            whole = kind == "integer"
            return rng.randint(int(low), int(high)) if whole else round(rng.uniform(low, high), 3)
        case kind:
            raise ValueError(f"no answer of ours has the type {kind!r}")


def _range(schema: Mapping[str, Any]) -> tuple[float, float]:
    stated = RANGE.search(str(schema.get("description", "")))
    if stated is None:
        raise ValueError("the description of a number must state its range")
    return float(stated[1]), float(stated[2])
