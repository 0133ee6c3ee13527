"""Compares two runs by item id. It loads the statistics: import it where runs are compared."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

import numpy as np

from assay.batches.comparison import (
    BatchComparison,
    ChangedRow,
    ChangedRows,
    ChangedSide,
    ComparedCriterion,
    ComparedRun,
    Difference,
    ItemList,
    Measure,
    Verdict,
)
from assay.batches.run_results import MEASURES, Column, RunResults, differences_in_kind, listed
from assay.calibration.comparison import RunComparison, benjamini_hochberg, compare_runs
from assay.calibration.figures import Floats, Integers
from assay.domain.errors import RequestError
from assay.domain.unasked import unasked

SIGNIFICANCE = 0.05
Pairs = Mapping[Measure, tuple[Floats, Floats]]


def compare_results(base: RunResults, candidate: RunResults, rows_shown: int) -> BatchComparison:
    """The comparison by item id; raises `RequestError` if nothing is common to both runs."""
    items = [item_id for item_id in base.rows if item_id in candidate.rows]
    if not items:
        raise RequestError("conflict", "The runs have no item id in common.")
    names = [name for name in base.columns if name in candidate.columns]
    if not names:
        raise RequestError(
            "conflict",
            f"The runs have no criterion in common: {listed(base.columns)} in the base, "
            f"{listed(candidate.columns)} in the candidate.",
        )
    pair = _RunPair(base, candidate, items, rows_shown)
    criteria = _judged_together([pair.criterion(name) for name in names])
    verdicts = [one.verdict for criterion in criteria for one in criterion.differences]
    warnings = tuple(differences_in_kind(base, candidate))
    return BatchComparison(
        base=_summary(base),
        candidate=_summary(candidate),
        regression="regression" in verdicts if any(verdicts) else None,
        comparable=not warnings,
        warnings=warnings,
        statements=tuple(_statements(base, candidate, verdicts)),
        items_common=len(items),
        items_only_base=_only(base, candidate, rows_shown),
        items_only_candidate=_only(candidate, base, rows_shown),
        criteria=criteria,
    )


class _RunPair:
    """Both runs, with the rows of their common items."""

    def __init__(
        self, base: RunResults, candidate: RunResults, items: Sequence[str], rows_shown: int
    ) -> None:
        self._runs = (base, candidate)
        self._items, self._shown = items, rows_shown
        self._rows = [np.array([run.rows[item] for item in items]) for run in self._runs]
        names = base.groups | candidate.groups
        # A row without a group is a group of its own, whatever names the others have.
        groups = [f"g{names[item]}" if item in names else f"i{item}" for item in items]
        self._groups = np.unique(groups, return_inverse=True)[1]
        for run in self._runs:
            run.complete()

    def criterion(self, name: str) -> ComparedCriterion:
        """One criterion; its p values are not adjusted yet."""
        columns = [run.columns[name] for run in self._runs]
        kept = self._applicable(columns)
        pairs: Pairs = {measure: self._values(columns, measure, kept) for measure in MEASURES}
        found = {
            measure: compare_runs(*pairs[measure], self._groups[kept])
            for measure in _told_apart(pairs)
        }
        worse, better = (
            sorted({int(row) for one in found.values() for row in getattr(one, kind)})
            for kind in ("regressions", "improvements")
        )
        worse.sort(key=lambda row: _changes(pairs, row))
        better.sort(key=lambda row: _changes(pairs, row), reverse=True)
        one_sided = np.flatnonzero(np.logical_xor(*map(np.isnan, pairs["score"]))).tolist()
        return ComparedCriterion(
            name=name,
            type=listed(sorted(columns[1].traits["type"])),
            differences=tuple(
                _difference(*one, pairs, self._groups[kept]) for one in found.items()
            ),
            regressions=self._changed(name, kept, worse),
            improvements=self._changed(name, kept, better),
            unscored=self._changed(name, kept, one_sided),
            base_judges=dict(columns[0].judges.most_common()),
            candidate_judges=dict(columns[1].judges.most_common()),
        )

    def _applicable(self, columns: Sequence[Column]) -> Integers:
        """The items that the criterion was not skipped for in both runs."""
        base, candidate = (
            np.isin(rows, list(column.skipped))
            for rows, column in zip(self._rows, columns, strict=True)
        )
        return np.flatnonzero(~(base & candidate))

    def _values(
        self, columns: Sequence[Column], measure: Measure, kept: Integers
    ) -> tuple[Floats, Floats]:
        base, candidate = (
            np.frombuffer(column.values[measure])[rows[kept]]
            for rows, column in zip(self._rows, columns, strict=True)
        )
        return base, candidate

    def _changed(self, name: str, kept: Integers, rows: Sequence[int]) -> ChangedRows:
        shown = [self._items[kept[row]] for row in rows[: self._shown]]
        return ChangedRows(len(rows), tuple(self._row(name, item_id) for item_id in shown))

    def _row(self, name: str, item_id: str) -> ChangedRow:
        base, candidate = (_side(run, name, run.rows[item_id]) for run in self._runs)
        return ChangedRow(item_id, base, candidate)


def _told_apart(pairs: Pairs) -> Iterator[Measure]:
    """The measures that say something: a score that is but the pass or fail says nothing more."""
    sides = zip(*pairs.values(), strict=True)
    if not all(np.array_equal(score, passed, equal_nan=True) for score, passed in sides):
        yield "score"
        if any(np.isnan(values).all() for values in pairs["pass_rate"]):
            return
    yield "pass_rate"


def _judged_together(criteria: Sequence[ComparedCriterion]) -> tuple[ComparedCriterion, ...]:
    """The criteria with the p values of all their measures adjusted as one family."""
    family = [one.p_value for criterion in criteria for one in criterion.differences]
    adjusted = iter(benjamini_hochberg([math.nan if p is None else p for p in family]).tolist())
    return tuple(
        replace(
            criterion,
            differences=tuple(_with_verdict(one, next(adjusted)) for one in criterion.differences),
        )
        for criterion in criteria
    )


def _with_verdict(one: Difference, p_adjusted: float) -> Difference:
    if one.difference is None or math.isnan(p_adjusted):
        return one
    verdict: Verdict = "no_significant_change"
    if p_adjusted <= SIGNIFICANCE:
        verdict = "regression" if one.difference < 0 else "improvement"
    return replace(one, p_adjusted=p_adjusted, verdict=verdict)


def _difference(
    measure: Measure, found: RunComparison, pairs: Pairs, groups: Integers
) -> Difference:
    both = ~np.isnan(pairs[measure]).any(axis=0)
    base, candidate = (
        float(values[both].mean()) if both.any() else None for values in pairs[measure]
    )
    return Difference(
        measure=measure,
        base=base,
        candidate=candidate,
        difference=found.difference.value,
        ci95=found.difference.interval,
        rows=found.rows,
        groups=len(np.unique(groups[both])),
        test="mcnemar" if found.test == "mcnemar" else "sign_flip",
        p_value=found.p_value,
        p_adjusted=None,
        verdict=None,
        smallest_detectable=found.smallest_detectable,
        bounds=found.bounds,
        regressed=len(found.regressions),
        improved=len(found.improvements),
        statements=tuple(filter(None, (*found.statements, found.difference.statement))),
    )


def _changes(pairs: Pairs, row: int) -> tuple[float, float]:
    """The change of pass and of score, of which an unknown one counts as none."""
    base, candidate = np.nan_to_num(
        [pairs[measure][1][row] - pairs[measure][0][row] for measure in ("pass_rate", "score")]
    )
    return float(base), float(candidate)


def _statements(
    base: RunResults, candidate: RunResults, verdicts: Sequence[Verdict | None]
) -> Iterator[str]:
    """What holds of the comparison as a whole."""
    if not any(verdicts):
        yield "Nothing can be tested: no row is scored in both runs."
    elif "regression" in verdicts:
        yield "At least one criterion is significantly worse in the candidate."
    else:
        yield (
            "No criterion is significantly worse. That is no proof that none is: a change below "
            "the smallest detectable difference mostly goes unnoticed."
        )
    if base.simulated or candidate.simulated:
        word = unasked(base.unasked | candidate.unasked)
        yield f"Verdicts are {word}: no model was asked, and the comparison means nothing."
    if any(candidate.groups.get(item, group) != group for item, group in base.groups.items()):
        yield "Some items have another group in the candidate; the candidate's groups are used."


def _side(run: RunResults, name: str, row: int) -> ChangedSide:
    values = run.columns[name].values
    score, passed = (_known(values[measure][row]) for measure in MEASURES)
    return ChangedSide(
        score,
        None if passed is None else passed == 1,
        run.reason(name, row),
        run.indices.get(row),
    )


def _known(value: float) -> float | None:
    return None if math.isnan(value) else value


def _summary(run: RunResults) -> ComparedRun:
    return ComparedRun(run.id, run.name, len(run.rows), tuple(run.revisions), run.simulated)


def _only(run: RunResults, other: RunResults, shown: int) -> ItemList:
    ids = [item_id for item_id in run.rows if item_id not in other.rows]
    return ItemList(len(ids), tuple(ids[:shown]))
