"""Calibrations and draws as documents, from the results of a batch and their labels.

All of it computes and blocks: it runs in a thread. The statistics are loaded at the first use.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Any

from assay.calibration.options import CascadeGoal, ReportOptions, Tier
from assay.catalog.certificates import thresholds_to_json
from assay.catalog.judged_labels import CriterionVerdicts, JudgedBatch

if TYPE_CHECKING:
    from assay.calibration.figures import Figure
    from assay.calibration.report import LabelReport, RatingKind, Ratings

NO_LABELS = "No label of these cases by this criterion counts, so nothing can be said."
NO_CASCADE = "No cascade judged these rows, so that there is nothing to certify."
NOT_ALL_TIERS = (
    "Some labelled rows did not come to every tier, and so cannot certify other thresholds: use a "
    "batch of a version of the evaluator that has neither thresholds nor a certificate."
)
SEVERAL_REVISIONS = (
    "The rows were judged by {} revisions of the evaluator: the figures are of their mix."
)


def calibrated(
    judged: JudgedBatch, options: ReportOptions, goal: CascadeGoal | None = None
) -> dict[str, Any]:
    """The figures of each criterion; rows that were drawn or disagreed on go by their places."""
    several = len(judged.revisions)
    if options.drawn is not None:
        drawn_at = options.drawn
        rows = {row: drawn_at[at] for row, at in enumerate(judged.places) if at in drawn_at}
        options = replace(options, drawn=rows)
    return {
        "rows": len(judged.item_ids),
        "revisions": judged.revisions,
        "statements": [SEVERAL_REVISIONS.format(several)] if several > 1 else [],
        "criteria": [
            _criterion(name, verdicts, judged, options, goal)
            for name, verdicts in judged.criteria.items()
        ],
    }


def label_report(
    calibration: Mapping[str, Any], criterion: str, kinds: Sequence[str] = ("passed", "label")
) -> Mapping[str, Any] | None:
    """The criterion's report of the kinds of labels, that of most rows if there are several."""
    (found,) = (one for one in calibration["criteria"] if one["criterion"] == criterion)
    reports = [one for one in found["reports"] if one["of"] in kinds]
    return max(reports, key=lambda one: disagreements(one)[0], default=None)


def disagreements(report: Mapping[str, Any]) -> tuple[int, int]:
    """The rows that judge and people both have a verdict on, and how many of them differ."""
    confusion = report["agreement"]["confusion"]
    rows = sum(map(sum, confusion))
    return rows, rows - sum(counts[place] for place, counts in enumerate(confusion))


def _criterion(
    name: str,
    verdicts: CriterionVerdicts,
    judged: JudgedBatch,
    options: ReportOptions,
    wanted: CascadeGoal | None,
) -> dict[str, Any]:
    from assay.calibration import report as statistics  # noqa: PLC0415  # numpy, for those who use it

    ratings = _ratings(verdicts)
    given = statistics.Verdicts(
        judged.groups, verdicts.models, verdicts.passed, verdicts.labels, verdicts.scores,
        verdicts.values, verdicts.probabilities,
    )  # fmt: skip
    goal, missing = (None, "") if wanted is None else _with_tiers(wanted, verdicts)
    found = statistics.report(given, ratings, options, goal)
    return {
        "criterion": name,
        "labels": sum(len(one.rows) for one in ratings.values()),
        "statements": ([] if found else [NO_LABELS]) + ([missing] if found and missing else []),
        "flip_rate": asdict(_flip_rate(verdicts, judged, options))
        if verdicts.is_pairwise
        else None,
        "reports": [_shown(one, judged) for one in found],
    }


def _flip_rate(verdicts: CriterionVerdicts, judged: JudgedBatch, options: ReportOptions) -> Figure:
    from assay.calibration.agreement import flip_rate  # noqa: PLC0415

    groups = [group or f"\0{row}" for row, group in enumerate(judged.groups)]
    return flip_rate(
        verdicts.straight, verdicts.swapped, groups,
        confidence=options.confidence, seed=options.seed,
    )  # fmt: skip


