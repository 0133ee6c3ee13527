"""Metrics with labels of bounded size: a value that is not known at start-up becomes `other`."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, product
from typing import Any, Generic, TypeVar, cast

from prometheus_client import Counter, Gauge, Histogram

from assay.domain.models import Model
from assay.domain.trace_context import CURRENT

OTHER = "other"

Exemplar = Callable[[], dict[str, str] | None]
"""The labels that lead from a measurement to its trace."""

Values = tuple[str, ...]
Metric = TypeVar("Metric", Counter, Gauge, Histogram)


@dataclass(frozen=True, slots=True)
class LabelUniverse:
    """The values of labels that the configuration decides.

    `fallbacks` are the pairs (from model id, to model id) that the configured judges can take.
    """

    criteria: Sequence[str] = ()
    models: Sequence[Model] = ()
    fallbacks: Sequence[tuple[str, str]] = ()


class Labels(dict[object, Values]):
    """Labels that have one key together: their values by known key; any other key gives `other`.

    `start` are the values exported at 0 before anything happens; by default, all known ones.
    """

    def __init__(
        self, names: Values, known: Mapping[Any, Values], start: Iterable[Values] | None = None
    ) -> None:
        super().__init__(known)
        self.names = names
        self.start = list(known.values() if start is None else start)

    def __missing__(self, key: object) -> Values:
        return (OTHER,) * len(self.names)

    @classmethod
    def learned(cls, name: str, most: int) -> Labels:
        """One label, whose first `most` values are learned as they come."""
        return _Learned(name, most)

    def with_other(self) -> Labels:
        """The same, with `other` exported from the start: for values that can change."""
        return Labels(self.names, self, [*self.start, self[OTHER]])


class _Learned(Labels):
    def __init__(self, name: str, most: int) -> None:
        super().__init__((name,), {}, [(OTHER,)])
        self._most = most

    def __missing__(self, key: object) -> Values:
        if len(self) >= self._most:
            return super().__missing__(key)
        self[key] = (str(key),)
        return self[key]


def one_of(name: str, values: Iterable[str]) -> Labels:
    """One label, whose values are its keys."""
    return Labels((name,), {value: (value,) for value in values})


def untraced() -> None:
    """No trace to lead to."""


def trace_exemplar() -> dict[str, str] | None:
    """The current trace; None where it is not kept."""
    trace = CURRENT.get()
    if trace is None or not trace.sampled:
        return None
    return {"trace_id": trace.trace_id, "span_id": trace.span_id}


class Family(Generic[Metric]):
    """The series of one metric: called with a key for each of its `Labels`, it returns one."""

    def __init__(self, metric: Metric, labels: Sequence[Labels]) -> None:
        self._metric: Counter | Gauge | Histogram = metric
        self._labels = labels
        self._series: dict[Values, Metric] = {}
        for start in product(*(part.start for part in labels)):
            self._find(tuple(chain.from_iterable(start)))

    def __call__(self, *keys: object) -> Metric:
        values: Values = ()
        for labels, key in zip(self._labels, keys, strict=True):
            values += labels[key]
        return self._series.get(values) or self._find(values)

    def _find(self, values: Values) -> Metric:
        """Look a series up in the client, which is slow, and remember it."""
        metric = self._metric.labels(*values) if values else self._metric
        self._series[values] = cast("Metric", metric)
        return self._series[values]
