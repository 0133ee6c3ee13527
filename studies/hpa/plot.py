"""Draws one scenario as an SVG: load and pods over time, and how full the slots are."""

from __future__ import annotations

import io
from collections.abc import Sequence

from hpa.simulation import MINUTE, Moment
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure

SIZE_INCHES = (8.0, 3.8)
LOAD, PODS, READY, SLOTS = "#9aa5b1", "#1f6feb", "#54aeff", "#bc4c00"
UTILIZATION_SHOWN_MAX = 3.0
STYLE = {
    "font.size": 9,
    "axes.spines.top": False,
    "svg.fonttype": "none",
    # The same figures give the same file.
    "svg.hashsalt": "assay",
}


def svg(title: str, moments: Sequence[Moment], target: float) -> str:
    """The picture as text; `target` is the dashed line in the lower part."""
    with rc_context(STYLE):
        figure = Figure(SIZE_INCHES, layout="constrained")
        above, below = figure.subplots(2, sharex=True, height_ratios=(2, 1))
        above.set_title(title, loc="left")
        _draw_pods(above, moments)
        _draw_slots(below, moments, target)
        below.set_xlabel("minutes")
        below.set_xlim(0, moments[-1].at_s / MINUTE)
        picture = io.StringIO()
        metadata = {"Title": title, "Date": None, "Creator": None}
        figure.savefig(picture, format="svg", metadata=metadata)
    return picture.getvalue()


def _draw_pods(axes: Axes, moments: Sequence[Moment]) -> None:
    minutes = [moment.at_s / MINUTE for moment in moments]
    load_axes = axes.twinx()
    load = load_axes.plot(minutes, [moment.load for moment in moments], color=LOAD, gid="load")
    wanted = axes.step(
        minutes, [moment.replicas for moment in moments], where="post", color=PODS, gid="wanted"
    )
    ready = axes.step(
        minutes, [moment.ready for moment in moments], ":", where="post", color=READY, gid="ready"
    )
    axes.set_ylabel("pods")
    load_axes.set_ylabel("requests/s")
    for axis in (axes, load_axes):
        axis.set_ylim(bottom=0)
    lines = [*wanted, *ready, *load]
    axes.legend(lines, ["pods wanted", "pods ready", "load"], frameon=False, loc="upper right")


def _draw_slots(axes: Axes, moments: Sequence[Moment], target: float) -> None:
    utilization = [moment.utilization for moment in moments]
    axes.plot([moment.at_s / MINUTE for moment in moments], utilization, color=SLOTS)
    axes.axhline(target, color=SLOTS, linestyle="--", linewidth=0.8, label=f"target {target:g}")
    axes.set_ylabel("slots in use\nor asked for")
    axes.set_ylim(0, max(1.0, min(UTILIZATION_SHOWN_MAX, max(utilization))) * 1.05)
    axes.legend(frameon=False, loc="upper right")
