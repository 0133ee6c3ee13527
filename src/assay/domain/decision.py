"""What is asked of a model that decides: typed questions, answered with probabilities."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from assay.domain.completion import Turn

DecisionType = Literal["noul", "choice", "score"]
"""A yes or no, one of several options, or one of several levels in order."""


@dataclass(frozen=True, slots=True)
class TypedQuestion:
    """A question for a model that decides; `options` are what it offers, if not a yes or no."""

    type: DecisionType
    instructions: str
    options: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Decision:
    """What a model that decides is asked: typed questions by their ids about one state."""

    state: Turn
    questions: Mapping[str, TypedQuestion]
