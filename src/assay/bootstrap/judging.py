"""Builds the judges: each configured model inside its nest, behind the router."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass

from assay.domain.completion import Capabilities, Model
from assay.domain.policy import RetryPolicy
from assay.domain.ports import ChatModel, EventSink, ModelStatus
from assay.providers import WIRED, Connection, Wire, build_model
from assay.resilience.retry import Retried
from assay.resilience.retry_budget import RetryBudget
from assay.routing.candidates import Candidate
from assay.routing.judges import ConfiguredJudges, Judge
from assay.settings import ModelSettings, ProviderSettings, Secret, Settings


@dataclass(frozen=True, slots=True)
class Judging:
    """Everything that asks models: the judges by name, and the models as they stand."""

    judges: ConfiguredJudges
    directory: Directory


class Directory:
    """The configured models for `GET /v1/models`."""

    def __init__(self, models: Sequence[Model]) -> None:
        self._models = models

    async def statuses(self) -> Sequence[ModelStatus]:
        return [ModelStatus(model) for model in self._models]


@asynccontextmanager
async def open_judging(settings: Settings, events: EventSink) -> AsyncIterator[Judging]:
    """The judges that `settings` name; closes the providers' connections at the end."""
    models = models_of(settings)
    async with AsyncExitStack() as stack:
        wires = {
            name: Wire(connection(name, each))
            for name, each in settings.providers.items()
            if each.dialect in WIRED
        }
        for wire in wires.values():
            stack.push_async_callback(wire.aclose)
        budget = RetryBudget(RetryPolicy())
        candidates = [
            Candidate(
                model,
                nest(settings.providers[model.provider], model, wires, budget, events),
                weight=settings.models[model.id].weight,
            )
            for model in models
        ]
        judges = {
            name: Judge(judge.models, judge.strategy) for name, judge in settings.judges.items()
        }
        yield Judging(ConfiguredJudges(candidates, judges, events), Directory(models))


def nest(
    provider: ProviderSettings,
    model: Model,
    wires: Mapping[str, Wire],
    budget: RetryBudget,
    events: EventSink,
) -> ChatModel:
    """The layers around one model, from the inside out."""
    speaking = build_model(provider.dialect, model, wires.get(model.provider))
    return Retried(speaking, model, RetryPolicy(), budget, events)


def models_of(settings: Settings) -> list[Model]:
    """The configured models as the domain knows them."""
    return [
        model_of(model_id, model, settings.providers[model.provider])
        for model_id, model in settings.models.items()
    ]


def model_of(model_id: str, model: ModelSettings, provider: ProviderSettings) -> Model:
    """One configured model as the domain knows it."""
    return Model(
        id=model_id,
        provider=model.provider,
        name=model.name,
        context_tokens=model.context_tokens,
        max_output_tokens=model.max_output_tokens,
        input_usd_per_mtok=model.input_usd_per_mtok,
        output_usd_per_mtok=model.output_usd_per_mtok,
        capabilities=Capabilities(
            schema=model.structured_output,
            logprobs=model.logprobs,
            seed=model.seed,
            temperature=model.temperature,
        ),
        simulated=provider.dialect == "simulated",
    )


def connection(name: str, provider: ProviderSettings) -> Connection:
    """How to reach a configured provider."""
    return Connection(
        provider=name,
        base_url=provider.url,
        api_key=Secret(provider.api_key_env, provider.api_key_file),
        silence_timeout_s=provider.silence_timeout_s,
        connections_max=provider.connections_max,
        stream=provider.stream,
        output_limit_field=provider.output_limit_field,
    )
