"""Writes docs/hpa.md and its pictures: `python bench/hpa/report.py`."""

from __future__ import annotations

import sys
from pathlib import Path

BENCH = Path(__file__).parents[1]
sys.path.insert(0, str(BENCH))

from hpa.loop import Outcome, run, shipped  # noqa: E402 — the folder must be found first
from hpa.plot import svg  # noqa: E402
from hpa.scenarios import (  # noqa: E402
    OUTAGE,
    QUOTA,
    RAMP,
    SAWTOOTH,
    SCENARIOS,
    mixing_the_waits,
    with_target,
    with_window,
)

DOCS = BENCH.parent / "docs"
TARGETS = (0.5, 0.65, 0.8, 0.9)
WINDOWS_S = (0, 60, 120, 300, 600)

HEAD = """# How the autoscaler behaves

This page is written by `python bench/hpa/report.py`: the documented `autoscaling/v2` algorithm
(`bench/hpa/model.py`, tested on the examples of the Kubernetes documentation), fed with the metrics
of a simulated fleet (`bench/hpa/queueing.py`), under the settings that are shipped in
`deploy/kubernetes/overlays/hpa-prometheus-adapter/autoscalers.yaml`. It is a model, not a
measurement: a pod has 32 slots, a judge takes 1 to 3 s, a pod is ready 20 s after it was asked for,
metrics are scraped every 15 s, averaged over two scrapes, and read every 15 s.

*Flaps* are pods taken away and wanted back within ten minutes. *Refused* are requests that pods
turned away because they had no room in time, *by quota* those that the provider's limit turned
away, *failed* those that a silent provider or a dying pod left without a score; all three are
shares of all that came.
"""

NOTES = {
    "step": """\
Two pods meet the load of ten. New pods need 20 s, and until then a queue grows, so that the
autoscaler asks for the maximum: those in the queue do wait for a local slot. It is empty within
three minutes, and the surplus goes five minutes later. Whoever cannot bear the first minute keeps
more pods as the minimum: no autoscaler is quicker than a pod starts.""",
    "ramp": """\
The pods run ahead of the load all the way; nobody waits for a slot.""",
    "sawtooth": """\
The window of 300 s is longer than a swing, so the pods stay where the highest load wants them.""",
    "quota": """\
100 requests a second meet a quota of 30. The callers who wait for it hold no slot, and the
autoscaler adds what 30 a second need, no more.""",
    "quota-1mb": """\
Callers who wait for the quota hold their bodies meanwhile, and these count. The wait is bounded, so
that they are 300 MB at the most here, spread over the pods: too little to add one.""",
    "outage": """\
Silent calls hold slots for 5 s until the breaker opens; then calls fail at once and the pods empty.
The outage is as long as the window, so some pods go at its end and are wanted back a minute later:
the one case with a flap. A window of 600 s would keep them, at the price in the tables below.""",
    "metric-lost": """\
From minute 14 to 24 nothing is known, and the load falls at 15. The pods stay until the metric is
back, and then go as always.""",
    "half-lost": """\
Silent pods count against any change.""",
    "pod-dies": """\
Its ReplicaSet replaces it; the autoscaler has nothing to do.""",
}


def main() -> None:
    setup = shipped()
    (_, target), _ = setup.metrics
    outcomes = {scenario.name: run(scenario) for scenario in SCENARIOS}
    (DOCS / "hpa").mkdir(exist_ok=True)
    sections = []
    for scenario in SCENARIOS:
        outcome = outcomes[scenario.name]
        picture = svg(scenario.title, outcome.moments, target)
        (DOCS / "hpa" / f"{scenario.name}.svg").write_text(picture)
        sections.append(
            f"## {scenario.title}\n\n![{scenario.title}](hpa/{scenario.name}.svg)\n\n"
            f"{NOTES[scenario.name]}\n"
        )
    page = [HEAD, _overview(outcomes), *sections, _comparisons()]
    (DOCS / "hpa.md").write_text("\n".join(page))


def _overview(outcomes: dict[str, Outcome]) -> str:
    rows = [f"| {scenario.title} | {figures(outcomes[scenario.name])} |" for scenario in SCENARIOS]
    return _table("what happens", rows)


def _comparisons() -> str:
    setup = shipped()
    targets = [
        f"| {value} | {figures(run(RAMP, with_target(setup, value)))} |" for value in TARGETS
    ]
    parts = ["## Why these settings\n\nOther targets, with the slow rise and fall:\n"]
    parts.append(_table("target", targets))
    for scenario in (SAWTOOTH, OUTAGE):
        rows = [
            f"| {value} s | {figures(run(scenario, with_window(setup, value)))} |"
            for value in WINDOWS_S
        ]
        parts.append(f"Other windows on the way down. {scenario.title}:\n")
        parts.append(_table("window", rows))
    mixed = [
        f"| waiting for a slot only, as shipped | {figures(run(QUOTA))} |",
        f"| all who wait | {figures(run(QUOTA, mixing_the_waits(setup)))} |",
    ]
    parts.append("What the metric must not count, with the quota used up:\n")
    parts.append(_table("counted", mixed))
    parts.append("What follows from it: [ADR 20](adr/0020-scaling-on-local-slots.md).\n")
    return "\n".join(parts)


def figures(outcome: Outcome) -> str:
    """One line of the tables, without its name."""
    counts = outcome.counts
    return " | ".join(
        (
            f"{max(outcome.replicas)}",
            f"{outcome.replicas[-1]}",
            f"{outcome.flaps}",
            f"{outcome.pod_minutes:.0f}",
            f"{outcome.wait_p99_s:.1f} s",
            f"{outcome.refused_share:.1%}",
            f"{counts.refused_by_quota / counts.arrived:.0%}",
            f"{counts.failed / counts.arrived:.1%}",
        )
    )


def _table(first: str, rows: list[str]) -> str:
    head = f"| {first} | pods at most | at the end | flaps | pod minutes | p99 wait for a slot "
    return "\n".join(
        [f"{head}| refused | by quota | failed |", "| --- |" + " ---: |" * 8, *rows, ""]
    )


if __name__ == "__main__":
    main()
