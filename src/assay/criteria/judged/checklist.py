"""A checklist: a verdict for each item, and the weighted share of those that are met.

An adaptive one is written by a first call for each input, and judged by a second.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import Field, field_validator, model_validator
from pydantic_core import PydanticCustomError

from assay.criteria.base import Finding, ItemsQuestion, Judged, Prose, Question
from assay.criteria.frozen import Frozen
from assay.criteria.judged.primitives import YES_OR_NO
from assay.criteria.locations import fault_at
from assay.criteria.registry import criterion
from assay.domain.errors import AnswerUnreadable, NotApplicable
from assay.domain.evaluation import Case
from assay.prompts.templates import render
from assay.prompts.untrusted import text_pieces
from assay.verdicts.reader import Reading

ITEMS_MAX = 32
ADAPTIVE_ITEMS_MAX = 8
WRITTEN, JUDGED = "checklist_items.v1", "checklist_adaptive.v1"


class Item(Frozen):
    """One requirement on the output."""

    item: Prose
    weight: float = Field(default=1.0, gt=0, le=1_000_000)


@criterion
class Checklist(Judged):
    """A judge's yes or no for each item; the score is the weighted share of those met.

    `value` lists each item with its verdict and the reason for it. If the verdict on one item
    cannot be read, the criterion is unscored: a share of fewer items would be another checklist.
    With `adaptive`, the judge first writes the items itself, from the input (and the rubric) and
    never from the output. The same input keeps its checklist as long as the cache does. Source:
    Cook et al., "TICKing All the Boxes: Generated Checklists Improve LLM Evaluation and
    Generation", 2024.
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
        default=(),
        description="The requirements on the output; required unless `adaptive`.",
        json_schema_extra={"uniqueItems": True},
    )
    rubric: Prose | None = Field(
        default=None,
        description="Guidance that holds for all items, and by which an adaptive list is written.",
    )
    adaptive: bool = Field(
        default=False, description="Write the items for each input, in a call of its own."
    )
    items_max: int = Field(
        default=ADAPTIVE_ITEMS_MAX,
        ge=1,
        le=ITEMS_MAX,
        description="The most items that are written.",
    )

    @field_validator("items")
    @classmethod
    def _items_differ(cls, items: tuple[str | Item, ...]) -> tuple[str | Item, ...]:
        texts = [item if isinstance(item, str) else item.item for item in items]
        if len(set(texts)) < len(texts):
            raise PydanticCustomError("items_alike", "items must be distinct")
        return items

    @model_validator(mode="after")
    def _given_or_written(self) -> Self:
        if bool(self.items) is self.adaptive:
            message = (
                "must be absent, as the checklist is adaptive"
                if self.adaptive
                else "is required, unless the checklist is adaptive"
            )
            raise fault_at(("items",), PydanticCustomError("one_of", message), self.items)
        return self

    def preparation(self, case: Case) -> ItemsQuestion | None:
        if not self.calls_before:
            return None
        if case.input is None:
            raise NotApplicable("context_missing", "The checklist is written from the input.")
        values = {"rubric": self.rubric, "items_max": self.items_max}
        return ItemsQuestion(
            task=render(WRITTEN, **values),
            content=text_pieces("input", case.input),
            scales={},
            finding=lambda _: (),
            prompt_version=WRITTEN,
            identity=tuple(values.values()),
            items_max=self.items_max,
        )

    def with_items(self, items: Sequence[str]) -> Self:
        return self.model_copy(update={"items": tuple(items)})

    @property
    def calls_before(self) -> int:
        return int(self.adaptive and not self.items)

    @property
    def listed(self) -> list[Item]:
        return [Item(item=item) if isinstance(item, str) else item for item in self.items]

    @property
    def keys(self) -> list[str]:
        return [f"item_{number}" for number in range(1, len(self.items) + 1)]

    def question(self, case: Case) -> Question[Finding]:
        if self.adaptive:
            return self._about_written(case)
        question = self.ask(
            case,
            "checklist.v4",
            YES_OR_NO,
            self._finding,
            rubric=self.rubric,
            items=self.listed,
        )
        return replace(question, scales=dict.fromkeys(self.keys, YES_OR_NO))

    def _about_written(self, case: Case) -> Question[Finding]:
        """The items are shown as the untrusted text that they are: the input may have led them."""
        question = self.ask(
            case, JUDGED, YES_OR_NO, self._finding, rubric=self.rubric, count=len(self.items)
        )
        pieces = [(f"checklist item {n}", item.item) for n, item in enumerate(self.listed, 1)]
        scales = dict.fromkeys(self.keys, YES_OR_NO)
        return replace(question, content=[*question.content, *pieces], scales=scales)

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
