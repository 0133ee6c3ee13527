"""The sums of a batch: what one evaluation adds to them, and the summary that they give."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from assay.batches.statistics import SCALE, Estimate, clustered_mean_of, mean_of, share_of
from assay.criteria.base import Criterion
from assay.domain.batches import RowStatus, Sums
from assay.domain.evaluation import Evaluation

ROWS = "rows"
"""Stands for the rows as a whole where a criterion's place in the list would stand."""
NANO = 1_000_000_000
GROUPS_LOST = "_"
"""Set to 1 where there were more groups than are kept."""


def status_of(evaluation: Evaluation) -> RowStatus:
    """How a row's evaluation counts in its batch."""
    if evaluation.status == "completed":
        return "scored"
    scored = any(each.status == "scored" for each in evaluation.results)
    return "partial" if scored else "unscored"


def totals_of(evaluation: Evaluation) -> dict[str, int]:
    """What the row cost."""
    return {
        "cost_nano_usd": round(evaluation.cost_usd * NANO),
        "input_tokens": evaluation.usage.input_tokens,
        "output_tokens": evaluation.usage.output_tokens,
        "simulated": sum(each.simulated for each in evaluation.results),
    }


def tally_of(evaluation: Evaluation) -> dict[str, int]:
    """What the row adds to the sums of its criteria, and to those of the rows."""
    sums: dict[str, int] = {}
    for place, score, passed in _scored(evaluation):
        sums[f"{place}:n"] = 1
        sums[f"{place}:sum"] = score
        sums[f"{place}:squares"] = score * score
        if passed is not None:
            sums[f"{place}:decided"] = 1
            sums[f"{place}:passed"] = int(passed)
    for index, each in enumerate(evaluation.results):
        if each.status != "scored":
            sums[f"{index}:{each.status}:{each.reason}"] = 1
    return sums


def groups_of(evaluation: Evaluation, group: str | None) -> dict[str, int]:
    """What the row adds to the sums of its group; empty where it has none."""
    sums: dict[str, int] = {}
    for place, score, _ in _scored(evaluation) if group is not None else ():
        sums[f"{place}:n:{group}"] = 1
        sums[f"{place}:sum:{group}"] = score
    return sums


def summary_of(criteria: Sequence[Criterion], sums: Sums) -> dict[str, Any]:
    """The summary of a batch, as callers read it: rows, then each criterion."""
    left_out = bool(sums.groups.get(GROUPS_LOST))
    groups = {} if left_out else _by_place(sums.groups)
    return {
        "rows": _entry(ROWS, sums.tally, groups),
        "criteria": [
            {"name": each.name, "type": each.type, **_entry(str(index), sums.tally, groups)}
            for index, each in enumerate(criteria)
        ],
        "groups_left_out": left_out,
    }


def _scored(evaluation: Evaluation) -> Iterator[tuple[str, int, bool | None]]:
    if evaluation.score is not None:
        yield ROWS, round(evaluation.score * SCALE), evaluation.passed
    for index, each in enumerate(evaluation.results):
        if each.score is not None:
            yield str(index), round(each.score * SCALE), each.passed


def _entry(
    place: str, tally: Mapping[str, int], groups: Mapping[str, Mapping[str, list[int]]]
) -> dict[str, Any]:
    n = tally.get(f"{place}:n", 0)
    decided, passed = tally.get(f"{place}:decided", 0), tally.get(f"{place}:passed", 0)
    clusters = list(groups.get(place, {}).values())
    # Rows without a group would be missing from a clustered mean: then it is not one of all rows.
    clustered = bool(clusters) and sum(count for count, _ in clusters) == n
    estimate: Estimate | None = None
    if clustered:
        estimate = clustered_mean_of((count, total) for count, total in clusters)
    elif n:
        estimate = mean_of(n, tally[f"{place}:sum"], tally[f"{place}:squares"])
    unscored = _reasons(place, "unscored", tally)
    skipped = sum(_reasons(place, "skipped", tally).values())
    return {
        "scored": n,
        "mean": None if estimate is None else estimate.mean,
        "standard_error": None if estimate is None else estimate.standard_error,
        "ci95": None if estimate is None else estimate.interval,
        "clusters": len(clusters) if clustered else None,
        "pass_rate": passed / decided if decided else None,
        "pass_rate_ci95": share_of(passed, decided) if decided else None,
        "unscored": _shares(unscored, n + sum(unscored.values()) + skipped),
        "skipped": skipped,
    }


def _shares(reasons: Mapping[str, int], of: int) -> dict[str, dict[str, float]]:
    return {name: {"count": count, "share": count / of} for name, count in reasons.items()}


def _reasons(place: str, status: str, tally: Mapping[str, int]) -> dict[str, int]:
    prefix = f"{place}:{status}:"
    found = {name[len(prefix) :]: count for name, count in tally.items() if name.startswith(prefix)}
    return dict(sorted(found.items()))


def _by_place(groups: Mapping[str, int]) -> dict[str, dict[str, list[int]]]:
    """Criterion to group to [count, sum]."""
    found: dict[str, dict[str, list[int]]] = {}
    for name, value in groups.items():
        place, _, rest = name.partition(":")
        kind, _, group = rest.partition(":")
        if kind:
            pair = found.setdefault(place, {}).setdefault(group, [0, 0])
            pair[kind == "sum"] = value
    return found
