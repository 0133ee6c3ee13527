"""Builds the judges: each configured model inside its layers, behind the router."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace

from assay.bootstrap.from_settings import (
    graders_from_settings,
    models_from_settings,
    provider_config,
)
from assay.domain.models import Model
from assay.domain.policy import BreakerPolicy, Quota, RetryBudgetPolicy
from assay.domain.ports import ChatModel, Estimator, EventSink
from assay.domain.provider_jobs import JobApi
from assay.domain.supervision import Supervisor
from assay.providers import HTTP_DIALECTS, HttpGrader, ProviderClient, build_model
from assay.providers.http_model import HttpModel
from assay.providers.jobs import JOB_APIS
from assay.redis.client import Client
from assay.resilience.adapted import Adapted
from assay.resilience.breaker.breaker import Breaker
from assay.resilience.breaker.fleet import BreakerFleet
from assay.resilience.budget_capped import BudgetCapped, DailyBudgets
from assay.resilience.cached import Cached
from assay.resilience.coalesced import Coalesced
from assay.resilience.directory import Directory, ModelLayers
from assay.resilience.guarded import Guarded
from assay.resilience.limited import Limited
from assay.resilience.postponed import (
    DirectWhereUndelivered,
    OncePerRow,
    Postponed,
    WithoutAttempts,
)
from assay.resilience.queue.fair_order import QueueLimits
from assay.resilience.queue.fair_queue import FairQueue
from assay.resilience.quota.quotas import Quotas
from assay.resilience.refusals import Refusals
from assay.resilience.retried import Retried
from assay.resilience.retry_budget import RetryBudget
from assay.resilience.slotted import Slotted
from assay.resilience.token_estimates import TokenEstimates
from assay.routing.candidates import Candidate
from assay.routing.judges import ConfiguredJudge, ConfiguredJudges
from assay.settings import ModelSettings, Settings
from assay.store.batches.deferred import RedisDeferredCalls

UNBOUNDED = RetryBudgetPolicy(budget_share=1e9, budget_per_s=1e9, backoff_s=0.0)


@dataclass(frozen=True, slots=True)
class SharedResources:
    """What the layers of all models have in common."""

    redis: Client
    provider_clients: Mapping[str, ProviderClient]
    job_clients: Mapping[str, ProviderClient]
    quotas: Quotas
    caps: DailyBudgets
    uncapped: DailyBudgets
    fleet: BreakerFleet
    refusals: Refusals
    budget: RetryBudget
    events: EventSink


@dataclass(frozen=True, slots=True)
class Judging:
    """Everything that calls models."""

    judges: ConfiguredJudges
    directory: Directory
    layers: Sequence[ModelLayers]
    shared: SharedResources
    job_apis: Mapping[str, tuple[Model, JobApi]]
    """The batch APIs by model id, each with the model at its lower price."""


@asynccontextmanager
async def open_judging(
    settings: Settings,
    redis: Client,
    events: EventSink,
    supervisor: Supervisor,
    *,
    budgeted: Client | None = None,
) -> AsyncIterator[Judging]:
    """The judges that `settings` name; what they hold open is closed at the end.

    `budgeted` is the client for callers that bound their calls themselves, which costs less.
    """
    async with AsyncExitStack() as stack:
        shared = await stack.enter_async_context(
            _open_shared(settings, redis, budgeted or redis, events, supervisor)
        )
        candidates, by_batch, models = [], [], []
        job_apis: dict[str, tuple[Model, JobApi]] = {}
        for model, configured, chat in _innermost(settings, shared, stack):
            estimates = TokenEstimates()
            candidate, layers = _build_layers(settings, model, configured, chat, shared, estimates)
            candidates.append(candidate)
            models.append(layers)
            if model.kind == "chat" and settings.providers[model.provider].has_batch_api:
                api, batched = _build_batched(settings, candidate, shared, estimates)
                job_apis[model.id] = batched.model, api
                by_batch.append(batched)
            stack.push_async_callback(layers.limited.aclose)
        shared.fleet.start()
        stack.push_async_callback(shared.fleet.aclose)
        judges = {
            name: ConfiguredJudge(
                judge.models, judge.strategy, judge.on_refusal, judge.hedge, judge.language
            )
            for name, judge in settings.judges.items()
        }
        yield Judging(
            ConfiguredJudges(
                candidates, judges, events, _embedders(settings), shared.budget.spend, by_batch
            ),
            Directory(models, shared.fleet),
            models,
            shared,
            job_apis,
        )


def _embedders(settings: Settings) -> tuple[str, ...]:
    """The models of `[embeddings]`, else the first embedding model."""
    embed = [id_ for id_, model in settings.models.items() if model.kind == "embedding"]
    return settings.embeddings.models or tuple(embed[:1])


@asynccontextmanager
async def _open_shared(
    settings: Settings,
    redis: Client,
    budgeted: Client,
    events: EventSink,
    supervisor: Supervisor,
) -> AsyncIterator[SharedResources]:
    tenants = settings.tenants.items()
    shares = {name: tenant.quota_share for name, tenant in tenants if tenant.quota_share}
    caps_usd = {name: tenant.usd_per_day for name, tenant in tenants if tenant.usd_per_day}
    async with AsyncExitStack() as stack:
        provider_clients = {
            name: ProviderClient(provider_config(name, provider))
            for name, provider in settings.providers.items()
            if provider.protocol in HTTP_DIALECTS
        }
        job_clients = {
            name: ProviderClient(replace(provider_config(name, provider), stream=False))
            for name, provider in settings.providers.items()
            if provider.has_batch_api
        }
        for client in (*provider_clients.values(), *job_clients.values()):
            stack.push_async_callback(client.aclose)
        quotas = Quotas(
            budgeted,
            supervisor,
            pods_max=settings.quota.pods_max,
            shares=shares,
            oversize=settings.quota.oversize,
        )
        stack.push_async_callback(quotas.aclose)
        caps = DailyBudgets(redis, caps_usd, supervisor)
        stack.push_async_callback(caps.aclose)
        uncapped = DailyBudgets(redis, {}, supervisor)
        stack.push_async_callback(uncapped.aclose)
        budget = RetryBudget(RetryBudgetPolicy(**settings.retry.model_dump()))
        fleet = BreakerFleet(redis, supervisor)
        refusals = Refusals(redis, events, supervisor)
        stack.push_async_callback(refusals.aclose)
        await refusals.start()
        yield SharedResources(
            *(redis, provider_clients, job_clients, quotas, caps, uncapped, fleet, refusals),
            *(budget, events),
        )


def _innermost(
    settings: Settings, shared: SharedResources, stack: AsyncExitStack
) -> Iterator[tuple[Model, ModelSettings, ChatModel]]:
    """Every model and every host of HTTP criteria, as it is configured, with its adapter."""
    for model in models_from_settings(settings):
        protocol = settings.providers[model.provider].protocol
        client = shared.provider_clients.get(model.provider)
        yield model, settings.models[model.id], build_model(protocol, model, client)
    slots = settings.http_criteria.slots
    for model, config in graders_from_settings(settings):
        client = ProviderClient(config)
        stack.push_async_callback(client.aclose)
        own = ModelSettings(provider=model.provider, name=model.name, slots=slots)
        yield model, own, HttpGrader(model, client)


def _build_layers(
    settings: Settings,
    model: Model,
    configured: ModelSettings,
    provider: ChatModel,
    shared: SharedResources,
    estimates: TokenEstimates,
) -> tuple[Candidate, ModelLayers]:
    """The layers around one model, from the inside out."""
    events = shared.events
    quota = Quota(
        configured.requests_per_minute, configured.tokens_per_minute, configured.burst_share
    )
    limits = QueueLimits(settings.queue.calls_max, settings.queue.bytes_max)

    adapted = Adapted(provider, model, shared.refusals)
    slotted = Slotted(adapted, model, events, configured.slots, limits)
    limited = Limited(
        slotted,
        model,
        quota,
        shared.quotas,
        events,
        estimates=estimates,
        queue=FairQueue(model.id, "provider_quota", 1, events, limits),
    )
    capped = BudgetCapped(limited, model, shared.caps, estimates)
    breaker = Breaker(model.id, BreakerPolicy(**settings.breaker.model_dump()), events)
    guarded = Guarded(capped, model, breaker, events, shared.fleet)
    retried = Retried(guarded, model, shared.budget.policy, shared.budget, events)
    coalesced = Coalesced(retried)
    ttl_s = settings.cache.ttl_s
    cached = Cached(coalesced, model, shared.redis, ttl_s) if ttl_s else coalesced
    whole: ChatModel = cached
    if model.kind != "chat":
        whole = OncePerRow(cached, model, RedisDeferredCalls(shared.redis))
    estimator = Estimator(model, quota, estimates.usual)
    candidate = Candidate(
        model, whole, configured.weight, estimator, guarded.open_for_s, limited.predicted_wait_s
    )
    return candidate, ModelLayers(model, guarded, limited, slotted, adapted)


def _build_batched(
    settings: Settings, direct: Candidate, shared: SharedResources, estimates: TokenEstimates
) -> tuple[JobApi, Candidate]:
    """The model behind its provider's batch API; what that does not answer, `direct` is asked.

    Jobs have limits of their own: neither quota nor slots nor the breaker stand before them.
    """
    provider = settings.providers[direct.model.provider]
    model = replace(direct.model, discount=provider.batch_discount)
    adapter = build_model(provider.protocol, model, shared.job_clients[model.provider])
    if not isinstance(adapter, HttpModel):
        raise TypeError(f"{provider.protocol} has no jobs")
    api = JOB_APIS[provider.protocol](adapter, model.name)
    calls = RedisDeferredCalls(shared.redis)
    deferred = Postponed(api, model, calls, shared.caps, estimates, shared.refusals)
    capped = BudgetCapped(deferred, model, shared.uncapped, estimates)
    events = WithoutAttempts(shared.events)
    retried = Retried(capped, model, shared.budget.policy, RetryBudget(UNBOUNDED), events)
    chat = DirectWhereUndelivered(retried, direct.chat, calls)
    return api, Candidate(model, chat, estimator=Estimator(model, tokens=estimates.usual))
