"""What the contract suite runs on: a provider's adapter that talks to the fault server."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from assay.domain.completion import AnswerSchema, Completion, Prompt, Turn
from assay.domain.models import Capabilities, Model
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


def protocol_of(dialect: str) -> str:
    """The name under which Assay has the dialect of a fake."""
    return CLOUD_SETTINGS.get(dialect, {"dialect": dialect})["dialect"]


def config_of(dialect: str, server: FaultServer, **options: Any) -> ProviderConfig:
    """A provider of that dialect at the server, with a key."""
    fields = {"dialect": dialect, "base_url": server.base_url(dialect)}
    settings = ProviderSettings.model_validate({**fields, **CLOUD_SETTINGS.get(dialect, {})})
    version = {"api-version": settings.api_version} if dialect == "azure" else {}
    config = ProviderConfig(dialect, settings.url, lambda: KEY, query=lambda: version)
    return replace(config, **options)


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

    def client(self, **options: Any) -> ProviderClient:
        timing = {"silence_timeout_s": self.silence_s, "stream": self.stream}
        config = config_of(self.dialect, self.server, **timing)
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
        chat = build_model(protocol_of(self.dialect), model, client or self.client())
        return await chat.complete(prompt.for_model(model), call(deadline_s))
