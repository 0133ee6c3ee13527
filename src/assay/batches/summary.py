"""The sums of a batch: what each row adds, and the summary that follows from them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from assay.batches.statistics import SCALE, Estimate, clustered_mean, mean_estimate, wilson_interval
from assay.criteria.base import Criterion
from assay.domain.batches import RowStatus, Sums
from assay.domain.completion import Usage
from assay.domain.evaluation import Evaluation

ROWS = "rows"
"""The key of sums over whole rows; the sums of a criterion have its index as their key."""
NANO = 1_000_000_000
BINS = 10
"""Of the distribution of scores: tenths, of which the last one holds the score 1."""
GROUPS_LOST = "_"
"""Set to 1 once there are more groups than the store keeps."""


def row_status(evaluation: Evaluation) -> RowStatus:
    """The row's status in its batch."""
    if evaluation.status == "completed":
        return "scored"
    scored = any(result.status == "scored" for result in evaluation.results)
    return "partial" if scored else "unscored"


def row_totals(
    evaluation: Evaluation, generated: Mapping[str, Any] | None = None
) -> dict[str, int]:
    """Cost and usage of the row, with those of its output if that was made for it."""
    usage, cost_usd = evaluation.usage, evaluation.cost_usd
    if generated is not None:
        usage, cost_usd = usage + Usage(**generated["usage"]), cost_usd + generated["cost_usd"]
    return {
        "cost_nano_usd": round(cost_usd * NANO),
        "input_tokens": usage.input_tokens,
        "output_tokens": usage.output_tokens,
        "thinking_tokens": usage.thinking_tokens,
        "cached_tokens": usage.cached_tokens,
        "cache_write_tokens": usage.cache_write_tokens,
        "simulated": int(evaluation.simulated),
    }


def row_tally(evaluation: Evaluation) -> dict[str, int]:
    """What the row adds to the sums of its criteria and of whole rows."""
    sums: dict[str, int] = {}
    for place, score, passed in place_scores(evaluation):
        sums[f"{place}:n"] = 1
        sums[f"{place}:sum"] = score
        sums[f"{place}:squares"] = score * score
        sums[f"{place}:bin:{min(score * BINS // SCALE, BINS - 1)}"] = 1
        if passed is not None:
            sums[f"{place}:decided"] = 1
            sums[f"{place}:passed"] = int(passed)
    for index, result in enumerate(evaluation.results):
        if result.status != "scored":
            sums[f"{index}:{result.status}:{result.reason}"] = 1
    if evaluation.status == "partial" and f"{ROWS}:n" in sums:
        sums[f"{ROWS}:partial"], sums[f"{ROWS}:partial_sum"] = 1, sums[f"{ROWS}:sum"]
    return sums


def row_groups(evaluation: Evaluation, group: str | None) -> dict[str, int]:
    """What the row adds to the sums of its group; empty if it has none."""
    sums: dict[str, int] = {}
    for place, score, _ in place_scores(evaluation) if group is not None else ():
        sums[f"{place}:n:{group}"] = 1
        sums[f"{place}:sum:{group}"] = score
    return sums


def outline(criteria: Sequence[Criterion]) -> list[dict[str, Any]]:
    """What a summary says of the criteria themselves."""
    return [{"name": criterion.name, "type": criterion.type} for criterion in criteria]


def summarize(criteria: Sequence[Mapping[str, Any]], sums: Sums) -> dict[str, Any]:
    """The summary of a batch in the API: rows, then each criterion, given by its `outline`."""
    left_out = bool(sums.groups.get(GROUPS_LOST))
    groups = {} if left_out else _by_place(sums.groups)
    return {
        "rows": _entry(ROWS, sums.tally, groups),
        "criteria": [
            {**criterion, **_entry(str(index), sums.tally, groups)}
            for index, criterion in enumerate(criteria)
        ],
        "groups_left_out": left_out,
    }


def place_scores(evaluation: Evaluation) -> Iterator[tuple[str, int, bool | None]]:
    """Key of the sums, score in units of 1/`SCALE`, and pass or fail, of all that is scored."""
    if evaluation.score is not None:
        yield ROWS, round(evaluation.score * SCALE), evaluation.passed
    for index, result in enumerate(evaluation.results):
        if result.score is not None:
            yield str(index), round(result.score * SCALE), result.passed


def _entry(
    place: str, tally: Mapping[str, int], groups: Mapping[str, Mapping[str, list[int]]]
) -> dict[str, Any]:
    n = tally.get(f"{place}:n", 0)
    decided, passed = tally.get(f"{place}:decided", 0), tally.get(f"{place}:passed", 0)
    clusters = list(groups.get(place, {}).values())
    # A clustered mean leaves out rows without a group, and so is wrong if there are any.
    clustered = bool(clusters) and sum(count for count, _ in clusters) == n
    estimate: Estimate | None = None
    if clustered:
        estimate = clustered_mean((count, total) for count, total in clusters)
    elif n:
        estimate = mean_estimate(n, tally[f"{place}:sum"], tally[f"{place}:squares"])
    unscored = _reasons(place, "unscored", tally)
    skipped = sum(_reasons(place, "skipped", tally).values())
    bins = [tally.get(f"{place}:bin:{number}", 0) for number in range(BINS)]
    return {
        "scored": n,
        "mean": None if estimate is None else estimate.mean,
        "standard_error": None if estimate is None else estimate.standard_error,
        "ci95": None if estimate is None else estimate.interval,
        "clusters": len(clusters) if clustered else None,
        # A batch that began before there were bins has none, or too few.
        "distribution": bins if sum(bins) == n else None,
        "pass_rate": passed / decided if decided else None,
        "pass_rate_ci95": wilson_interval(passed, decided) if decided else None,
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
