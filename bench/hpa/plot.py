"""One scenario as a small SVG: load and pods over time, and how full the slots are."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from html import escape
from itertools import pairwise

from hpa.loop import MINUTE, Moment

WIDTH, LEFT, RIGHT = 760, 52, 16
TOP, UPPER, LOWER, TURN_PLACEHOLDER = 34, 150, 70, 34
HEIGHT = TOP + UPPER + TURN_PLACEHOLDER + LOWER + 30
LOAD, PODS, READY, FULL, GRID = "#9aa5b1", "#1f6feb", "#54aeff", "#bc4c00", "#e4e8ec"

Point = tuple[float, float]


def svg(title: str, moments: Sequence[Moment], target: float) -> str:
    """The picture as text; `target` is drawn as a dashed line in the lower part."""
    end_min = moments[-1].at_s / MINUTE
    span = WIDTH - LEFT - RIGHT
    top_value = _round_up(max(m.load for m in moments))
    pods_max = _round_up(max(m.replicas for m in moments))
    full_max = max(1.0, min(3.0, max(m.utilization for m in moments)))
    lower_top = TOP + UPPER + TURN_PLACEHOLDER

    def x(at_s: float) -> float:
        return LEFT + span * at_s / MINUTE / end_min

    def upper(value: float, of: float) -> float:
        return TOP + UPPER * (1 - value / of)

    def lower(value: float) -> float:
        return lower_top + LOWER * (1 - min(value, full_max) / full_max)

    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" role="img"',
        f' font-family="sans-serif" font-size="11" aria-label="{escape(title)}">',
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="#fff"/>',
        _text(LEFT, 16, title, "#1f2328", size=13),
        *_minutes(end_min, x),
        _text(LEFT - 6, TOP + 4, f"{pods_max:.0f}", PODS, anchor="end"),
        _text(LEFT - 6, TOP + UPPER, "0", PODS, anchor="end"),
        _line([(x(m.at_s), upper(m.load, top_value)) for m in moments], LOAD),
        _line(_steps([(x(m.at_s), upper(m.ready, pods_max)) for m in moments]), READY, dash="3 2"),
        _line(_steps([(x(m.at_s), upper(m.replicas, pods_max)) for m in moments]), PODS, width=2),
        _line([(LEFT, lower(target)), (WIDTH - RIGHT, lower(target))], FULL, dash="4 4"),
        _line([(x(m.at_s), lower(m.utilization)) for m in moments], FULL),
        _text(LEFT - 6, lower_top + 4, f"{full_max:.1f}", FULL, anchor="end"),
        _text(LEFT - 6, lower_top + LOWER, "0", FULL, anchor="end"),
        _legend(top_value),
        _text(LEFT - 6, HEIGHT - 10, "min", "#57606a", anchor="end"),
        _text(LEFT, lower_top - 6, f"slots in use or asked for; dashed: target {target}", FULL),
        "</svg>",
    ]
    return "\n".join(parts) + "\n"


def _legend(top_value: float) -> str:
    return (
        f'<text x="{WIDTH - RIGHT}" y="16" text-anchor="end">'
        f'<tspan fill="{PODS}">pods wanted</tspan> '
        f'<tspan dx="10" fill="{READY}">pods ready</tspan> '
        f'<tspan dx="10" fill="{LOAD}">load, top = {top_value:.0f} requests/s</tspan></text>'
    )


def _minutes(end_min: float, x: Callable[[float], float]) -> list[str]:
    marks = []
    for minute in range(0, int(end_min) + 1, 10):
        at = x(minute * MINUTE)
        marks.append(_line([(at, TOP), (at, HEIGHT - 26)], GRID))
        marks.append(_text(at, HEIGHT - 10, f"{minute}", "#57606a", anchor="middle"))
    return marks


def _steps(points: Sequence[Point]) -> list[Point]:
    """A value holds until the next one is decided."""
    stepped: list[Point] = []
    for (x0, y0), (x1, _) in pairwise(points):
        stepped += [(x0, y0), (x1, y0)]
    return [*stepped, points[-1]]


def _line(points: Sequence[Point], color: str, width: float = 1.2, dash: str = "") -> str:
    path = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
    dashes = f' stroke-dasharray="{dash}"' if dash else ""
    return (
        f'<polyline points="{path}" fill="none" stroke="{color}" stroke-width="{width}"{dashes}/>'
    )


def _text(x: float, y: float, text: str, color: str, anchor: str = "start", size: int = 11) -> str:
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" fill="{color}" text-anchor="{anchor}" '
        f'font-size="{size}">{escape(text)}</text>'
    )


def _round_up(value: float) -> float:
    """To the next of a few round numbers."""
    return next(n for n in (5, 10, 20, 50, 100, 200, 500, 1000) if n >= value)
