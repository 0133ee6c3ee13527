"""What an erasure removes, and the port to what removes it from the records."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class ErasureTarget:
    """What is to be removed at once: all items with an id, or about a subject.

    An item is about the `subject` of its metadata.
    """

    item_id: str | None = None
    subject: str | None = None

    def covers(self, item_id: object, metadata: object) -> bool:
        """Whether an item with this id and metadata is to be removed."""
        if self.item_id is not None:
            return item_id == self.item_id
        return isinstance(metadata, Mapping) and metadata.get("subject") == self.subject


@dataclass(frozen=True, slots=True)
class Erased:
    """How many items of datasets, labels, and examples of evaluators were removed."""

    items: int = 0
    labels: int = 0
    examples: int = 0


class RecordEraser(Protocol):
    """Removes from the records what an erasure names."""

    async def erase(self, tenant: str, what: ErasureTarget) -> Erased: ...
