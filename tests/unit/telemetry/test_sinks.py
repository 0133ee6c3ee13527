"""The fan-out of events."""

import pytest
from structlog.testing import capture_logs

from assay.telemetry.sinks import Sinks


class Kept:
    """A sink that keeps what it is given."""

    def __init__(self):
        self.events = []

    def emit(self, event):
        self.events.append(event)


class Failing:
    """A sink that always fails."""

    def emit(self, _event):
        raise RuntimeError("disk full")


def test_every_sink_gets_every_event():
    """Events reach all sinks, in order."""
    one, two = Kept(), Kept()
    sinks = Sinks([one, two])
    sinks.emit("a")
    sinks.emit("b")
    assert one.events == two.events == ["a", "b"]


def test_a_failing_sink_harms_neither_the_work_nor_the_others():
    """What one sink raises stays there, and is logged once for each kind of event."""
    kept = Kept()
    sinks = Sinks([Failing(), kept])
    with capture_logs() as lines:
        for event in ("a", "b", 1):
            sinks.emit(event)
    assert kept.events == ["a", "b", 1]
    assert [line["of"] for line in lines] == ["str", "int"]


def test_cancellation_is_not_swallowed():
    """Only errors stay in a sink: an interrupt passes."""

    class Interrupted:
        def emit(self, _event):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        Sinks([Interrupted()]).emit("a")
