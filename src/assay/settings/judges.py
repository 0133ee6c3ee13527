"""Who judges: the sections for providers, their models, and the judges that these make."""

from __future__ import annotations

from datetime import date
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

from pydantic import Field, field_validator

from assay.domain.completion import ModelKind
from assay.domain.evaluation import OnRefusal, Strategy
from assay.domain.sampling import Effort
from assay.settings.addresses import checked_base_url, is_loopback
from assay.settings.secret import VariableName
from assay.settings.section import Section
from assay.verdicts.forms import FormName

Dialect = Literal["openai", "openai_chat", "openai_responses", "anthropic", "gemini", "simulated"]
OPENAI_HOST = "api.openai.com"

BASE_URLS: dict[Dialect, str] = {
    "openai": f"https://{OPENAI_HOST}/v1",
    "openai_chat": f"https://{OPENAI_HOST}/v1",
    "openai_responses": f"https://{OPENAI_HOST}/v1",
    "anthropic": "https://api.anthropic.com/v1",
    "gemini": "https://generativelanguage.googleapis.com/v1beta",
    "simulated": "",
}


class ProviderSettings(Section):
    """`[providers.NAME]`: an endpoint and its API key."""

    dialect: Dialect = Field(
        description="Wire protocol of the endpoint. `openai` is the Responses API at OpenAI's own "
        "host and chat completions elsewhere; `openai_chat` and `openai_responses` name one."
    )
    base_url: str = Field(
        "", description="http(s) URL of the API, without a query. Empty: the vendor's."
    )
    api_key_env: VariableName = Field(
        "", description="Environment variable that contains the API key."
    )
    api_key_file: Path | None = Field(
        None, description="File that contains the API key; read again when it changes."
    )
    silence_timeout_s: float = Field(
        5.0,
        gt=0,
        le=600,
        description="Longest wait for the first byte of a response, and between two bytes.",
    )
    connections_max: int = Field(200, ge=1, le=10_000, description="Pooled connections.")
    stream: bool = Field(
        True,
        description="Stream responses. If false, `silence_timeout_s` bounds the whole response.",
    )
    output_limit_field: str | None = Field(
        None,
        description="Name of the output limit in requests to an OpenAI-compatible server. Unset: "
        "`max_completion_tokens` at OpenAI and Azure, else `max_tokens`.",
    )

    @field_validator("base_url")
    @classmethod
    def _is_base_url(cls, url: str) -> str:
        return url and checked_base_url(url)

    @property
    def url(self) -> str:
        return self.base_url or BASE_URLS[self.dialect]

    @property
    def is_local(self) -> bool:
        """Whether its models are on this machine."""
        return is_loopback(urlsplit(self.url).hostname or "localhost")

    @property
    def protocol(self) -> str:
        """The dialect with the choice made that `openai` leaves to the host."""
        match self.dialect:
            case "openai" if urlsplit(self.url).hostname == OPENAI_HOST:
                return "openai_responses"
            case "openai_chat":
                return "openai"
            case dialect:
                return dialect


class ModelSettings(Section):
    """`[models."ID"]`: a model that judges or embeds, its limits and its prices."""

    provider: str = Field(description="A name from [providers].")
    name: str = Field(min_length=1, description="The provider's name for the model.")
    kind: ModelKind = Field(
        "chat", description="`chat` for a model that judges, `embedding` for one that embeds texts."
    )
    dimensions: int | None = Field(
        None,
        ge=1,
        le=10_000,
        description="Length that an embedding model is asked for. Unset: the model's own.",
    )
    requests_per_minute: float | None = Field(
        None, gt=0, description="Request quota. Unset: unlimited."
    )
    tokens_per_minute: float | None = Field(
        None, gt=0, description="Token quota. Unset: unlimited."
    )
    burst_share: float = Field(
        0.05, gt=0, le=0.5, description="Share of a minute's quota that can be sent at once."
    )
    context_tokens: int | None = Field(
        None, ge=1, description="Context window. Unset: as published, else not checked."
    )
    max_output_tokens: int | None = Field(
        None,
        ge=16,
        description="Largest output to request, in tokens, with thinking. Unset: 4,096, or 32,768 "
        "for a model that thinks, up to what the model can. An answer usually gets 2,048 beside "
        "its thinking, and twice as much once if it was cut.",
    )
    input_usd_per_mtok: float | None = Field(
        None,
        ge=0,
        description="Price of a million input tokens. Unset: as published. 0 needs `free`, except "
        "on a loopback host.",
    )
    output_usd_per_mtok: float | None = Field(
        None,
        ge=0,
        description="Price of a million output tokens. Unset: as published.",
    )
    cached_input_usd_per_mtok: float | None = Field(
        None,
        ge=0,
        description="Price of a million input tokens that the provider read from its cache. Unset: "
        "as published, else that of other input.",
    )
    free: bool = Field(False, description="Whether calls cost nothing, as at a server of your own.")
    end_of_life: date | None = Field(
        None, description="Day on which the provider ends the model. Unset: as published."
    )
    slots: int = Field(64, ge=1, le=10_000, description="Concurrent calls, in one process.")
    weight: float = Field(1.0, gt=0, description="Share of calls under the strategy `weighted`.")
    structured_output: bool = Field(
        True, description="Whether the model supports JSON Schema output."
    )
    reading: FormName | None = Field(
        None, description="The form in which the model is known to write its verdicts."
    )
    logprobs: bool = Field(False, description="Whether the model returns token log-probabilities.")
    seed: bool = Field(False, description="Whether the model accepts a seed.")
    temperature: bool = Field(True, description="Whether the model accepts a temperature.")
    reasoning: bool | None = Field(
        None,
        description="Whether the model thinks before it answers. Unset: as known, or if an effort "
        "or a budget is configured.",
    )
    reasoning_effort: Effort | None = Field(
        None, description="How much it thinks, unless the request says. Unset: as the API does."
    )
    thinking_budget_tokens: int | None = Field(
        None,
        ge=0,
        le=1_000_000,
        description="How many tokens it may think (Anthropic, Gemini), unless the request says.",
    )
    thinking_timeout_s: float | None = Field(
        None,
        gt=0,
        le=600,
        description="Longest time to think, until the answer begins. Unset: what the deadline "
        "leaves.",
    )


class JudgeSettings(Section):
    """`[judges.NAME]`: the models of a judge, in order of preference."""

    models: tuple[str, ...] = Field(min_length=1, description="Ids from [models].")
    strategy: Strategy = Field("ordered", description="How the judge chooses the next model.")
    on_refusal: OnRefusal = Field(
        "next",
        description="What follows if a model refuses or its provider filters: `next` asks the next "
        "model, `stop` leaves the criterion unscored.",
    )


class EmbeddingSettings(Section):
    """`[embeddings]`: the models that embed texts for criteria that name none."""

    models: tuple[str, ...] = Field(
        (),
        description="Ids of embedding models from [models], in order of preference. Unset: the "
        "first one there. Scores of different models cannot be compared.",
    )
