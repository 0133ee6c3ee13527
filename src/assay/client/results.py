"""What the service made of a case, as values that read well."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from html import escape
from typing import Any, Literal

from assay.errors import ServiceError, to_error

EXPLANATION_CHARS_SHOWN = 80


@dataclass(frozen=True, slots=True, repr=False)
class CriterionVerdict:
    """What one criterion says: `passed` is None if it is not scored, and `reason` says why."""

    name: str
    passed: bool | None
    score: float | None
    value: Any
    explanation: str
    reason: str | None
    model: str | None
    cost_usd: float
    raw: Mapping[str, Any]

    @classmethod
    def from_document(cls, document: Mapping[str, Any]) -> CriterionVerdict:
        """The verdict in a response of the service."""
        return cls(
            document["name"],
            document.get("passed"),
            document.get("score"),
            document.get("value"),
            document.get("explanation") or "",
            document.get("reason"),
            (document.get("judge") or {}).get("model"),
            document.get("cost_usd") or 0.0,
            document,
        )

    def __repr__(self) -> str:
        return f"<{self.name}: {_verdict(self.passed, self.score, self.reason)}>"


@dataclass(frozen=True, slots=True, repr=False)
class EvaluationResult:
    """What was made of a case.

    `passed` is true if every criterion passed, false if one failed, and None if none failed but
    one is not scored: `unscored` says why. A row that failed as a whole has an `error`. `raw` is
    the response as the service gave it.
    """

    passed: bool | None
    score: float | None
    criteria: tuple[CriterionVerdict, ...]
    cost_usd: float = 0.0
    usage: Mapping[str, int] = field(default_factory=dict)
    simulated: bool = False
    id: str | None = None
    item_id: str | None = None
    error: ServiceError | None = None
    raw: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def from_document(
        cls, document: Mapping[str, Any], item_id: str | None = None
    ) -> EvaluationResult:
        """The result in a response of the service, or in a line of a batch's results."""
        error = document.get("error")
        return cls(
            document.get("passed"),
            document.get("score"),
            tuple(map(CriterionVerdict.from_document, document.get("results") or ())),
            document.get("cost_usd") or 0.0,
            document.get("usage") or {},
            bool(document.get("simulated")),
            document.get("id"),
            document.get("item_id", item_id),
            error and to_error(error["code"], error.get("detail") or ""),
            document,
        )

    @classmethod
    def from_error(cls, error: ServiceError, item_id: str | None) -> EvaluationResult:
        """The result of a row whose call failed."""
        return cls(None, None, (), item_id=item_id, error=error)

    @property
    def unscored(self) -> dict[str, str]:
        """Why criteria have no score, by their names."""
        return {one.name: one.reason or "" for one in self.criteria if one.score is None}

    def __getitem__(self, name: str) -> CriterionVerdict:
        for criterion in self.criteria:
            if criterion.name == name:
                return criterion
        known = ", ".join(criterion.name for criterion in self.criteria)
        raise KeyError(f"{name!r}; the criteria are: {known}")

    def __contains__(self, wanted: object) -> bool:
        """Whether there is such a criterion, by its name or itself."""
        return any(wanted in (one, one.name) for one in self.criteria)

    def __iter__(self) -> Iterator[CriterionVerdict]:
        return iter(self.criteria)

    def __bool__(self) -> Literal[True]:
        raise TypeError("a result is neither true nor false: use result.passed, which may be None")

    def __repr__(self) -> str:
        if self.error is not None:
            return f"<evaluation: error, {self.error.code}>"
        simulated = ", simulated" if self.simulated else ""
        return (
            f"<evaluation: {_verdict(self.passed, self.score, None)}{simulated}, "
            f"{', '.join(map(repr, self.criteria))}>"
        )

    def _repr_html_(self) -> str:
        """The result as a table, for notebooks."""
        if self.error is not None:
            return f"<p>error: {escape(str(self.error))}</p>"
        rows = "".join(
            f"<tr><td>{escape(one.name)}</td>"
            f"<td>{escape(_verdict(one.passed, one.score, one.reason))}</td>"
            f"<td>{escape(_short(one.explanation))}</td></tr>"
            for one in self.criteria
        )
        whole = _verdict(self.passed, self.score, None) + ", simulated" * self.simulated
        head = "<tr><th>criterion</th><th>verdict</th><th>explanation</th></tr>"
        return f"<table><caption>{escape(whole)}</caption>{head}{rows}</table>"


def _verdict(passed: bool | None, score: float | None, reason: str | None) -> str:
    word = {True: "passed", False: "failed", None: "unscored"}[passed]
    if reason:
        return f"{word}, {reason}"
    return word if score is None else f"{word}, {score:.3g}"


def _short(text: str) -> str:
    line = " ".join(text[: 4 * EXPLANATION_CHARS_SHOWN].split())
    shown = line[:EXPLANATION_CHARS_SHOWN]
    return shown if len(shown) == len(text.strip()) else f"{shown}…"
