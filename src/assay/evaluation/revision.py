"""The revision of an evaluator: a short hash of everything that can change its verdicts."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cache

from xxhash import xxh3_64_hexdigest

from assay.criteria.base import Criterion
from assay.domain.completion import Caller
from assay.domain.evaluation import JudgeSpec
from assay.domain.policy import Deadline
from assay.domain.ports import Judges
from assay.evaluation.selection import Placed, assign_judges, with_parts
from assay.judging.judge import Assignment
from assay.prompts.templates import templates
from assay.verdicts.reader import READER_VERSION


def revision(criteria: Sequence[Placed], assignments: Mapping[int, Assignment]) -> str:
    """16 hex digits, equal for equal criteria with equal judges, whatever certificate there is."""
    return _hash("\n".join(_parts(criteria, assignments)))


def present_revision(criteria: Sequence[Criterion], judge: JudgeSpec, judges: Judges) -> str:
    """The revision that an evaluation would have now; no call is made.

    Raises `RequestError` if a judge or model is not configured.
    """
    # The number of calls that are allowed changes no verdict.
    assignments = assign_judges(
        criteria, judge, judges, Caller(), Deadline.after(0), calls_max=sys.maxsize
    )
    return revision(with_parts(criteria), assignments)


def _parts(criteria: Sequence[Placed], assignments: Mapping[int, Assignment]) -> Iterator[str]:
    if assignments:
        yield _programs()
    for index, placed in enumerate(criteria):
        # Without a condition a criterion has the revision that it had before there were any.
        unset = {"when"} if placed.criterion.when is None else set()
        yield placed.criterion.model_dump_json(exclude=unset)
        if index in assignments:
            panel = assignments[index].panel
            for part in panel.parts:
                yield repr(replace(part.spec, max_cost_usd=None, cache=False))
                yield from (member.fingerprint for member in part.members)
            if panel.spec.cascade is not None:
                yield f"{panel.spec.cascade.thresholds} {panel.spec.cascade.otherwise}"


@cache
def _programs() -> str:
    """The version of the reader, and a hash of the prompts."""
    return f"{READER_VERSION} {_hash(templates())}"


def _hash(text: str) -> str:
    return xxh3_64_hexdigest(text.encode("utf-8", "surrogatepass"))
