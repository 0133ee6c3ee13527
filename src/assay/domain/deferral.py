"""One round of a row whose calls are answered by a provider's batch API."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from assay.domain.events import Event


@dataclass(slots=True)
class Deferral:
    """What a round of evaluation found: the calls that wait, and the events of its results.

    A row is evaluated again once its answers have come, so the events of a round count only if
    nothing waits. After a call of a criterion has to wait, its later calls are not sent: they would
    be made because the answer is missing.
    """

    batch_id: str
    row: str = ""
    resumed: bool = False
    pending: set[str] = field(default_factory=set)
    events: list[Event] = field(default_factory=list)
    _without_answer: set[str] = field(default_factory=set)

    def emit(self, event: Event) -> None:
        """Keep an event until it is known whether the round counts."""
        self.events.append(event)

    def wait(self, key: str, criteria: Iterable[str]) -> None:
        """The call waits, and so does what it was for."""
        self.pending.add(key)
        self._without_answer.update(criteria)

    def follows_from_waiting(self, criteria: Iterable[str]) -> bool:
        """Whether a call that begins now is made for lack of an answer that comes later."""
        return not self._without_answer.isdisjoint(criteria)
