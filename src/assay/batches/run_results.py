"""The results of a run as numbers, and what makes two runs less than comparable."""

from __future__ import annotations

import math
from array import array
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from assay.batches.comparison import Measure
from assay.domain.errors import RequestError

MEASURES: tuple[Measure, ...] = ("score", "pass_rate")
TRAITS = ("type", "threshold", "weight")
JUDGE_TRAITS = ("requested", "prompt_version", "score_method")
JUDGES_DIFFER_FROM = 0.01
"""Mixes of judges that differ in a smaller share of the rows move no mean by more than that."""


class Column:
    """The results of one criterion by row; NaN is unscored, and `reasons` says why."""

    def __init__(self) -> None:
        self.values: Mapping[Measure, array[float]] = {name: array("d") for name in MEASURES}
        self.reasons: dict[int, str] = {}
        self.skipped: set[int] = set()
        self.judges: Counter[str] = Counter()
        self.traits: dict[str, set[str]] = {name: set() for name in TRAITS + JUDGE_TRAITS}

    def pad(self, rows: int) -> None:
        """Rows that had no result of this criterion are unscored."""
        for values in self.values.values():
            values.extend([math.nan] * (rows - len(values)))

    def add(self, row: int, result: Mapping[str, Any]) -> None:
        """Add a result; raises `KeyError` and `TypeError` for what is none."""
        score, passed, judge = result["score"], result["passed"], result.get("judge") or {}
        if score is not None and (isinstance(score, bool) or not 0 <= score <= 1):
            raise TypeError
        self.pad(row)
        if len(self.values["score"]) > row:
            raise TypeError
        self.values["score"].append(math.nan if score is None else score)
        self.values["pass_rate"].append(math.nan if passed is None else passed is True)
        if score is None:
            self.reasons[row] = str(result.get("reason") or result.get("status"))
            if result.get("status") == "skipped":
                self.skipped.add(row)
        elif judge:
            self.judges[f"{judge.get('provider')}/{judge.get('model')}"] += 1
        for names, source in ((TRAITS, result), (JUDGE_TRAITS, judge)):
            for name in names if source else ():
                self.traits[name].add(str(source.get(name)))


class RunResults:
    """The results of a run, added one by one; none of their texts is kept.

    `definitions` are the criteria as they were asked for, by name, where that is known.
    """

    def __init__(
        self,
        run_id: str,
        name: str | None = None,
        *,
        dataset: str | None = None,
        definitions: Mapping[str, str] | None = None,
    ) -> None:
        self.id = run_id
        self.name = name
        self.dataset = dataset
        self.definitions = definitions or {}
        self.rows: dict[str, int] = {}
        self.groups: dict[str, str] = {}
        self.indices: dict[int, int] = {}
        self.failures: dict[int, str] = {}
        self.columns: dict[str, Column] = {}
        self.revisions: Counter[str] = Counter()
        self.simulated = False
        self.unasked: set[str] = set()
        """The providers of verdicts for which no model was asked."""

    def add(self, item_id: str, result: Mapping[str, Any], index: int | None = None) -> None:
        """Add the result of an item, with its place in the batch; raises `RequestError` for what is
        none."""
        if item_id in self.rows:
            raise RequestError("invalid_request", "this item has a result already")
        row = self.rows[item_id] = len(self.rows)
        if index is not None:
            self.indices[row] = index
        try:
            if error := result.get("error"):
                self.failures[row] = str(error["code"])
            for found in () if error else result["results"]:
                self.columns.setdefault(str(found["name"]), Column()).add(row, found)
            if evaluator := result.get("evaluator"):
                self.revisions[str(evaluator["revision"])] += 1
        except (AttributeError, KeyError, TypeError):
            raise RequestError("invalid_request", "must be a result of a batch") from None
        if (group := result.get("group")) is not None:
            self.groups[item_id] = str(group)
        if result.get("simulated"):
            self.simulated = True
            judges = [one.get("judge") or {} for one in result.get("results") or ()]
            self.unasked |= {str(one["provider"]) for one in judges if one.get("provider")}

    def complete(self) -> None:
        """Give every criterion a value for every row."""
        for column in self.columns.values():
            column.pad(len(self.rows))

    def reason(self, name: str, row: int) -> str | None:
        """Why the row is unscored; None if it is scored."""
        column = self.columns[name]
        if not math.isnan(column.values["score"][row]):
            return None
        return column.reasons.get(row) or self.failures.get(row) or "result_missing"


def differences_in_kind(base: RunResults, candidate: RunResults) -> Iterator[str]:
    """What else than the outputs differs between two runs, as far as their results show it."""
    if base.dataset and candidate.dataset and base.dataset != candidate.dataset:
        yield (
            f"The datasets differ ({base.dataset}, {candidate.dataset}): items of the same id may "
            "differ."
        )
    common = [name for name in base.columns if name in candidate.columns]
    told = [text for name in common for text in _criterion_differences(name, base, candidate)]
    if len(base.revisions.keys() | candidate.revisions.keys()) > 1:
        why = "The warnings by criterion say what can be told of it."
        if not told:
            why = (
                "The results do not show why: models, their settings, prompts or the way verdicts "
                "are read may have changed."
            )
        yield (
            f"The revisions differ: {listed(base.revisions)} in the base, "
            f"{listed(candidate.revisions)} in the candidate. {why}"
        )
    yield from told
    for run, label in ((base, "base"), (candidate, "candidate")):
        if alone := [name for name in run.columns if name not in common]:
            yield f"Criteria in the {label} alone are not compared: {listed(alone)}."


def _criterion_differences(name: str, base: RunResults, candidate: RunResults) -> Iterator[str]:
    old, new = base.columns[name], candidate.columns[name]
    for trait, values in old.traits.items():
        others = new.traits[trait]
        if values and others and values != others:
            yield f"{name}: {trait} differs: {listed(sorted(values))}; {listed(sorted(others))}."
    definitions = base.definitions.get(name), candidate.definitions.get(name)
    if None not in definitions and definitions[0] != definitions[1]:
        yield f"{name}: the definition of the criterion differs."
    if old.judges and new.judges:
        share = sum(
            abs(_share(old, model) - _share(new, model)) for model in old.judges | new.judges
        )
        if share / 2 >= JUDGES_DIFFER_FROM:
            yield (
                f"{name}: the judges that served differ in {share / 2:.0%} of the rows: "
                f"{_mix(old)}; {_mix(new)}."
            )


def _share(column: Column, model: str) -> float:
    return column.judges[model] / column.judges.total()


def _mix(column: Column) -> str:
    return listed(f"{model} {_share(column, model):.0%}" for model in column.judges)


def listed(values: Iterable[str]) -> str:
    """The values in a sentence."""
    return ", ".join(values) or "none"
