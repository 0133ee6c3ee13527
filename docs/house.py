"""Draws the house into docs/architecture.md: the layers of `src/assay`, and what each room holds.

The layers and rules come from the import contracts in pyproject.toml, the contents from the
docstrings of the packages.

Usage: bin/house [--check]
"""

from __future__ import annotations

import ast
import re
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "architecture.md"
GENERATED = re.compile(r"(<!-- house: begin -->\n).*(<!-- house: end -->)", re.DOTALL)


def main() -> None:
    page = PAGE.read_text()
    drawn = GENERATED.sub(lambda found: f"{found[1]}{house()}\n{found[2]}", page)
    if "--check" not in sys.argv:
        PAGE.write_text(drawn)
    elif drawn != page:
        sys.exit("docs/architecture.md does not match the import contracts. Run bin/house.")


def house() -> str:
    """The picture, the table of rooms and the list of rules, as Markdown."""
    config = tomllib.loads((ROOT / "pyproject.toml").read_text())
    contracts = config["tool"]["importlinter"]["contracts"]
    [layered] = [each for each in contracts if each.get("containers") == ["assay"]]
    layers = [re.split(r" [|:] ", layer) for layer in layered["layers"]]
    rules = [f"- {contract['name']}." for contract in contracts if contract is not layered]
    return "\n\n".join((picture(layers), table(layers), "\n".join(rules)))


def picture(layers: list[list[str]]) -> str:
    """One box for each layer, the highest on top."""
    lines = [
        "```mermaid",
        "flowchart TB",
        "  accTitle: The layers of src/assay, the highest on top",
    ]
    for number, rooms in enumerate(layers):
        lines += [f'  subgraph layer{number}[" "]', *(f"    {room}" for room in rooms), "  end"]
    lines.append("  " + " --> ".join(f"layer{number}" for number in range(len(layers))))
    return "\n".join([*lines, "```"])


def table(layers: list[list[str]]) -> str:
    """What each room holds, in the words of its package's docstring."""
    rows = [f"| `{room}/` | {contents(room)} |" for rooms in layers for room in rooms]
    return "\n".join(("| room | contents |", "| --- | --- |", *rows))


def contents(room: str) -> str:
    package = ast.parse((ROOT / "src" / "assay" / room / "__init__.py").read_text())
    return (ast.get_docstring(package) or "").partition("\n")[0]


if __name__ == "__main__":
    main()
