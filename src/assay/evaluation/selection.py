"""Who judges each criterion of a request: looked up before anything is asked."""

from __future__ import annotations

from collections.abc import Sequence

from assay.criteria.base import Criterion, Judged
from assay.domain.errors import FieldError, RequestError
from assay.domain.evaluation import JudgeSpec
from assay.domain.ports import Judges


def judges_of(
    criteria: Sequence[Criterion], judge: JudgeSpec, judges: Judges
) -> dict[int, JudgeSpec]:
    """Who judges, by the place of each judged criterion, where the request's judge is `judge`.

    The request's judge has to be known even where each criterion has its own, or none is judged:
    a name that stands for nothing is a mistake that should be heard.
    Raises `RequestError` with the place of the fault.
    """
    _known(judge, "/judge", judges)
    specs = {}
    for index, criterion in enumerate(criteria):
        if isinstance(criterion, Judged):
            own = "model" if criterion.judge is None else "judge"
            specs[index] = criterion.judged_by(judge)
            if specs[index] is not judge:
                _known(specs[index], f"/criteria/{index}/{own}", judges)
    return specs


def _known(spec: JudgeSpec, place: str, judges: Judges) -> None:
    try:
        judges.select(spec)
    except RequestError as error:
        faults = [FieldError(place, error.message)]
        raise RequestError(error.code, error.message, faults) from None
