"""Who judges: the sections for models, and for the judges that these make."""

from __future__ import annotations

from datetime import date
from typing import Literal, Self

from pydantic import Field, field_validator, model_validator

from assay.domain.evaluation import OnRefusal, Strategy
from assay.domain.languages import language_of, unknown_language
from assay.domain.sampling import Effort
from assay.domain.suggestions import did_you_mean
from assay.prompts.profiles import profiles
from assay.settings.section import Section
from assay.verdicts.forms import FormName


class ModelSettings(Section):
    """`[models."ID"]`: a model that judges or embeds, its limits and its prices."""

    provider: str = Field(description="A name from [providers].")
    name: str = Field(min_length=1, description="The provider's name for the model.")
    kind: Literal["chat", "embedding"] = Field(
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
    cache_write_usd_per_mtok: float | None = Field(
        None,
        ge=0,
        description="Price of a million input tokens that the provider wrote to its cache. Unset: "
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
    profile: str | None = Field(
        None,
        description="How a judge that was trained on one form of prompt is asked and read: "
        + ", ".join(f"`{name}`" for name in profiles())
        + ".",
    )
    logprobs: bool = Field(False, description="Whether the model returns token log-probabilities.")
    seed: bool = Field(False, description="Whether the model accepts a seed.")
    temperature: bool = Field(True, description="Whether the model accepts a temperature.")
    vision: bool | None = Field(
        None, description="Whether the model takes images. Unset: as known, else not."
    )
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

    @model_validator(mode="after")
    def _profile_is_known(self) -> Self:
        if self.profile is not None and self.profile not in profiles():
            hint = did_you_mean(self.profile, profiles())
            raise ValueError(f"profile: {self.profile!r} is not known{hint}")
        if self.profile is not None and (self.reading is not None or self.kind != "chat"):
            raise ValueError("profile: has a reading of its own, and is for models that judge")
        return self


class JudgeSettings(Section):
    """`[judges.NAME]`: the models of a judge, in order of preference."""

    models: tuple[str, ...] = Field(min_length=1, description="Ids from [models].")
    strategy: Strategy = Field("ordered", description="How the judge chooses the next model.")
    on_refusal: OnRefusal = Field(
        "next",
        description="What follows if a model refuses or its provider filters: `next` asks the next "
        "model, `stop` leaves the criterion unscored.",
    )
    hedge: bool = Field(
        False,
        description="Send a call that takes longer than 95 % of the model's calls to the next "
        "model too, and take the first verdict.",
    )
    language: str | None = Field(
        None,
        description="The language of explanations, such as `de`, unless the request says. Unset: "
        "that of the input.",
    )

    @field_validator("language")
    @classmethod
    def _is_language(cls, tag: str | None) -> str | None:
        if tag is not None and language_of(tag) is None:
            raise ValueError(unknown_language(tag))
        return tag


class EmbeddingSettings(Section):
    """`[embeddings]`: the models that embed texts for criteria that name none."""

    models: tuple[str, ...] = Field(
        (),
        description="Ids of embedding models from [models], in order of preference. Unset: the "
        "first one there. Scores of different models cannot be compared.",
    )
