"""The configured judges: turns a judge specification into a router over its models."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import NoReturn

from assay.domain.errors import FieldError, RequestError
from assay.domain.evaluation import JudgeSpec, OnRefusal, Strategy
from assay.domain.models import ModelKind
from assay.domain.ports import EventSink, PanelMember
from assay.domain.suggestions import did_you_mean
from assay.routing.candidates import Candidate
from assay.routing.router import Router
from assay.routing.strategies import ORDERS

PANELS_KEPT = 256
"""Specifications whose panels are kept for the next request that has them."""
KINDS: Mapping[ModelKind, tuple[str, str]] = {
    "chat": ("a chat model", "judge"),
    "embedding": ("an embedding model", "embed"),
    "http": ("a host of HTTP criteria", "be posted to"),
}
"""What each kind is, and can do."""
REPEATABLE: tuple[Strategy, ...] = ("ordered", "cheapest", "panel")
"""Strategies that choose the same model again when a row's answers have come."""


@dataclass(frozen=True, slots=True)
class ConfiguredJudge:
    """A judge as configured: its models in order of preference, and its usual policies."""

    models: tuple[str, ...]
    strategy: Strategy = "ordered"
    on_refusal: OnRefusal = "next"
    hedge: bool = False
    language: str | None = None


class ConfiguredJudges:
    """Every configured model and judge by name; implements the `Judges` port.

    `embedders` are the models that embed texts where a criterion names none. A host of HTTP
    criteria is known by its origin. `may_hedge` takes a hedge out of the retry budget. `by_batch`
    are the candidates again, as they are asked through their providers' batch APIs.
    """

    def __init__(
        self,
        candidates: Sequence[Candidate],
        judges: Mapping[str, ConfiguredJudge],
        events: EventSink,
        embedders: tuple[str, ...] = (),
        may_hedge: Callable[[], bool] = lambda: True,
        by_batch: Sequence[Candidate] = (),
    ) -> None:
        self._may_hedge = may_hedge
        self._embedders = embedders
        self._by_batch = {candidate.model.id: candidate for candidate in by_batch}
        self._candidates = {candidate.model.id: candidate for candidate in candidates}
        self._judges = judges
        self._events = events
        self._panels = lru_cache(PANELS_KEPT)(self._panel)

    def panel(self, spec: JudgeSpec) -> Sequence[PanelMember]:
        """A router over the models that `spec` names, or each model of a panel by itself.

        No other model answers in place of a member of a panel.
        """
        return self._panels(spec)

    def _panel(self, spec: JudgeSpec) -> Sequence[PanelMember]:
        judge = self._judge(spec)
        chosen = self._candidates_of(judge, spec.kind)
        if judge.strategy != "panel":
            chosen = _allowed(chosen, spec)
        _refuse_unpriced(chosen, spec)
        if spec.service == "batch" and spec.kind == "chat":
            chosen = [self._batched(candidate) for candidate in chosen]
            if judge.strategy not in REPEATABLE:
                judge = replace(judge, strategy="ordered")
        if judge.strategy != "panel":
            return (self._member(spec, chosen, judge),)
        if spec.models and len(chosen) < len(judge.models):
            # By its id and by its name: its answer would count as two votes.
            raise RequestError("invalid_request", "Two members of the panel are the same model.")
        return tuple(
            self._member(
                replace(spec, models=(candidate.model.id,), strategy="ordered", fallback="none"),
                [candidate],
                judge,
            )
            for candidate in chosen
        )

    def _member(
        self, spec: JudgeSpec, candidates: Sequence[Candidate], judge: ConfiguredJudge
    ) -> PanelMember:
        router = Router(
            candidates,
            ORDERS[judge.strategy],
            self._events,
            judge.on_refusal,
            self._may_hedge if judge.hedge else None,
        )
        window_tokens = max(candidate.window_tokens for candidate in candidates)
        hedge = "hedge " if judge.hedge else ""
        fingerprint = f"{judge.strategy} {judge.on_refusal} {hedge}" + " ".join(
            candidate.model.fingerprint for candidate in candidates
        )
        if judge.language is not None:
            spec = replace(spec, language=spec.language or judge.language)
            fingerprint += f" {judge.language}"
        return PanelMember(spec, router, window_tokens, candidates[0].estimates, fingerprint)

    def _batched(self, candidate: Candidate) -> Candidate:
        """The candidate behind its provider's batch API."""
        model = candidate.model
        if model.id not in self._by_batch:
            message = (
                f"{model.id} has no batch API that is known: if its provider has one, set "
                f"batch_api = true in [providers.{model.provider}]."
            )
            raise RequestError("invalid_request", message, [FieldError("/service", message)])
        return self._by_batch[model.id]

    def _judge(self, spec: JudgeSpec) -> ConfiguredJudge:
        """The judge that `spec` names, or the one that its models make, with its own policies."""
        if spec.models:
            judge = ConfiguredJudge(spec.models)
        elif spec.kind == "embedding":
            judge = ConfiguredJudge(self._embedders or _no_embedder())
        else:
            judge = self._judges.get(spec.name) or _unknown("judge", spec.name, self._judges)
        return replace(
            judge,
            strategy=spec.strategy or judge.strategy,
            on_refusal=spec.on_refusal or judge.on_refusal,
            hedge=judge.hedge if spec.hedge is None else spec.hedge,
        )

    def _candidates_of(self, judge: ConfiguredJudge, kind: ModelKind) -> list[Candidate]:
        """The judge's models, each once; raises for one that is not of the kind."""
        named = [self._candidate(model, kind) for model in judge.models]
        return list({candidate.model.id: candidate for candidate in named}.values())

    def _candidate(self, model: str, kind: ModelKind) -> Candidate:
        """The candidate of that id, else the first one whose provider knows it by that name."""
        candidates = self._candidates.values()
        by_name = (candidate for candidate in candidates if candidate.model.name == model)
        found = self._candidates.get(model) or next(by_name, None)
        if found is None and kind == "http":
            message = "The setting http_criteria.hosts does not allow this host."
            raise RequestError("invalid_request", message)
        if found is not None and found.model.kind != kind:
            what, can = KINDS[found.model.kind][0], KINDS[kind][1]
            raise RequestError("unknown_model", f"{found.model.id} is {what} and cannot {can}.")
        fitting = [other.model.id for other in candidates if other.model.kind == kind]
        return found or _unknown("model", model, fitting)


def _allowed(chosen: list[Candidate], spec: JudgeSpec) -> list[Candidate]:
    """The candidates that may serve the call under the fallback rule."""
    if spec.fallback == "none":
        return chosen[:1]
    if spec.fallback == "same_model":
        return [other for other in chosen if other.model.name == chosen[0].model.name]
    return chosen


def _refuse_unpriced(chosen: list[Candidate], spec: JudgeSpec) -> None:
    """Raise for a cap on costs that cannot be kept, before anything is spent."""
    unpriced = [candidate.model.id for candidate in chosen if not candidate.model.is_priced]
    if spec.max_cost_usd is not None and unpriced:
        raise RequestError(
            "invalid_request",
            f"max_cost_usd cannot be kept: no price is known of {', '.join(unpriced)}.",
        )


def _no_embedder() -> NoReturn:
    raise RequestError(
        "unknown_model",
        'No embedding model is configured: add one to [models], with kind = "embedding".',
    )


def _unknown(kind: str, name: str, known: Iterable[str]) -> NoReturn:
    """Raise the error that names what is not configured, and the nearest name that is."""
    hint = did_you_mean(name, known) or "."
    raise RequestError("unknown_model", f"No {kind} is called {name[:100]!r}{hint}")
