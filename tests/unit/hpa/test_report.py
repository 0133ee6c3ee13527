"""The page and its pictures."""

from pathlib import Path
from xml.etree import ElementTree as ET

from hpa.loop import Moment
from hpa.plot import svg
from hpa.scenarios import SCENARIOS

DOCS = Path(__file__).parents[3] / "docs"


def test_a_picture_is_an_svg_with_every_moment():
    """Well-formed, its title escaped, and the line of the load has a point for each moment."""
    moments = [Moment(15.0 * n, 10.0, 2, 2, 0.5, 0) for n in range(1, 41)]
    root = ET.fromstring(svg("a < b", moments, 0.65))  # noqa: S314 — our own text
    assert root.get("aria-label") == "a < b"
    lines = [each.get("points").split() for each in root.iter() if each.tag.endswith("polyline")]
    assert any(len(points) == len(moments) for points in lines)


def test_the_page_shows_every_scenario():
    """Each has its section and its picture, and no picture is left from a former one."""
    page = (DOCS / "hpa.md").read_text()
    for scenario in SCENARIOS:
        assert f"## {scenario.title}\n\n![{scenario.title}](hpa/{scenario.name}.svg)" in page
    assert {path.stem for path in (DOCS / "hpa").iterdir()} == {each.name for each in SCENARIOS}
