"""The request for a batch, and its rows."""

from __future__ import annotations

import secrets
from typing import Annotated, Any, Self

from pydantic import Field, StrictBool, StringConstraints, WrapValidator, model_validator
from pydantic_core import PydanticCustomError

from assay.api.requests import (
    CaseFields,
    CriteriaFields,
    Metadata,
    StoreField,
    SubjectField,
    present,
)
from assay.batches.webhook_field import WebhookField
from assay.catalog.names import REFERENCE_PATTERN
from assay.criteria.frozen import Frozen
from assay.criteria.judge import JudgeField
from assay.criteria.locations import fault_at, require_one
from assay.domain.records import ItemFilter
from assay.judging.generation import Generation

ITEMS_MAX = 1_000
"""Rows in the request itself; upload more of them."""
ITEM_ID_CHARS_MAX = 256
GROUP_CHARS_MAX = 200
NAME_CHARS_MAX = 200
GATES_MAX = 16
SEED_MAX = 2**32 - 1


def _identifier(value: Any) -> Any:
    """An integer may be an id as well as a text."""
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else value


Bound = Annotated[float, Field(gt=0, le=1)]
ItemId = Annotated[
    str,
    StringConstraints(min_length=1, max_length=ITEM_ID_CHARS_MAX),
    WrapValidator(lambda value, check: check(_identifier(value))),
]


class DatasetFilter(Frozen):
    """Items are taken that have all of this."""

    split: str | None = None
    group: str | None = None
    metadata: dict[str, str | int | float | bool] = Field(default={}, max_length=16)

    def to_filter(self) -> ItemFilter:
        """The domain's value."""
        return ItemFilter(split=self.split, group=self.group, metadata=self.metadata)


ALL = DatasetFilter()


class GateField(Frozen):
    """What the mean over all rows has to reach: a score or a pass rate."""

    criterion: str | None = Field(
        default=None, description="Name of a criterion; without it, the evaluation as a whole."
    )
    min_score: Bound | None = Field(default=None, description="The lowest mean score.")
    min_pass_rate: Bound | None = Field(default=None, description="The lowest share that passes.")

    @model_validator(mode="after")
    def _has_one_bound(self) -> Self:
        require_one(self, "min_score", "min_pass_rate")
        return self


class StopField(Frozen):
    """Ends the batch once its gates are decided."""

    alpha: float = Field(
        default=0.05, gt=0, lt=1, description="The largest probability of a wrong verdict."
    )
    seed: int = Field(
        default_factory=lambda: secrets.randbelow(SEED_MAX + 1),
        ge=0,
        le=SEED_MAX,
        description="Determines the random order of the rows. Default: drawn by the service.",
    )


class BatchRequest(CriteriaFields, StoreField):
    """What to judge the rows by, the webhook to call, and the rows if there are few."""

    judge: JudgeField | None = Field(
        default=None, description="Who judges, unless a criterion names its own judge."
    )
    name: Annotated[str, StringConstraints(min_length=1, max_length=NAME_CHARS_MAX)] | None = Field(
        default=None, description="A name for people. A batch with one becomes a record."
    )
    dataset: Annotated[str, Field(pattern=f"^{REFERENCE_PATTERN}$")] | None = Field(
        default=None,
        description="The dataset whose items are the rows: `name` is its newest version, `name@3` "
        "its third. The batch then starts at once.",
    )
    filter: DatasetFilter = Field(default=ALL, description="Which items of the dataset.")
    generate: Generation | None = Field(
        default=None,
        description="Makes the output of each item of the dataset.",
    )
    webhook: WebhookField | None = Field(default=None, description="Called when the batch ends.")
    gates: Annotated[list[GateField], Field(max_length=GATES_MAX)] = Field(
        default=[], description="What the batch has to reach; it shows the verdict on each."
    )
    stop_when_certain: StopField | None = Field(
        default=None, description="Judge rows in random order, and end once the gates are decided."
    )
    metadata: Metadata = Field(default={}, description="Returned unchanged, at most 16 KB.")
    items: Annotated[list[dict[str, Any]], Field(max_length=ITEMS_MAX)] = Field(
        default=[], description="Rows to judge; the batch then starts at once."
    )
    start: StrictBool = Field(
        default=True, description="With `items`: false leaves the batch open for more rows."
    )

    @model_validator(mode="after")
    def _has_one_source(self) -> Self:
        wrong = PydanticCustomError("dataset_missing", "needs a dataset")
        at = {"generate": self.generate is not None, "filter": self.filter != ALL}
        if self.dataset is not None:
            wrong = PydanticCustomError("two_sources", "cannot be given with a dataset")
            at = {"items": bool(self.items), "start": not self.start}
        for name, is_given in at.items():
            if is_given:
                raise fault_at((name,), wrong, None)
        if self.stop_when_certain is not None and not self.gates:
            fault = PydanticCustomError("gates_missing", "needs gates")
            raise fault_at(("stop_when_certain",), fault, None)
        return self


class BatchRow(SubjectField, CaseFields):
    """One row: a case with its id."""

    id: ItemId
    group: Annotated[str, StringConstraints(min_length=1, max_length=GROUP_CHARS_MAX)] | None = (
        Field(
            default=None,
            description="Groups similar rows, such as answers to one question: the summary's "
            "confidence intervals allow for it.",
        )
    )

    def document(self) -> dict[str, Any]:
        """The row as it is stored: fields by their own names, without empty ones."""
        fields = {name: getattr(self, name) for name in type(self).model_fields if name != "id"}
        if self.subject is not None:
            fields["subject"] = self.subject.model_dump(exclude_none=True)
        return present(fields)
