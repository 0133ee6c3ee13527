"""Describes each criterion, for `GET /v1/criteria` and docs/criteria.md."""

from __future__ import annotations

import inspect
import re
from typing import Any

from assay.criteria.base import Criterion, Judged
from assay.criteria.judged.ready_made import ReadyMade
from assay.criteria.registry import CRITERIA

SOURCE = re.compile(r"\bSources?:\s+(.+?)(?:\n\n|\Z)", re.DOTALL)
OWN_SOURCE = "Assay's own rubric"


def entry(name: str) -> dict[str, Any]:
    """The catalogue's entry for the criterion of this type name, as JSON."""
    cls = CRITERIA[name]
    return {
        "type": name,
        "object": "criterion",
        "family": cls.family,
        "description": inspect.getdoc(cls) or "",
        "judged": issubclass(cls, Judged),
        "scale": cls.scale,
        "levels": levels(cls),
        "default_threshold": cls.default_threshold,
        "needs": list(cls.needs),
        "source": source(cls),
        "schema": cls.model_json_schema(),
        "example": dict(cls.example),
    }


def levels(cls: type[Criterion]) -> list[dict[str, Any]] | None:
    """The fixed levels of a ready-made criterion, best first; None where there are none."""
    if not issubclass(cls, ReadyMade):
        return None
    return [level.model_dump() for level in cls.recipe.levels]


def source(cls: type[Criterion]) -> str | None:
    """Where the definition comes from; None where the docstring names no source."""
    if issubclass(cls, ReadyMade):
        return f"{OWN_SOURCE}, version {cls.recipe.version}"
    found = SOURCE.search(inspect.getdoc(cls) or "")
    return " ".join(found[1].split()) if found else None
