"""What labels say of the judge of one criterion: all sections of a calibration together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike

from assay.calibration.agreement import (
    Agreement,
    Level,
    human_ceiling,
    label_agreement,
    rating_table,
    score_agreement,
    worst_disagreements,
)
from assay.calibration.cascade import Certificate, certify_cascade
from assay.calibration.figures import Figure, Floats, Integers, group_codes
from assay.calibration.options import CascadeGoal, ReportOptions
from assay.calibration.prediction_powered import DebiasedMean, prediction_powered_mean
from assay.calibration.thresholds import Reliability, Threshold, propose_threshold, reliability

RatingKind = Literal["passed", "label", "score"]
RATING_CELLS_MAX = 20_000_000
"""Annotators × cases; above, how far people agree with each other is not computed."""
_OF_CLASSES = ("accuracy", "kappa", "alpha")
"""Figures that name no class as the positive one."""


@dataclass(frozen=True, slots=True)
class Verdicts:
    """What the judge said of all rows; NaN, None or an empty text is missing.

    `passed` is 0 or 1, `scores` are from 0 to 1, `values` on the criterion's own scale;
    `probabilities` are those of a pass. `groups` are empty for rows that stand alone.
    """

    groups: Sequence[str]
    models: Sequence[str]
    passed: ArrayLike
    labels: Sequence[str | None]
    scores: ArrayLike
    values: ArrayLike
    probabilities: ArrayLike


@dataclass(slots=True)
class Ratings:
    """What people say of some rows, one entry for each label; `random` rows were drawn as such."""

    rows: list[int] = field(default_factory=list)
    annotators: list[str] = field(default_factory=list)
    values: list[float | str] = field(default_factory=list)
    random: list[bool] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class LabelReport:
    """What labels of one kind say; figures of each judge model where several served."""

    of: RatingKind
    statements: tuple[str, ...]
    agreement: Agreement
    by_model: Mapping[str, Agreement]
    people: Mapping[str, Figure]
    threshold: Threshold | None
    reliability: Reliability | None
    debiased: DebiasedMean | None
    names: tuple[str, ...]
    """The classes of labels, by the numbers that figures have for them."""
    certificate: Certificate | None
    disagreements: tuple[tuple[int, float | str, float | str], ...]
    """The row, the judge's verdict and the people's, worst first."""


def report(
    verdicts: Verdicts,
    ratings: Mapping[RatingKind, Ratings],
    options: ReportOptions,
    goal: CascadeGoal | None = None,
) -> list[LabelReport]:
    """A report for each kind of label that there is.

    Where several annotators rated a row, people say what most of them say, or their mean score. A
    tie counts as missing and is told, and so does what an annotator says in two ways.
    """
    codes = _groups(verdicts.groups)
    return [_report(kind, verdicts, codes, given, options, goal) for kind, given in ratings.items()]


def _report(
    kind: RatingKind,
    verdicts: Verdicts,
    codes: Integers,
    ratings: Ratings,
    options: ReportOptions,
    goal: CascadeGoal | None,
) -> LabelReport:
    names = tuple(sorted({str(value) for value in ratings.values})) if kind == "label" else ()
    if names:
        names = tuple(sorted({*names, *filter(None, verdicts.labels)}))
    people, table, statements = _people(kind, names, ratings, len(codes))
    judge = _judge(kind, names, verdicts)
    models = np.asarray(verdicts.models, dtype=str)
    served = [model for model in np.unique(models).tolist() if model]
    passes = kind == "passed"
    worst = worst_disagreements(judge, people, options.disagreements_max)
    shown = (lambda code: names[int(code)]) if names else float
    return LabelReport(
        of=kind,
        statements=statements,
        agreement=_agreement(kind, names, judge, people, codes, options),
        by_model={
            model: _agreement(
                kind, names, np.where(models == model, judge, np.nan), people, codes, options
            )
            for model in (served if len(served) > 1 else ())
        },
        people=_ceiling(kind, table, codes[np.flatnonzero(_rated(ratings, len(codes)))], options),
        threshold=_threshold(verdicts, people, codes, options) if passes else None,
        reliability=reliability(verdicts.probabilities, people, seed=options.seed)
        if passes
        else None,
        names=names,
        debiased=None if names else _debiased(judge, people, codes, ratings, options),
        certificate=None
        if goal is None
        else _certificate(kind, names, people, codes, goal, options.seed),
        disagreements=tuple((int(row), shown(judge[row]), shown(people[row])) for row in worst),
    )


def _groups(groups: Sequence[str]) -> Integers:
    """Rows without a group are groups of their own."""
    alone = (group or f"\0{row}" for row, group in enumerate(groups))
    return group_codes(list(alone) if any(groups) else None, len(groups))


def _rated(ratings: Ratings, rows: int) -> np.ndarray:
    return np.bincount(np.asarray(ratings.rows, dtype=np.int64), minlength=rows) > 0


def _judge(kind: RatingKind, names: Sequence[str], verdicts: Verdicts) -> Floats:
    if kind == "label":
        code = {name: float(place) for place, name in enumerate(names)}
        return np.array([code.get(label or "", np.nan) for label in verdicts.labels])
    return np.asarray(verdicts.passed if kind == "passed" else verdicts.values, dtype=np.float64)


def _people(
    kind: RatingKind, names: Sequence[str], ratings: Ratings, rows: int
) -> tuple[Floats, Floats, tuple[str, ...]]:
    """What people say of each row, and each annotator's ratings of the rows that have some."""
    code = {name: float(place) for place, name in enumerate(names)}
    values = [code[str(value)] if names else float(value) for value in ratings.values]
    table, contradicted = rating_table(ratings.rows, ratings.annotators, values)
    given = (~np.isnan(table)).sum(axis=0)
    with np.errstate(invalid="ignore"):
        if kind == "score":
            said = np.nansum(table, axis=0) / np.where(given > 0, given, np.nan)
        else:
            votes = np.stack([(table == one).sum(axis=0) for one in range(max(len(names), 2))])
            most = votes.max(axis=0)
            alone = (votes == most).sum(axis=0) == 1
            said = np.where(alone & (given > 0), votes.argmax(axis=0), np.nan)
    people = np.full(rows, np.nan)
    people[_rated(ratings, rows)] = said
    tied = int(((given > 0) & np.isnan(said)).sum())
    told = {
        f"{tied} rows are left out: their annotators are evenly divided.": tied,
        f"{contradicted} times one annotator said two things of the same case: neither counts.":
            contradicted,
    }  # fmt: skip
    return people, table, tuple(text for text, count in told.items() if count)


