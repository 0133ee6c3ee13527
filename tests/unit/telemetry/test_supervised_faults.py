"""A background task that fails leaves a log line and a count, and runs again."""

import asyncio

from structlog.testing import capture_logs

from assay.domain.supervision import Supervisor
from assay.telemetry.labels import LabelUniverse
from assay.telemetry.logging import EventLog
from assay.telemetry.metrics import Metrics
from assay.telemetry.scraped_gauges import poll
from assay.telemetry.sinks import Sinks


async def test_a_failing_task_is_logged_counted_and_restarted():
    """The polling of gauges raises once: the fault is visible, and the next run works."""
    metrics = Metrics(LabelUniverse(), "1.2.3")
    refreshed = asyncio.Event()
    calls = 0

    async def refresh():
        nonlocal calls
        calls += 1
        if calls == 1:
            raise KeyError("a bug")
        refreshed.set()

    with capture_logs() as lines:
        supervisor = Supervisor(Sinks([metrics, EventLog()]))
        supervisor.start("scraped_gauges", lambda task: poll([refresh], task))
        await asyncio.wait_for(refreshed.wait(), 10)
        await supervisor.stop()
    [line] = lines
    assert (line["log_level"], line["event"]) == ("error", "internal_fault")
    assert (line["where"], line["error"]) == ("scraped_gauges", "KeyError")
    labels = {"where": "scraped_gauges"}
    assert metrics.registry.get_sample_value("assay_internal_faults_total", labels) == 1
