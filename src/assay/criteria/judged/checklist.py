"""A checklist: a verdict for each item, and the weighted share of those that are met."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field, field_validator
from pydantic_core import PydanticCustomError

from assay.criteria.base import Finding, Judged, Prose, Question
from assay.criteria.frozen import Frozen
from assay.criteria.judged.primitives import YES_OR_NO
from assay.criteria.registry import criterion
from assay.domain.errors import AnswerUnreadable
from assay.domain.evaluation import Case
from assay.verdicts.reader import Reading

ITEMS_MAX = 32


class Item(Frozen):
    """One requirement on the output."""

    item: Prose
    weight: float = Field(default=1.0, gt=0, le=1_000_000)


@criterion
class Checklist(Judged):
    """A judge's yes or no for each item; the score is the weighted share of those met.

    `value` lists each item with its verdict and the reason for it. If the verdict on one item
    cannot be read, the criterion is unscored: a share of fewer items would be another checklist.
    """

    family: ClassVar[str] = "judged"
    example: ClassVar[dict[str, Any]] = {
        "output": "Dear Ann, your parcel arrives on Monday. Best wishes, Bo",
        "criteria": [
            {
                "type": "checklist",
                "items": ["Names the day", {"item": "Has a greeting", "weight": 2}],
            }
        ],
    }

    type: Literal["checklist"]
    items: Annotated[tuple[Prose | Item, ...], Field(min_length=1, max_length=ITEMS_MAX)] = Field(
        description="The requirements on the output.", json_schema_extra={"uniqueItems": True}
    )
    rubric: Prose | None = Field(default=None, description="Guidance that holds for all items.")

    @field_validator("items")
    @classmethod
    def _items_differ(cls, items: tuple[str | Item, ...]) -> tuple[str | Item, ...]:
        texts = [item if isinstance(item, str) else item.item for item in items]
        if len(set(texts)) < len(texts):
            raise PydanticCustomError("items_alike", "items must be distinct")
        return items

    @property
    def listed(self) -> list[Item]:
        return [Item(item=item) if isinstance(item, str) else item for item in self.items]

    @property
    def keys(self) -> list[str]:
        return [f"item_{number}" for number in range(1, len(self.items) + 1)]

    def question(self, case: Case) -> Question[Finding]:
        question = self.ask(
            case,
            "checklist.v3",
            YES_OR_NO,
            self._finding,
            rubric=self.rubric,
            items=self.listed,
        )
        return replace(question, scales=dict.fromkeys(self.keys, YES_OR_NO))

    def _finding(self, readings: Mapping[str, Reading[Any]]) -> Finding:
        missing = [key for key in self.keys if key not in readings]
        if missing:
            raise AnswerUnreadable(f"There is no verdict on {missing[0]}.")
        verdicts = [
            (item, readings[key].value == "yes", readings[key].explanation)
            for key, item in zip(self.keys, self.listed, strict=True)
        ]
        met = sum(item.weight for item, is_met, _ in verdicts if is_met)
        return Finding(
            min(1.0, met / sum(item.weight for item, _, _ in verdicts)),
            value=[
                {"item": item.item, "met": is_met, "reasoning": why}
                for item, is_met, why in verdicts
            ],
            explanation="\n".join(
                f"{'met' if is_met else 'not met'}: {item.item}" for item, is_met, _ in verdicts
            ),
            read_from=readings[self.keys[0]].excerpted,
        )
