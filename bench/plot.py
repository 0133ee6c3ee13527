"""Draws line charts side by side, as SVG."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass

from matplotlib import rc_context
from matplotlib.figure import Figure

CHART_INCHES = (4.0, 2.7)
LINE = "#b8860b"
STYLE = {
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "svg.fonttype": "none",
    # The same figures give the same file.
    "svg.hashsalt": "assay",
}


@dataclass(frozen=True)
class Series:
    """The points of one chart, with the name of its horizontal axis."""

    axis: str
    points: Sequence[tuple[float, float]]


def plot(title: str, charts: Sequence[Series]) -> str:
    """The charts as one SVG document; `title` names what the vertical axes show."""
    width, height = CHART_INCHES
    with rc_context(STYLE):
        figure = Figure((width * len(charts), height), layout="constrained")
        for axes, chart in zip(
            figure.subplots(1, len(charts), squeeze=False)[0], charts, strict=True
        ):
            axes.plot(*zip(*chart.points, strict=True), marker="o", markersize=4, color=LINE)
            axes.set(xlabel=chart.axis, ylabel=title)
            axes.set_xlim(left=0)
            axes.set_ylim(bottom=0)
            axes.grid(axis="y", alpha=0.3)
        picture = io.StringIO()
        figure.savefig(picture, format="svg", metadata={"Date": None, "Creator": None})
    return picture.getvalue()
