"""The page and its pictures."""

from pathlib import Path
from xml.etree import ElementTree as ET

from hpa.plot import svg
from hpa.scenarios import SCENARIOS
from hpa.simulation import Moment

DOCS = Path(__file__).parents[3] / "docs"


def test_a_picture_is_an_svg_with_every_moment():
    """Well-formed, its title escaped, and the line of the load has a point for each moment."""
    moments = [Moment(15.0 * n, 10.0, 2, 2, 0.5, 0) for n in range(1, 41)]
    root = ET.fromstring(svg("a < b", moments, 0.65))  # noqa: S314 — our own text
    assert "a < b" in {element.text for element in root.iter() if element.tag.endswith("text")}
    [load] = [element for element in root.iter() if element.get("id") == "load"]
    assert len(load[0].get("d").split("L")) == len(moments)


def test_the_same_figures_give_the_same_picture():
    """A picture in the repository changes only where its figures do: no date, no random id."""
    moments = [Moment(15.0 * n, 10.0, 2, 2, 0.5, 0) for n in range(1, 41)]
    assert svg("title", moments, 0.65) == svg("title", moments, 0.65)
    assert "date" not in svg("title", moments, 0.65)


def test_the_page_shows_every_scenario():
    """Each has a section and a picture, and there are no other pictures."""
    page = (DOCS / "hpa.md").read_text()
    for scenario in SCENARIOS:
        assert f"## {scenario.title}\n\n![{scenario.title}](hpa/{scenario.name}.svg)" in page
    assert {path.stem for path in (DOCS / "hpa").iterdir()} == {each.name for each in SCENARIOS}
