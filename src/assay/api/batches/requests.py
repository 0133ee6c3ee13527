"""The request for a batch, and its rows."""

from __future__ import annotations

from typing import Annotated, Any, Self

from pydantic import (
    Field,
    StrictBool,
    StringConstraints,
    WrapValidator,
    model_validator,
)
from pydantic_core import PydanticCustomError

from assay.api.requests import CaseFields, CriteriaFields, Metadata, StoreField, present
from assay.batches.webhook_field import WebhookField
from assay.catalog.names import REFERENCE_PATTERN
from assay.criteria.base import Frozen, JudgeField
from assay.criteria.locations import fault_at
from assay.domain.records import ItemFilter
from assay.judging.generation import Generation

ITEMS_MAX = 1_000
"""Rows in the request itself; upload more of them."""
ITEM_ID_CHARS_MAX = 256
GROUP_CHARS_MAX = 200
NAME_CHARS_MAX = 200


def _identifier(value: Any) -> Any:
    """An integer may be an id as well as a text."""
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else value


ItemId = Annotated[
    str,
    StringConstraints(min_length=1, max_length=ITEM_ID_CHARS_MAX),
    WrapValidator(lambda value, check: check(_identifier(value))),
]


class DatasetFilter(Frozen):
    """Items are taken that have all of this."""

    split: str | None = None
    group: str | None = None
    metadata: dict[str, str | float | bool] = Field(default={}, max_length=16)

    def to_filter(self) -> ItemFilter:
        """The domain's value."""
        return ItemFilter(split=self.split, group=self.group, metadata=self.metadata)


ALL = DatasetFilter()


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
        return self


class BatchRow(CaseFields):
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
        return present(fields)
