"""The dashboard: five questions, and every panel answers a part of one."""

import json

from deploy.queries import DASHBOARD, panels

ROWS = [
    "Are callers happy?",
    "Are judges healthy?",
    "What are we waiting for?",
    "What does it cost?",
    "What do users get?",
]


def test_the_five_rows():
    """They are in the order in which an on-call engineer asks."""
    assert [panel["title"] for panel in panels() if panel["type"] == "row"] == ROWS


def test_every_panel_explains_itself():
    """Each has a description, a unit and at least one query, each query a legend."""
    for panel in panels():
        if panel["type"] == "row":
            continue
        assert panel["description"], panel["title"]
        assert panel["fieldConfig"]["defaults"]["unit"]
        assert panel["targets"]
        assert all(target["legendFormat"] for target in panel["targets"])
        assert len({target["refId"] for target in panel["targets"]}) == len(panel["targets"])


def test_panels_do_not_overlap():
    """Ids are unique, and no two panels share a place on the 24 columns."""
    assert len({panel["id"] for panel in panels()}) == len(panels())
    taken: set[tuple[int, int]] = set()
    for panel in panels():
        at = panel["gridPos"]
        assert at["x"] + at["w"] <= 24
        cells = {
            (x, y)
            for x in range(at["x"], at["x"] + at["w"])
            for y in range(at["y"], at["y"] + at["h"])
        }
        assert not cells & taken, panel["title"]
        taken |= cells


def test_it_works_with_any_prometheus_and_namespace():
    """Data source and namespace are variables: no identifier of one installation is in the file."""
    board = json.loads(DASHBOARD.read_text())
    assert [variable["name"] for variable in board["templating"]["list"]] == [
        "datasource",
        "namespace",
    ]
    for panel in panels():
        for target in panel.get("targets", []):
            assert target["datasource"]["uid"] == "${datasource}"
            assert 'namespace="$namespace"' in target["expr"]
