"""What criteria that are made of others share."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping

from assay.criteria.base import Criterion, Finding
from assay.domain.evaluation import CriterionResult


class Compound(Criterion):
    """A criterion whose verdict follows from those of its parts."""

    @property
    @abstractmethod
    def parts(self) -> Mapping[str, Criterion]:
        """The criteria that it is made of, by the names in its field `graders`."""

    @abstractmethod
    def combine(self, results: Mapping[str, CriterionResult]) -> Finding:
        """The finding, where every part is scored; raises `NotApplicable`."""
