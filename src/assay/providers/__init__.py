"""One adapter per provider's wire protocol, each a `ChatModel`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Literal

from assay.domain.completion import Model
from assay.domain.ports import ChatModel
from assay.providers.anthropic import Anthropic
from assay.providers.client import Connection, Wire
from assay.providers.gemini import Gemini
from assay.providers.openai import OpenAI
from assay.providers.simulated import Simulated

DialectName = Literal["openai", "anthropic", "gemini", "simulated"]

WIRED: Mapping[str, Callable[[Model, Wire], ChatModel]] = {
    "openai": OpenAI,
    "anthropic": Anthropic,
    "gemini": Gemini,
}
"""The dialects that are spoken over HTTP."""


def build_model(dialect: str, model: Model, wire: Wire | None) -> ChatModel:
    """The adapter for `dialect`; raises `ValueError` for an unknown one or a missing wire."""
    if dialect == "simulated":
        return Simulated(model)
    if dialect not in WIRED:
        raise ValueError(f"no provider speaks {dialect!r}")
    if wire is None:
        raise ValueError(f"{dialect} needs a connection")
    return WIRED[dialect](model, wire)


__all__ = ["WIRED", "Connection", "DialectName", "Simulated", "Wire", "build_model"]
