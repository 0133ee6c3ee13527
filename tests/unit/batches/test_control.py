"""Control sets: when a run is due, what the chart makes of it, and what looking costs."""

import subprocess
import sys

import pytest

from assay.api.calibrations.control import default_worse
from assay.batches.control import ControlSets, extended
from assay.calibration.drift import drift_chart
from assay.catalog.control_sets import HOUR_MS, ControlSet
from assay.domain.errors import StoreUnavailable
from assay.domain.records import RecordsUnavailable
from assay.domain.supervision import Supervisor
from fakes.clock import FakeClock
from fakes.recorded_events import RecordedEvents

START = {"quiet": 0, "cases": 0, "alarm": False}


def control(**fields):
    given = {
        "evaluator": "e@1", "dataset": "d@1", "judge": None, "calibration": "c", "criterion": "x",
        "of": "passed", "labels": {}, "places": [], "rows": 40, "every_h": 24, "certified": 0.1,
        "worse": 0.2, "chart": START,
    }  # fmt: skip
    return ControlSet(**(given | fields))


def run(at_h, revision="a"):
    return {"batch": f"batch_{at_h}", "at": at_h * HOUR_MS, "revision": revision}


@pytest.mark.parametrize(
    ("runs", "at_h", "due"),
    [
        ([], 0, True),
        ([run(0)], 23, False),
        ([run(0)], 24, True),
        ([run(5, "b"), run(0)], 6, False),
        ([run(5, "b"), run(0)], 24, True),
        ([run(5, "b")], 6, True),
    ],
)
def test_each_revision_has_its_run_in_each_period(runs, at_h, due):
    """The first one at once, the same one after `every_h`, whatever others ran in between."""
    assert control(runs=runs).is_due("a", at_h * HOUR_MS) is due


def test_the_chart_names_the_run_in_which_it_left_zero():
    """None while it is at 0; then the first run after that, until it is at 0 again."""
    watched = control()
    for at_h, chart, since in (
        (1, {"quiet": 40, "cases": 40}, None),
        (2, {"quiet": 40, "cases": 80}, 2),
        (3, {"quiet": 40, "cases": 120}, 2),
        (4, {"quiet": 150, "cases": 160}, 4),
        (5, {"quiet": 200, "cases": 200}, None),
    ):
        watched = watched.after(run(at_h), chart)
        assert (watched.since and watched.since["batch"]) == (since and f"batch_{since}")


def test_cases_come_in_a_drawn_order():
    """As many disagreements as certified are no alarm, wherever they stand in the dataset, and the
    same run gives the same chart."""
    from dataclasses import asdict  # noqa: PLC0415

    chart = drift_chart(30.5 / 301, 61 / 301, 1_000 * 300)
    assert chart.extend([True] * 30 + [False] * 270).alarm
    new = asdict(chart)
    assert extended(new, 300, 30, "batch_1") == extended(new, 300, 30, "batch_1")
    assert extended(new, 300, 30, "batch_1") != extended(new, 300, 30, "batch_2")
    alarms = [extended(new, 300, 30, f"batch_{number}")["alarm"] for number in range(100)]
    assert sum(alarms) == 0
    assert extended(new, 300, 150, "batch_1")["alarm"]


@pytest.mark.parametrize(
    ("certified", "worse"), [(0.01, 0.06), (0.1, 0.2), (0.3, 0.6), (0.45, 0.725)]
)
def test_what_counts_as_worse(certified, worse):
    """Twice as many disagreements, but five points more at least, and never all."""
    assert default_worse(certified) == pytest.approx(worse)


def watching(open_stores, *, exist=True):
    clock = FakeClock()
    sets = ControlSets(
        lambda: exist, open_stores, None, None, None, None, None, RecordedEvents(), clock=clock
    )
    return sets, clock


@pytest.mark.parametrize("outage", [RecordsUnavailable("away"), StoreUnavailable("away")])
async def test_an_outage_is_waited_for(outage):
    """About once a minute it is tried again, and nothing is reported."""
    tries, events = 0, RecordedEvents()

    async def open_stores():
        nonlocal tries
        tries += 1
        raise outage

    sets, clock = watching(open_stores)
    async with Supervisor(events, clock) as supervisor:
        supervisor.start("control_sets", sets.run)
        await clock.advance(40)
        assert tries == 0
        await clock.advance(600)
    assert 8 <= tries <= 13
    assert events.events == []


async def test_no_database_is_opened_for_it():
    """Where nobody has used records, a look asks nothing else."""

    async def open_stores():
        raise AssertionError("the records were opened")

    sets, _ = watching(open_stores, exist=False)
    await sets.look()


LOOK = """
import asyncio, sys
from types import SimpleNamespace
from assay.batches.control import ControlSets

class Objects:
    async def of_all(self, *_):
        return []

class Events:
    def emit(self, event):
        print(event)

async def main():
    async def open_stores():
        return SimpleNamespace(objects=Objects())
    await ControlSets(lambda: True, open_stores, *[None] * 5, Events()).look()
    print([name for name in ("numpy", "scipy") if name in sys.modules])

asyncio.run(main())
"""


def test_without_control_sets_numpy_is_not_loaded():
    """A look finds none, says so and is over."""
    done = subprocess.run([sys.executable, "-c", LOOK], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == ["ControlSetsRead(alarms={})", "[]"]
