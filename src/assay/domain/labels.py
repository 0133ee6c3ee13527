"""What people say of cases, and the port to what keeps it.

Every call raises `RecordsUnavailable` if the database does not answer, and finds only what belongs
to the tenant.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

LABEL_ID_KIND = "label"
"""The first part of a label's id."""
SCORE_MAX = 1e100
"""The largest score that can be compared: the square of a larger one may overflow."""


@dataclass(frozen=True, slots=True)
class HumanLabel:
    """What a person says of a case by one criterion.

    The item is one of a dataset, or of a batch, or a case that was sent; `digest` is the hash of
    its case. One of `passed`, `label`, `score` and `preference` is set. The same annotator's later
    label of the same item and criterion is named by `superseded_by`.
    """

    id: str
    created_ms: int
    digest: str
    criterion: str
    annotator: str
    dataset: str = ""
    batch: str = ""
    item_id: str = ""
    passed: bool | None = None
    label: str | None = None
    score: float | None = None
    preference: str | None = None
    comment: str = ""
    metadata: Mapping[str, Any] = field(default_factory=dict)
    superseded_by: str | None = None
    random_sample: bool = False
    """Whether its giver says that the item was drawn at random."""


class LabelStore(Protocol):
    """Keeps labels; see `HumanLabel`."""

    async def add(self, tenant: str, labels: Sequence[HumanLabel]) -> None:
        """Add all or none; each supersedes the annotator's earlier one of its item."""
        ...

    async def page(
        self,
        tenant: str,
        before: str,
        limit: int,
        *,
        superseded: bool,
        wanted: Mapping[str, str],
    ) -> Sequence[HumanLabel]:
        """Labels that stand, or that are superseded, older than the id `before`, newest first.

        `wanted` are values of their fields, by name.
        """
        ...

    async def delete(self, tenant: str, label_id: str) -> bool:
        """Remove a label; False if there is none."""
        ...
