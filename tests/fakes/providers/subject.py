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
from fakes.calls import call, read_text
from fakes.providers.server import FaultServer

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
    """One adapter under test with the server it talks to."""

    dialect: str
    stream: bool
    server: FaultServer
    clients: list[ProviderClient]
    silence_s: float = 5.0

    def client(self, **options: Any) -> ProviderClient:
        config = ProviderConfig(
            provider=self.dialect,
            base_url=self.server.base_url(self.dialect),
            api_key=lambda: KEY,
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
            name="judge-1",
            input_usd_per_mtok=1.0,
            output_usd_per_mtok=10.0,
            capabilities=capabilities or Capabilities(),
            **model_options,
        )
        chat = build_model(self.dialect, model, client or self.client())
        return await chat.complete(prompt.for_model(model), call(deadline_s))
