"""Reads a list of short texts that a model was asked for as one JSON object."""

from __future__ import annotations

from collections.abc import Sequence

from assay.domain.completion import AnswerSchema, Completion, Ending
from assay.domain.errors import AnswerRefused, AnswerTruncated, AnswerUnreadable
from assay.verdicts.reasoning import answer_span
from assay.verdicts.structured import Contradiction, own_object, verdict_in

ITEM_CHARS_MAX = 500
ITEMS = "items"
ITEMS_SCHEMA = AnswerSchema(
    "checklist",
    {
        "type": "object",
        "properties": {ITEMS: {"type": "array", "items": {"type": "string"}}},
        "required": [ITEMS],
        "additionalProperties": False,
    },
)
_FORM = f'with one JSON object and nothing else:\n\n{{"{ITEMS}": ["<item>", "<item>"]}}'
ITEMS_ENDING = Ending(f"Answer {_FORM}", f"Answer again {_FORM}")


def read_items(
    completion: Completion[object], items_max: int, shown: Sequence[str] = ()
) -> tuple[str, ...]:
    """The items in their order, each once; `shown` are the texts of the case, which are no list.

    Raises `AnswerUnreadable`, `AnswerTruncated` or `AnswerRefused`.
    """
    if completion.finish in ("refusal", "content_filter"):
        raise AnswerRefused("The model declined to write a checklist.")
    if completion.finish == "length":
        raise AnswerTruncated("The checklist was cut.")
    start, end = answer_span(completion.text)
    text = completion.text[start:end]
    try:
        found = own_object(text, (ITEMS,))
        given = None if found is None else verdict_in(found.pairs, (ITEMS,))
    except Contradiction:
        raise AnswerUnreadable("The answer gives more than one checklist.") from None
    if found is None or not isinstance(given, list):
        raise AnswerUnreadable("The answer has no checklist.")
    if any(text[found.start : found.end] in case_text for case_text in shown):
        raise AnswerUnreadable("The checklist stands word for word in the material.")
    if not all(type(item) is str and 0 < len(item.strip()) <= ITEM_CHARS_MAX for item in given):
        message = f"Each item must be a text of at most {ITEM_CHARS_MAX} characters."
        raise AnswerUnreadable(message)
    items = tuple({" ".join(item.split()).casefold(): item.strip() for item in given}.values())
    if not items:
        raise AnswerUnreadable("The checklist is empty.")
    if len(items) > items_max:
        raise AnswerUnreadable(f"The checklist has {len(items)} items, of at most {items_max}.")
    return items