def _ratings(verdicts: CriterionVerdicts) -> Mapping[RatingKind, Ratings]:
    """The labels by what they say: pass or fail, a class, or a score."""
    from assay.calibration.report import Ratings  # noqa: PLC0415

    found: dict[RatingKind, Ratings] = {}
    for row, label in verdicts.human:
        kinds: dict[RatingKind, bool | str | float | None] = {
            "passed": label.passed, "label": label.label, "score": label.score,
        }  # fmt: skip
        for kind, value in kinds.items():
            if value is not None:
                ratings = found.setdefault(kind, Ratings())
                ratings.rows.append(row)
                ratings.annotators.append(label.annotator)
                ratings.values.append(value)
                ratings.random.append(label.random_sample)
    return found


def _with_tiers(goal: CascadeGoal, verdicts: CriterionVerdicts) -> tuple[CascadeGoal | None, str]:
    """The goal with the tiers as the labelled rows show them, or why they certify nothing."""
    if not verdicts.cascades:
        return None, NO_CASCADE
    if not all(map(_is_whole, verdicts.cascades.values())):
        return None, NOT_ALL_TIERS
    rows = {row: cascade["tiers"] for row, cascade in verdicts.cascades.items()}
    count = max(map(len, rows.values()))
    tiers = [
        Tier(
            passed={row: found[number]["passed"] for row, found in rows.items()},
            labels={row: found[number]["label"] for row, found in rows.items()},
            confidences={row: found[number]["confidence"] for row, found in rows.items()},
            cost_usd=math.fsum(found[number]["cost_usd"] for found in rows.values()) / len(rows),
        )
        for number in range(count)
    ]
    return replace(goal, tiers=tiers), ""


def _is_whole(cascade: Mapping[str, Any]) -> bool:
    """Whether every tier was asked, because none was sure enough or there were no thresholds."""
    asked = (one["score"] is not None or one["reason"] is not None for one in cascade["tiers"])
    return cascade["tier"] is None and all(asked)


def _shown(report: LabelReport, judged: JudgedBatch) -> dict[str, Any]:
    document = asdict(report)
    names = document.pop("names")
    agreements = [document["agreement"], *document["by_model"].values()]
    for agreement in agreements if names else ():
        agreement["classes"] = [names[int(code)] for code in agreement["classes"]]
    certificate = document["certificate"]
    if certificate is not None and certificate["thresholds"] is not None:
        certificate["thresholds"] = thresholds_to_json(certificate["thresholds"])
    document["disagreements"] = [
        {"row": judged.places[row], "judge": judge, "people": people}
        for row, judge, people in report.disagreements
    ]
    return document


def drawn(
    judged: JudgedBatch,
    criterion: str,
    *,
    labels: float | None,
    half_width: float | None,
    confidence: float,
    floor: float,
    seed: int,
) -> dict[str, Any]:
    """Rows to label, with their probabilities, and the plan that says how many they should be."""
    import numpy as np  # noqa: PLC0415

    from assay.calibration.draws import draw_rows, plan_labels  # noqa: PLC0415
    from assay.calibration.figures import LABELS_MIN  # noqa: PLC0415

    verdicts = judged.criteria[criterion]
    there = [row for row, id_ in enumerate(judged.item_ids) if id_]  # others were erased
    rows = len(there)
    plan = None
    if half_width is not None:
        people = {row: one.passed for row, one in verdicts.human if one.passed is not None}
        pilot = [row for row in people if not math.isnan(verdicts.passed[row])]
        said = np.array([float(bool(people[row])) for row in pilot])
        judge = np.array([verdicts.passed[row] for row in pilot])
        known = len(pilot) >= LABELS_MIN and np.ptp(said) > 0
        correlation = 0.0
        if known and np.ptp(judge) > 0:
            correlation = float(np.corrcoef(said, judge)[0, 1])
        deviation = float(said.std(ddof=1)) if known else 0.5
        plan = plan_labels(
            half_width, rows=rows, deviation=deviation, correlation=correlation,
            confidence=confidence,
        )  # fmt: skip
        labels = plan.labels or rows
    spreads = [verdicts.spreads[row] for row in there]
    draw = draw_rows(spreads, min(labels or rows, rows), seed, floor=floor)
    return {
        "rows": rows,
        "seed": seed,
        "floor": floor,
        "plan": plan and asdict(plan),
        "drawn": [[judged.places[there[row]], float(draw.probabilities[row])] for row in draw.rows],
    }
