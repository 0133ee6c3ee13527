"""The environment of `assay` as a process of its own."""

import os
from pathlib import Path

SOURCE = Path(__file__).parents[2] / "src"


def environment(**extra):
    kept = {name: value for name, value in os.environ.items() if not name.startswith("ASSAY_")}
    return {**kept, "PYTHONPATH": str(SOURCE), "PYTHONIOENCODING": "utf-8", **extra}
