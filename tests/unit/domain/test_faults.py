"""Places of faults are a fixed set, because each is a label of a metric."""

import ast
from collections.abc import Iterator
from pathlib import Path

from assay.domain.faults import FAULT_PLACES

SOURCE = Path(__file__).parents[3] / "src" / "assay"
REPORTERS = {"internal_fault", "_report"}
SUPERVISORS = {"supervisor", "_supervisor"}


def places() -> Iterator[str]:
    """The literal places in calls of `internal_fault` and the names of supervised tasks."""
    for file in SOURCE.rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            if not isinstance(node, ast.Call) or not node.args:
                continue
            name = node.func.attr if isinstance(node.func, ast.Attribute) else None
            name = node.func.id if isinstance(node.func, ast.Name) else name
            owner = node.func.value if isinstance(node.func, ast.Attribute) else None
            owner_name = getattr(owner, "attr", getattr(owner, "id", None))
            reports = name in REPORTERS or (name == "start" and owner_name in SUPERVISORS)
            first = node.args[0]
            if reports and isinstance(first, ast.Constant):
                yield str(first.value)


def test_every_place_in_the_source_is_a_label():
    """A place that is missing in the list would count as `other`."""
    found = set(places())
    assert "batch_worker" in found
    assert found <= set(FAULT_PLACES)
