"""One adapter per provider's wire protocol, each a `ChatModel`."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from assay.domain.models import Model
from assay.domain.ports import ChatModel
from assay.providers.anthropic import Anthropic
from assay.providers.azure import Azure, AzureEmbeddings, entra_credentials
from assay.providers.bedrock import Bedrock, aws_credentials
from assay.providers.client import ProviderClient, ProviderConfig
from assay.providers.credentials import Credentials
from assay.providers.gemini import Gemini, GeminiEmbeddings
from assay.providers.http_grader import HttpGrader, Signature
from assay.providers.images import PublicResolver
from assay.providers.openai import OpenAI, OpenAIEmbeddings, OpenAIResponses
from assay.providers.recorded import Recorded
from assay.providers.simulated import Simulated
from assay.providers.systemone import SystemOne
from assay.providers.tls import Tls
from assay.providers.vertex import google_credentials, vertex

HTTP_DIALECTS: Mapping[str, Callable[[Model, ProviderClient], ChatModel]] = {
    "openai": OpenAI,
    "openai_responses": OpenAIResponses,
    "anthropic": Anthropic,
    "gemini": Gemini,
    "azure": Azure,
    "bedrock": Bedrock,
    "vertex": vertex,
    "systemone": SystemOne,
}
"""The wire protocols over HTTP."""
UNASKED: Mapping[str, Callable[[Model], ChatModel]] = {"simulated": Simulated, "recorded": Recorded}
"""What answers in place of a model."""
EMBEDDINGS: Mapping[str, Callable[[Model, ProviderClient], ChatModel]] = {
    "openai": OpenAIEmbeddings,
    "openai_responses": OpenAIEmbeddings,
    "gemini": GeminiEmbeddings,
    "azure": AzureEmbeddings,
}
"""How models that embed texts are asked by these dialects."""

CLOUD_CREDENTIALS: Mapping[str, Callable[[str, str, str], Credentials]] = {
    "azure": entra_credentials,
    "bedrock": aws_credentials,
    "vertex": google_credentials,
}
"""What authorises calls without an API key, by dialect: from provider, URL and region.

Each raises `ValueError` if its library is not installed.
"""


def build_model(dialect: str, model: Model, client: ProviderClient | None) -> ChatModel:
    """The adapter for `dialect`; raises `ValueError` if it is unknown or has no client."""
    if dialect in UNASKED:
        return UNASKED[dialect](model)
    if dialect not in HTTP_DIALECTS:
        raise ValueError(f"unknown dialect {dialect!r}")
    if client is None:
        raise ValueError(f"{dialect} needs a client")
    adapters = HTTP_DIALECTS if model.kind == "chat" else EMBEDDINGS
    if dialect not in adapters:
        raise ValueError(f"models.{model.id}.kind: the dialect {dialect!r} has no embeddings")
    return adapters[dialect](model, client)


__all__ = [
    "CLOUD_CREDENTIALS",
    "HTTP_DIALECTS",
    "Credentials",
    "HttpGrader",
    "ProviderClient",
    "ProviderConfig",
    "PublicResolver",
    "Signature",
    "Simulated",
    "Tls",
    "build_model",
]
