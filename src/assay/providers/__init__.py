"""One adapter per provider's wire protocol, each a `ChatModel`."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from assay.domain.completion import Model
from assay.domain.ports import ChatModel
from assay.providers.anthropic import Anthropic
from assay.providers.client import ProviderClient, ProviderConfig
from assay.providers.gemini import Gemini, GeminiEmbeddings
from assay.providers.openai import OpenAI, OpenAIEmbeddings, OpenAIResponses
from assay.providers.simulated import Simulated

HTTP_DIALECTS: Mapping[str, Callable[[Model, ProviderClient], ChatModel]] = {
    "openai": OpenAI,
    "openai_responses": OpenAIResponses,
    "anthropic": Anthropic,
    "gemini": Gemini,
}
"""The wire protocols over HTTP."""
EMBEDDINGS: Mapping[str, Callable[[Model, ProviderClient], ChatModel]] = {
    "openai": OpenAIEmbeddings,
    "openai_responses": OpenAIEmbeddings,
    "gemini": GeminiEmbeddings,
}
"""How models that embed texts are asked by these dialects."""


def build_model(dialect: str, model: Model, client: ProviderClient | None) -> ChatModel:
    """The adapter for `dialect`; raises `ValueError` if it is unknown or has no client."""
    if dialect == "simulated":
        return Simulated(model)
    if dialect not in HTTP_DIALECTS:
        raise ValueError(f"unknown dialect {dialect!r}")
    if client is None:
        raise ValueError(f"{dialect} needs a client")
    adapters = HTTP_DIALECTS if model.kind == "chat" else EMBEDDINGS
    if dialect not in adapters:
        raise ValueError(f"models.{model.id}.kind: the dialect {dialect!r} has no embeddings")
    return adapters[dialect](model, client)


__all__ = [
    "HTTP_DIALECTS",
    "ProviderClient",
    "ProviderConfig",
    "Simulated",
    "build_model",
]
