"""Writes docs/hpa.md and its pictures: `python -m hpa.report` in the folder `studies`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from hpa.plot import svg
from hpa.scenarios import (
    OUTAGE,
    QUOTA,
    RAMP,
    SAWTOOTH,
    SCENARIOS,
    mixing_the_waits,
    with_target,
    with_window,
)
from hpa.simulation import Outcome, Scenario, Setup, run, shipped

DOCS = Path(__file__).parents[2] / "docs"
TARGETS = (0.5, 0.65, 0.8, 0.9)
WINDOWS_S = (0, 60, 120, 300, 600)
SEEDS = (1, 2, 3)
"""Each figure is the range over these runs."""

HEAD = """# How the autoscaler behaves

This page simulates the autoscaler with the shipped settings
(`deploy/kubernetes/overlays/hpa-prometheus-adapter/autoscalers.yaml`) in nine situations. It is
a model, not a measurement. `python -m hpa.report`, run in `studies/`, writes the page:

- `studies/hpa/autoscaler.py` is the documented `autoscaling/v2` algorithm, tested on the
  examples of the Kubernetes documentation.
- `studies/hpa/fleet.py` simulates the pods. A pod has 32 slots and is ready 20 s after it was
  requested; a judge takes 1 to 3 s.
- Metrics are scraped every 15 s, averaged over two scrapes, and read every 15 to 16 s: the
  controller is never quite on time. Each figure is the range over three runs, which differ in
  the requests, in how late each decision is, and in how old its metrics are.

In the tables, *flaps* are pods that were removed and requested again within ten minutes.
*Refused*, *by quota* and *failed* are shares of all requests: refused by pods that had no room
in time, refused because of the provider's limit, and left without a score by a silent provider
or a dying pod.
"""

NOTES = {
    "step": """\
Two pods meet ten times their load. New pods need 20 s, and until then a queue grows. Requests
in the queue wait for a local slot, so the autoscaler asks for the maximum. The queue is empty
within three minutes, and the surplus pods go five minutes later. No autoscaler is faster than
the start of a pod: if the first minute matters, raise the minimum.""",
    "ramp": """\
The pods stay ahead of the load all the way, and no request waits for a slot.""",
    "sawtooth": """\
The window of 300 s is longer than one swing, so the pods stay at what the highest load needs.
Where the highest metrics fall between two decisions, a pod goes and is requested again.""",
    "quota": """\
100 requests a second meet a quota of 30. Requests that wait for quota hold no slot, so the
autoscaler adds only the pods that 30 requests a second need.""",
    "quota-1mb": """\
Requests that wait for quota hold their bodies, and these count. The wait is bounded, so they
hold at most 300 MB here, spread over the pods: too little to add a pod.""",
    "outage": """\
Silent calls hold slots for 5 s until the breaker opens; then calls fail at once and the pods
empty. The outage is as long as the window, so some pods go at its end and are requested again a
minute later. A window of 600 s would avoid this, at the price shown in the tables below.""",
    "metric-lost": """\
From minute 14 to 24 there is no metric, and at minute 15 the load falls. The pods stay until
the metric is back, and then go as usual.""",
    "half-lost": """\
Pods without a metric count against any change, so nothing changes.""",
    "pod-dies": """\
Its ReplicaSet replaces it, and the autoscaler has nothing to do.""",
}


def main() -> None:
    setup = shipped()
    (_, target), _ = setup.metrics
    outcomes = {scenario.name: runs(scenario) for scenario in SCENARIOS}
    (DOCS / "hpa").mkdir(exist_ok=True)
    sections = []
    for scenario in SCENARIOS:
        picture = svg(scenario.title, outcomes[scenario.name][0].moments, target)
        (DOCS / "hpa" / f"{scenario.name}.svg").write_text(picture)
        sections.append(
            f"## {scenario.title}\n\n![{scenario.title}](hpa/{scenario.name}.svg)\n\n"
            f"{NOTES[scenario.name]}\n"
        )
    page = [HEAD, _overview(outcomes), *sections, _comparisons()]
    (DOCS / "hpa.md").write_text("\n".join(page))


def runs(scenario: Scenario, setup: Setup | None = None) -> list[Outcome]:
    """The outcomes of the scenario, one for each seed."""
    return [run(scenario, setup, seed) for seed in SEEDS]


def _overview(outcomes: dict[str, list[Outcome]]) -> str:
    rows = [f"| {scenario.title} | {figures(outcomes[scenario.name])} |" for scenario in SCENARIOS]
    return _table("scenario", rows)


def _comparisons() -> str:
    setup = shipped()
    targets = [
        f"| {value} | {figures(runs(RAMP, with_target(setup, value)))} |" for value in TARGETS
    ]
    parts = ["## Why these settings\n\nOther targets, for a slow rise and fall of the load:\n"]
    parts.append(_table("target", targets))
    for scenario in (SAWTOOTH, OUTAGE):
        rows = [
            f"| {value} s | {figures(runs(scenario, with_window(setup, value)))} |"
            for value in WINDOWS_S
        ]
        parts.append(f"Other scale-down windows. {scenario.title}:\n")
        parts.append(_table("window", rows))
    mixed = [
        f"| waiting for a slot (as shipped) | {figures(runs(QUOTA))} |",
        f"| waiting for a slot or for quota | {figures(runs(QUOTA, mixing_the_waits(setup)))} |",
    ]
    parts.append("What the metric counts, while the quota is used up:\n")
    parts.append(_table("counted", mixed))
    parts.append("The decision that follows: [ADR 20](adr/0020-scaling-on-local-slots.md).\n")
    return "\n".join(parts)


def figures(outcomes: Sequence[Outcome]) -> str:
    """One row of the tables, without its first column."""
    columns: tuple[tuple[str, Callable[[Outcome], float]], ...] = (
        ("{}", lambda outcome: max(outcome.replicas)),
        ("{}", lambda outcome: outcome.replicas[-1]),
        ("{}", lambda outcome: outcome.flaps),
        ("{:.0f}", lambda outcome: outcome.pod_minutes),
        ("{:.1f} s", lambda outcome: outcome.wait_p99_s),
        ("{:.1%}", lambda outcome: outcome.refused_share),
        ("{:.0%}", lambda outcome: outcome.counts.refused_by_quota / outcome.counts.arrived),
        ("{:.1%}", lambda outcome: outcome.counts.failed / outcome.counts.arrived),
    )
    return " | ".join(_span(form, sorted(map(figure, outcomes))) for form, figure in columns)


def _span(form: str, values: Sequence[float]) -> str:
    """The least and the greatest value, or the one that both are."""
    least, greatest = form.format(values[0]), form.format(values[-1])
    return least if least == greatest else f"{least} to {greatest}"


def _table(first: str, rows: list[str]) -> str:
    head = f"| {first} | most pods | pods at the end | flaps | pod minutes | p99 wait for a slot "
    return "\n".join(
        [f"{head}| refused | by quota | failed |", "| --- |" + " ---: |" * 8, *rows, ""]
    )


if __name__ == "__main__":
    main()
