"""The page of criteria is the catalogue, and its recipe for a new one works.

`ASSAY_RENEW_GOLDEN=1 pytest tests/docs/test_criteria_page.py` writes the tables anew.
"""

import json
import os
import re
import tomllib
from itertools import groupby
from pathlib import Path

from assay.criteria import CRITERIA
from assay.criteria.catalogue import entry
from assay.criteria.judged.ready_made import Recipe, made

PAGE = Path(__file__).parents[2] / "docs" / "criteria.md"
MARK = re.compile(r"(<!-- criteria: begin -->\n).*(<!-- criteria: end -->)", re.DOTALL)
FAMILIES = {
    "text": "Text",
    "format": "Format",
    "similarity": "Similarity to a reference",
    "retrieval": "Retrieval metrics",
    "tools": "Tools and trajectories",
    "program": "Programs and formulas",
    "judged": "Judged: primitives",
    "quality": "Judged: quality",
    "grounding": "Judged: retrieval-augmented answers",
    "safety": "Judged: safety (1 is always the clean end)",
    "conversation": "Judged: conversation",
    "agent": "Judged: agents",
}
COMMON = {"type", "name", "weight", "threshold", "required", "negate", "when", "judge"}


def catalogue() -> str:
    """A section for each family, and in it one for each criterion."""
    rows = sorted(map(entry, CRITERIA), key=lambda row: list(FAMILIES).index(row["family"]))
    parts = [f"{len(rows)} criteria."]
    for family, members in groupby(rows, key=lambda row: row["family"]):
        parts.append(f"## {FAMILIES[family]}")
        parts += [section(row) for row in members]
    return "\n\n".join(parts) + "\n"


def section(row: dict) -> str:
    """What the catalogue says of one criterion."""
    facts = [f"- Scores: {row['scale']}. Passes from {row['default_threshold']:g}."]
    if row["needs"]:
        facts.append("- Needs: " + ", ".join(f"`{need}`" for need in row["needs"]) + ".")
    fields = [name for name in row["schema"]["properties"] if name not in COMMON]
    if fields:
        facts.append("- Fields: " + ", ".join(f"`{name}`" for name in fields) + ".")
    if row["levels"]:
        facts += [f"  - {each['label']}: {each['description']}" for each in row["levels"]]
    text = re.sub(r"^Args:.*", "", row["description"], flags=re.DOTALL)
    shown = json.dumps(row["example"], ensure_ascii=False)
    return f"### `{row['type']}`\n\n{text}\n\n" + "\n".join(facts) + f"\n\n```json\n{shown}\n```"


def test_the_page_is_the_catalogue():
    """A criterion that is added, changed or taken away shows on the page."""
    page = PAGE.read_text()
    renewed = MARK.sub(lambda found: found[1] + catalogue() + found[2], page)
    if os.environ.get("ASSAY_RENEW_GOLDEN"):
        PAGE.write_text(renewed)
    assert PAGE.read_text() == renewed


def test_the_recipe_on_the_page_makes_a_criterion():
    """The entry that the page shows is sound as it stands."""
    [block] = re.findall(r"```toml\n(.*?)```", PAGE.read_text(), re.DOTALL)
    [(name, fields)] = tomllib.loads(block).items()
    cls = made(name, "quality", Recipe.model_validate(fields))
    assert cls.model_validate({"type": name}).passing_score() == fields["threshold"]
    assert name not in CRITERIA
