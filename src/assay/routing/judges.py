"""The configured judges: turns a judge specification into a router over its models."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import NoReturn

from assay.domain.errors import RequestError
from assay.domain.evaluation import JudgeSpec, Strategy
from assay.domain.ports import EventSink, PanelMember
from assay.domain.suggestions import did_you_mean
from assay.routing.candidates import Candidate
from assay.routing.router import Router
from assay.routing.strategies import ORDERS


@dataclass(frozen=True, slots=True)
class ConfiguredJudge:
    """A judge as configured: its models in order of preference, and its usual strategy."""

    models: tuple[str, ...]
    strategy: Strategy = "ordered"


class ConfiguredJudges:
    """Every configured model and judge by name; implements the `Judges` port."""

    def __init__(
        self,
        candidates: Sequence[Candidate],
        judges: Mapping[str, ConfiguredJudge],
        events: EventSink,
    ) -> None:
        self._candidates = {candidate.model.id: candidate for candidate in candidates}
        self._judges = judges
        self._events = events

    def panel(self, spec: JudgeSpec) -> Sequence[PanelMember]:
        """A router over the models that `spec` names, or each model of a panel by itself.

        No other model answers in place of a member of a panel.
        """
        chosen, strategy = self._chosen(spec)
        if strategy != "panel":
            return (self._member(spec, _allowed(chosen, spec), strategy),)
        return tuple(
            self._member(
                replace(spec, models=(candidate.model.id,), strategy="ordered", fallback="none"),
                [candidate],
                "ordered",
            )
            for candidate in chosen
        )

    def _member(
        self, spec: JudgeSpec, candidates: Sequence[Candidate], strategy: Strategy
    ) -> PanelMember:
        router = Router(candidates, ORDERS[strategy], self._events)
        window_tokens = max(candidate.window_tokens for candidate in candidates)
        return PanelMember(spec, router, window_tokens)

    def _chosen(self, spec: JudgeSpec) -> tuple[list[Candidate], Strategy]:
        """All models that `spec` names, each once, with the strategy between them.

        Raises `RequestError` if a panel names one model twice, by its id and by its name: its
        answer would count as two votes.
        """
        if spec.models:
            models, strategy = spec.models, spec.strategy or "ordered"
        else:
            judge = self._judges.get(spec.name) or _unknown("judge", spec.name, self._judges)
            models, strategy = judge.models, spec.strategy or judge.strategy
        named = map(self._candidate, models)
        chosen = list({candidate.model.id: candidate for candidate in named}.values())
        if spec.models and strategy == "panel" and len(chosen) < len(models):
            raise RequestError("invalid_request", "Two members of the panel are the same model.")
        return chosen, strategy

    def _candidate(self, model: str) -> Candidate:
        """The candidate of that id, else the first one whose provider knows it by that name."""
        candidates = self._candidates.values()
        by_name = (candidate for candidate in candidates if candidate.model.name == model)
        found = self._candidates.get(model) or next(by_name, None)
        return found or _unknown("model", model, self._candidates)


def _allowed(chosen: list[Candidate], spec: JudgeSpec) -> list[Candidate]:
    """The candidates that may serve the call under the fallback rule."""
    if spec.fallback == "none":
        return chosen[:1]
    if spec.fallback == "same_model":
        return [other for other in chosen if other.model.name == chosen[0].model.name]
    return chosen


def _unknown(kind: str, name: str, known: Iterable[str]) -> NoReturn:
    """Raise the error that names what is not configured, and the nearest name that is."""
    hint = did_you_mean(name, known) or "."
    raise RequestError("unknown_model", f"No {kind} is called {name[:100]!r}{hint}")
