"""Cases and criteria as callers have them, and as the service takes them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Protocol, TypeAlias, runtime_checkable

from assay.client.wire import to_json
from assay.errors import to_error

OneCriterion = str | Mapping[str, Any]
Criteria: TypeAlias = OneCriterion | Sequence[OneCriterion]
"""A rubric as text, a criterion as the API takes it, or several."""
Judge: TypeAlias = str | Mapping[str, Any]
"""The name of a judge, or its specification."""

NAME_CHARS_MAX = 40
NOT_SEVERAL = (str, bytes, Mapping, int, float)
EMPTY_CELLS = frozenset({"NAType", "NaTType"})
CASE_FIELDS = frozenset(
    {"output", "actual_output", "response", "input", "user_input", "context", "reference"}
    | {"retrieval_context", "retrieved_contexts", "expected", "expected_output", "ground_truth"}
    | {"ideal", "target", "tools", "expected_tools", "fields", "sample", "metadata"}
)
"""The fields of a case and their other names."""
SUBJECT = "subject"
REQUEST_FIELDS = CASE_FIELDS | {"criteria", "evaluator", "judge", "timeout_ms", "store", SUBJECT}
ROW_FIELDS = CASE_FIELDS | {"id", "group", SUBJECT}
ITEM_FIELDS = CASE_FIELDS | {"id", "group", "split"}


@runtime_checkable
class PandasFrame(Protocol):
    """As much of a pandas frame as is used."""

    columns: Any

    def to_dict(self, orient: str) -> Any: ...


@runtime_checkable
class PolarsFrame(Protocol):
    """As much of a polars frame as is used."""

    def iter_rows(self, *, named: bool) -> Any: ...


Rows: TypeAlias = Iterable[Mapping[str, Any]] | PandasFrame | PolarsFrame
"""A pandas or polars frame, or mappings, with the fields of a case as columns."""


def records(rows: Rows) -> Iterator[Mapping[str, Any]]:
    """The rows of a frame or an iterable."""
    if isinstance(rows, PolarsFrame):
        return iter(rows.iter_rows(named=True))
    return iter(rows.to_dict("records") if isinstance(rows, PandasFrame) else rows)


def to_case(row: Mapping[str, Any], known: frozenset[str]) -> dict[str, Any]:
    """The fields of a row without empty cells; unknown columns are the case's `fields`."""
    if not isinstance(row, Mapping):
        raise to_error("bad_row", f"A row must be a mapping, not {type(row).__name__}.")
    case: dict[str, Any] = {}
    others: dict[str, Any] = {}
    for name, value in row.items():
        if not _is_missing(value):
            # The subject of a mail is a text, and a column of the caller's own.
            is_known = name in known and (name != SUBJECT or isinstance(value, Mapping))
            (case if is_known else others)[str(name)] = value
    if others:
        fields = case.get("fields", {})
        if not isinstance(fields, Mapping):
            raise to_error("bad_row", "fields must be an object.")
        case["fields"] = {**others, **fields}
    return case


def _is_missing(value: Any) -> bool:
    """Whether a cell of a table is empty: NaN differs from itself, and pandas has its own."""
    is_nan = isinstance(value, float) and value != value  # noqa: PLR0124
    return value is None or is_nan or type(value).__name__ in EMPTY_CELLS


def row_lines(rows: Rows, known: frozenset[str], *, numbered: bool = False) -> Iterator[bytes]:
    """The rows as lines of JSON; if `numbered`, one without an `id` is named by its number."""
    for number, row in enumerate(records(rows), 1):
        name = {"id": f"row-{number}"} if numbered else {}
        yield to_json({**name, **to_case(row, known)}) + b"\n"


def named(criteria: Criteria | None) -> list[OneCriterion] | None:
    """The criteria as a list, where each text becomes a rubric that is named by its first words.

    "Polite." is `polite` in the result, where the service would call it `rubric`.
    """
    if criteria is None:
        return None
    listed: list[Any] = [criteria] if isinstance(criteria, NOT_SEVERAL) else list(criteria)
    taken = {str(one.get("name")) for one in listed if isinstance(one, Mapping)}
    return [_named(one, taken) if isinstance(one, str) else one for one in listed]


def _named(text: str, taken: set[Any]) -> OneCriterion:
    words = re.findall(r"\w+", text.lower())
    stem = "_".join(words)
    while len(stem) > NAME_CHARS_MAX and len(words) > 1:
        words.pop()
        stem = "_".join(words)
    stem = stem[:NAME_CHARS_MAX]
    if not stem:
        return text
    name, count = stem, 1
    while name in taken:
        count += 1
        name = f"{stem}_{count}"
    taken.add(name)
    return {"type": "rubric", "name": name, "rubric": text}
