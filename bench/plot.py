"""Draws small line charts as SVG, side by side, without a library."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

WIDTH, HEIGHT, MARGIN = 360, 240, 48
INK, LINE = "#444", "#b8860b"
TICKS = 4


@dataclass(frozen=True)
class Series:
    """The points of one chart, with the name of its horizontal axis."""

    axis: str
    points: Sequence[tuple[float, float]]


def plot(title: str, charts: Sequence[Series]) -> str:
    """The charts as one SVG document."""
    width = WIDTH * len(charts)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{HEIGHT}">',
        f'<g font-family="sans-serif" font-size="11" fill="{INK}">',
    ]
    for number, chart in enumerate(charts):
        parts += [f'<g transform="translate({number * WIDTH} 0)">', *_chart(title, chart), "</g>"]
    return "\n".join([*parts, "</g></svg>\n"])


def _chart(title: str, chart: Series) -> list[str]:
    most_x = max(x for x, _ in chart.points)
    most_y = max(y for _, y in chart.points) * 1.1
    wide, high = WIDTH - 2 * MARGIN, HEIGHT - 2 * MARGIN

    def place(x: float, y: float) -> tuple[float, float]:
        return MARGIN + x / most_x * wide, HEIGHT - MARGIN - y / most_y * high

    parts = [
        _text(MARGIN, 24, "start", title),
        _text(WIDTH / 2, HEIGHT - 10, "middle", chart.axis),
    ]
    for tick in range(TICKS + 1):
        x, y = place(most_x * tick / TICKS, most_y * tick / TICKS)
        parts += [
            f'<line x1="{MARGIN}" y1="{y:.1f}" x2="{WIDTH - MARGIN}" y2="{y:.1f}" stroke="#ddd"/>',
            _text(MARGIN - 6, y + 4, "end", f"{most_y * tick / TICKS:.1f}"),
            _text(x, HEIGHT - MARGIN + 16, "middle", f"{most_x * tick / TICKS:.0f}"),
        ]
    line = " ".join("{:.1f},{:.1f}".format(*place(x, y)) for x, y in chart.points)
    parts.append(f'<polyline points="{line}" fill="none" stroke="{LINE}" stroke-width="2"/>')
    for x, y in chart.points:
        at_x, at_y = place(x, y)
        parts.append(f'<circle cx="{at_x:.1f}" cy="{at_y:.1f}" r="3" fill="{LINE}"/>')
    return parts


def _text(x: float, y: float, anchor: str, text: str) -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{text}</text>'
