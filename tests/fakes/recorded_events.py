"""An event sink that keeps what it is told."""

from __future__ import annotations

from assay.domain.events import Event


class RecordedEvents:
    """Keeps every event in order."""

    def __init__(self) -> None:
        self.events: list[Event] = []

    def emit(self, event: Event) -> None:
        self.events.append(event)

    def of(self, kind: type) -> list[Event]:
        """The events of one kind."""
        return [event for event in self.events if isinstance(event, kind)]
