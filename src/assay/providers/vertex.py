"""Gemini and Claude on Google Cloud's Vertex AI.

Sources: https://cloud.google.com/vertex-ai/generative-ai/docs/model-reference/inference and
https://docs.anthropic.com/en/api/claude-on-vertex-ai
"""

from __future__ import annotations

import datetime as dt
import functools
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, ClassVar
from urllib.parse import quote

from assay.domain.completion import Prompt
from assay.domain.models import Model
from assay.domain.ports import ChatModel
from assay.providers.anthropic import ANTHROPIC, Anthropic, AnthropicStream
from assay.providers.client import ProviderClient
from assay.providers.credentials import FETCH_TIMEOUT_S, Credentials, Token, import_extra
from assay.providers.gemini import GEMINI, KEY_HEADER, Gemini

SCOPE = "https://www.googleapis.com/auth/cloud-platform"
ANTHROPIC_VERSION = "vertex-2023-10-16"


class VertexGemini(Gemini):
    """A Gemini model."""

    def __init__(self, model: Model, client: ProviderClient) -> None:
        super().__init__(model, client)
        self.path = f"google/{self.path}"


class VertexClaudeStream(AnthropicStream):
    """Errors come in Anthropic's form or in Google's."""

    dialect = replace(ANTHROPIC, codes={**GEMINI.codes, **ANTHROPIC.codes})


class VertexClaude(Anthropic):
    """A Claude model; the path names it, and the body the version of the API."""

    accumulator = VertexClaudeStream
    key_header = KEY_HEADER
    headers: ClassVar = {}

    def __init__(self, model: Model, client: ProviderClient) -> None:
        super().__init__(model, client)
        verb = "streamRawPredict" if client.config.stream else "rawPredict"
        self.path = f"anthropic/models/{quote(model.name, safe='@')}:{verb}"

    def document(self, prompt: Prompt[Any]) -> dict[str, Any]:
        document = super().document(prompt)
        del document["model"]
        return {"anthropic_version": ANTHROPIC_VERSION, **document}


def vertex(model: Model, client: ProviderClient) -> ChatModel:
    """The adapter for the publisher of the model."""
    return (VertexClaude if model.name.startswith("claude") else VertexGemini)(model, client)


def google_credentials(provider: str, _url: str, _region: str) -> Credentials:
    """Tokens by Application Default Credentials; raises `ValueError` without their library."""
    auth = import_extra("vertex", "google.auth")
    transport = import_extra("vertex", "google.auth.transport.requests")

    def fetch() -> tuple[Mapping[str, str], float]:
        credentials, _ = auth.default(scopes=[SCOPE])
        with transport.requests.Session() as session:
            request = functools.partial(transport.Request(session), timeout=FETCH_TIMEOUT_S)
            credentials.refresh(request)
        headers: dict[str, str] = {}
        credentials.apply(headers)
        return headers, credentials.expiry.replace(tzinfo=dt.UTC).timestamp()

    return Token(provider, fetch)
