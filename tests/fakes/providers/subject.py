"""What the contract suite runs on: a provider's adapter that talks to the fault server."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from assay.domain.completion import (
    AnswerSchema,
    Capabilities,
    Completion,
    Model,
    Prompt,
    Turn,
)
from assay.providers import ProviderClient, ProviderConfig, build_model
from assay.settings import ProviderSettings
from fakes.calls import call, read_text
from fakes.providers.clouds import CLOUD_MODELS, CLOUD_SETTINGS
from fakes.providers.server import FaultServer

FAMILIES = {"azure": "openai", "vertex": "gemini", "vertex_claude": "anthropic"}
KEY = "contract-0123456789-secret"  # unlike a key, so that only the mask hides it
SCHEMA = {
    "type": "object",
    "properties": {
        "explanation": {"type": "string"},
        "score": {"type": "integer", "description": "from 1 to 5"},
    },
    "required": ["explanation", "score"],
    "additionalProperties": False,
}
PROMPT = Prompt(
    turns=(
        Turn("system", ("Judge ", "this.")),
        Turn("user", ('Output: "a"\\', "\n\x01 ü 🦊\u2028")),
    ),
    read=read_text,
)
SHORT_SILENCE_S = 0.5
"""For tests that wait for a silence; the server is silent for longer and drips more often."""
STRUCTURED = replace(PROMPT, answer=AnswerSchema("verdict", SCHEMA))


@dataclass
class Subject:
    """One adapter under test with the server it talks to.

    `family` is the dialect that it shares its requests and answers with.
    """

    dialect: str
    stream: bool
    server: FaultServer
    clients: list[ProviderClient]
    silence_s: float = 5.0

    @property
    def family(self) -> str:
        return FAMILIES.get(self.dialect, self.dialect)

    @property
    def settings(self) -> ProviderSettings:
        base_url = self.server.base_url(self.dialect)
        fields = CLOUD_SETTINGS.get(self.dialect, {"dialect": self.dialect})
        return ProviderSettings.model_validate({"base_url": base_url, **fields})

    def client(self, **options: Any) -> ProviderClient:
        config = ProviderConfig(
            provider=self.dialect,
            base_url=self.settings.url,
            api_key=lambda: KEY,
            query=lambda: {"api-version": "2024-10-21"} if self.dialect == "azure" else {},
            silence_timeout_s=self.silence_s,
            stream=self.stream,
        )
        self.clients.append(ProviderClient(replace(config, **options)))
        return self.clients[-1]

    async def ask(
        self,
        prompt: Prompt = PROMPT,
        *,
        deadline_s: float = 5.0,
        capabilities: Capabilities | None = None,
        client: ProviderClient | None = None,
        **model_options: Any,
    ) -> Completion:
        model = Model(
            id=f"{self.dialect}/judge-1",
            provider=self.dialect,
            name=CLOUD_MODELS.get(self.dialect, "judge-1"),
            input_usd_per_mtok=1.0,
            output_usd_per_mtok=10.0,
            capabilities=capabilities or Capabilities(),
            **model_options,
        )
        chat = build_model(self.settings.dialect, model, client or self.client())
        return await chat.complete(prompt.for_model(model), call(deadline_s))
