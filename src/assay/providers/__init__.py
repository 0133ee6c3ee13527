"""One adapter per provider's wire protocol, each a `ChatModel`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Literal

from assay.domain.completion import Model
from assay.domain.ports import ChatModel
from assay.providers.anthropic import Anthropic
from assay.providers.client import ProviderClient, ProviderConfig
from assay.providers.gemini import Gemini
from assay.providers.openai import OpenAI
from assay.providers.simulated import Simulated

DialectName = Literal["openai", "anthropic", "gemini", "simulated"]

HTTP_DIALECTS: Mapping[str, Callable[[Model, ProviderClient], ChatModel]] = {
    "openai": OpenAI,
    "anthropic": Anthropic,
    "gemini": Gemini,
}
"""The dialects that are spoken over HTTP."""


def build_model(dialect: str, model: Model, wire: ProviderClient | None) -> ChatModel:
    """The adapter for `dialect`; raises `ValueError` for an unknown one or a missing wire."""
    if dialect == "simulated":
        return Simulated(model)
    if dialect not in HTTP_DIALECTS:
        raise ValueError(f"no provider speaks {dialect!r}")
    if wire is None:
        raise ValueError(f"{dialect} needs a connection")
    return HTTP_DIALECTS[dialect](model, wire)


__all__ = [
    "HTTP_DIALECTS",
    "DialectName",
    "ProviderClient",
    "ProviderConfig",
    "Simulated",
    "build_model",
]