def _agreement(
    kind: RatingKind,
    names: Sequence[str],
    judge: Floats,
    people: Floats,
    codes: Integers,
    options: ReportOptions,
) -> Agreement:
    measure = score_agreement if kind == "score" else label_agreement
    found = measure(judge, people, codes, confidence=options.confidence, seed=options.seed)
    if not names:
        return found
    figures = {name: found.figures[name] for name in _OF_CLASSES if name in found.figures}
    return replace(found, figures=figures)


def _ceiling(
    kind: RatingKind, table: Floats, codes: Integers, options: ReportOptions
) -> Mapping[str, Figure]:
    if table.size > RATING_CELLS_MAX:
        return {}
    level: Level = "interval" if kind == "score" else "nominal"
    confidence, seed = options.confidence, options.seed
    return human_ceiling(
        table, group_codes(codes, len(codes)), level=level, confidence=confidence, seed=seed
    )


def _threshold(
    verdicts: Verdicts, people: Floats, codes: Integers, options: ReportOptions
) -> Threshold:
    return propose_threshold(
        verdicts.scores, people, codes, precision_min=options.precision_min,
        confidence=options.confidence, seed=options.seed,
    )  # fmt: skip


def _debiased(
    judge: Floats, people: Floats, codes: Integers, ratings: Ratings, options: ReportOptions
) -> DebiasedMean:
    """With the labels of the draw, else with those whose giver says that they are a sample."""
    labelled = ~np.isnan(people)
    counted = np.zeros(len(people), dtype=bool)
    probabilities = None
    if options.drawn is None:
        counted[
            [row for row, random in zip(ratings.rows, ratings.random, strict=True) if random]
        ] = True
    else:
        probabilities = np.ones(len(people))
        probabilities[list(options.drawn)] = list(options.drawn.values())
        counted[list(options.drawn)] = True
    left_out = int((labelled & ~counted).sum())
    skipped = 0 if options.drawn is None else int((counted & ~labelled).sum())
    mean = prediction_powered_mean(
        np.where(counted, people, np.nan),
        judge,
        codes,
        probabilities=probabilities,
        confidence=options.confidence,
    )
    told = {
        f"{left_out} labels are left out: nothing says that they are a random sample.": left_out,
        f"{skipped} drawn rows have no label yet, or were skipped, which biases the mean.": skipped,
    }  # fmt: skip
    return replace(mean, statements=(*(text for text, n in told.items() if n), *mean.statements))


def _certificate(
    kind: RatingKind,
    names: Sequence[str],
    people: Floats,
    codes: Integers,
    goal: CascadeGoal,
    seed: int,
) -> Certificate:
    if kind == "score":
        said = "A certificate needs labels of pass and fail or of a class, not scores."
        return Certificate(goal.alpha, goal.delta, None, said, 0)
    code: Mapping[object, float] = {name: float(place) for place, name in enumerate(names)}
    code = code or {False: 0.0, True: 1.0}
    verdicts = np.full((len(goal.tiers), len(people)), np.nan)
    sure = np.full_like(verdicts, np.nan)
    for number, tier in enumerate(goal.tiers):
        for row, verdict in (tier.labels if names else tier.passed).items():
            verdicts[number, row] = code.get(verdict, np.nan)
            sure[number, row] = tier.confidences[row] or 0.0
    return certify_cascade(
        list(verdicts),
        list(sure),
        people,
        [tier.cost_usd for tier in goal.tiers],
        codes,
        alpha=goal.alpha,
        delta=goal.delta,
        unsure_cost=goal.unsure_cost_usd,
        attempts=goal.attempts,
        seed=seed,
    )
