"""Chooses who judges each criterion of a request, before any judge is asked."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from assay.criteria.base import AsksModel, Criterion, Judged
from assay.criteria.composite.compound import Compound, condition_of
from assay.criteria.composite.formula import Formula
from assay.criteria.locations import Location
from assay.domain.cascade import CascadeCertificate
from assay.domain.completion import CallContext, Caller
from assay.domain.errors import FieldError, RequestError
from assay.domain.evaluation import JudgeSpec
from assay.domain.json_pointer import json_pointer
from assay.domain.policy import CostBudget, Deadline
from assay.domain.ports import Judges
from assay.domain.tenants import JUDGE_CALLS_MAX
from assay.judging.judge import Assignment
from assay.judging.voting import Panel

BATCHES_ONLY = "`batch` is for the rows of a batch: send the case to /v1/batches"


@dataclass(frozen=True, slots=True)
class Condition:
    """On what it depends whether a criterion is asked, and the indices of what it names."""

    formula: Formula
    named: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Placed:
    """A criterion, its place in the request, and the indices of its parts by their names.

    All `conditions` have to hold: its own come after those of what it is a part of.
    """

    criterion: Criterion
    location: Location
    parts: Mapping[str, int] = field(default_factory=dict)
    conditions: tuple[Condition, ...] = ()


def with_parts(criteria: Sequence[Criterion]) -> list[Placed]:
    """The criteria in order, and after them the parts of compound ones, and theirs."""
    named = {criterion.name or criterion.type: index for index, criterion in enumerate(criteria)}
    placed = [
        Placed(criterion, ("criteria", index), conditions=_conditions(criterion, named))
        for index, criterion in enumerate(criteria)
    ]
    for index, whole in enumerate(placed):  # it grows while it is read
        compound = whole.criterion
        if isinstance(compound, Compound):
            parts = {name: len(placed) + count for count, name in enumerate(compound.parts)}
            placed[index] = replace(whole, parts=parts)
            at = (*whole.location, compound.parts_field)
            placed += [
                Placed(part, (*at, name), conditions=whole.conditions + _conditions(part, parts))
                for name, part in compound.parts.items()
            ]
    return placed


def _conditions(criterion: Criterion, named: Mapping[str, int]) -> tuple[Condition, ...]:
    formula = condition_of(criterion, named)
    return () if formula is None else (Condition(formula, named),)


def assign_judges(
    criteria: Sequence[Criterion],
    judge: JudgeSpec,
    judges: Judges,
    caller: Caller,
    deadline: Deadline,
    delimiter_key: bytes = b"",
    calls_max: int = JUDGE_CALLS_MAX,
) -> dict[int, Assignment]:
    """The assignment of each judged criterion, by its index in `with_parts`.

    `judge` is the request's own. All calls of the request share one cost budget, except those of a
    criterion whose own judge sets another. Raises `RequestError` with the place of the fault.
    """
    if judge.service == "batch" and caller.deferral is None:
        raise refused("/judge/service", BATCHES_ONLY)
    shared_budget = budget_for(judge)
    assignments = {}
    chosen = judges_of(criteria, judge, judges, calls_max)
    # An input that is judged in parts takes a call for each part, and one for the whole.
    calls_each = calls_max // max(1, calls_of(chosen.values()))
    for index, (criterion, panel) in chosen.items():
        own = isinstance(criterion, Judged) and criterion.has_own_budget
        budget = budget_for(panel.spec) if own else shared_budget
        context = call_context(panel, caller, deadline, budget, delimiter_key)
        name = criterion.name or criterion.type
        shown = name if name == criterion.type else f"{criterion.type}:{name}"
        context = replace(context, parts_max=calls_each - 1, criteria=(shown,))
        thresholds = None if panel.spec.cascade is None else panel.spec.cascade.thresholds
        assignments[index] = Assignment(criterion, panel, context, thresholds=thresholds)
    return assignments


def with_certificate(
    assignments: Mapping[int, Assignment],
    certificate: CascadeCertificate,
    revision: str,
    count: int,
) -> dict[int, Assignment]:
    """The assignments of `count` criteria, of whose cascades those without thresholds get them."""
    certified = dict(assignments)
    for index, assignment in assignments.items():
        name = assignment.criterion.name or assignment.criterion.type
        found = certificate.thresholds.get(name, ()) if index < count else ()
        tiers = assignment.panel.tiers
        fits = tiers and len(found) == len(tiers) and min(found) < math.inf
        if fits and assignment.thresholds is None:
            holds = certificate.revision == revision
            certified[index] = replace(assignment, thresholds=found, certified=holds)
    return certified


def judges_of(
    criteria: Sequence[Criterion],
    judge: JudgeSpec,
    judges: Judges,
    calls_max: int = JUDGE_CALLS_MAX,
) -> dict[int, tuple[AsksModel, Panel]]:
    """The criteria that ask a model, by index in `with_parts`, and whom.

    Each specification is looked up once. The request's judge must be known even if no criterion
    uses it: a misspelt name is an error.
    Raises `RequestError` with the place of the fault.
    """
    panels = {judge: panel_for(judge, "/judge", judges)}
    found = {}
    for index, placed in enumerate(with_parts(criteria)):
        criterion = placed.criterion
        spec = criterion.judged_by(judge) if isinstance(criterion, AsksModel) else None
        if isinstance(criterion, AsksModel) and spec is not None:
            if spec.kind == "chat" and spec.service != judge.service:
                at = json_pointer((*placed.location, "judge", "service"))
                raise refused(at, "can be set for the whole batch alone, in its own judge")
            if spec not in panels:
                given = (one for one in ("judge", "url") if getattr(criterion, one, None))
                pointer = json_pointer((*placed.location, next(given, "model")))
                panels[spec] = panel_for(spec, pointer, judges)
            found[index] = criterion, panels[spec]
    check_calls(calls_of(found.values()), calls_max, "/criteria")
    return found


def calls_of(chosen: Iterable[tuple[AsksModel, Panel]]) -> int:
    """The most judge calls that criteria make for one case."""
    calls = 0
    for criterion, panel in chosen:
        calls += criterion.calls_before
        for part in panel.parts:
            calls += criterion.calls_max(len(part.members), part.spec.samples) * panel.rounds
    return calls


def check_calls(calls: int, calls_max: int, pointer: str) -> None:
    """Refuse a request with more judge calls than it may make; raises `RequestError`."""
    if calls > calls_max:
        message = f"would make {calls} judge calls, of at most {calls_max}: ask for fewer samples"
        raise refused(pointer, message)


def refused(pointer: str, message: str) -> RequestError:
    """The error for one fault of a request."""
    faults = [FieldError(pointer, message)]
    return RequestError("invalid_request", f"{pointer}: {message}.", faults)


def panel_for(spec: JudgeSpec, pointer: str, judges: Judges) -> Panel:
    """Who judges by `spec`; raises `RequestError` that points to where `spec` was given."""
    if spec.cascade is not None:
        tiers = tuple(
            panel_for(tier, f"{pointer}/cascade/tiers/{number}", judges)
            for number, tier in enumerate(spec.cascade.tiers)
        )
        return Panel(spec, tuple(member for tier in tiers for member in tier.members), tiers)
    try:
        return Panel(spec, tuple(judges.panel(spec)))
    except RequestError as error:
        below = error.errors[0].pointer if error.errors else ""
        faults = [FieldError(pointer + below, error.message)]
        raise RequestError(error.code, error.message, faults) from None


def budget_for(spec: JudgeSpec) -> CostBudget | None:
    """A new budget of the size that `spec` gives."""
    return None if spec.max_cost_usd is None else CostBudget(spec.max_cost_usd)


def call_context(
    panel: Panel,
    caller: Caller,
    deadline: Deadline,
    budget: CostBudget | None,
    delimiter_key: bytes,
) -> CallContext:
    """The context of all calls to a panel."""
    return CallContext(
        caller,
        deadline,
        budget=budget,
        cacheable=panel.spec.cache and caller.store,
        delimiter_key=delimiter_key,
    )
