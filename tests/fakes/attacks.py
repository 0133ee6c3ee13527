"""Measures the signs of injection on recorded attacks and on ordinary texts.

`python -m fakes.attacks` prints the report that docs/attacks.md holds.
"""

from __future__ import annotations

import json
import os
import re
import tomllib
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from assay.domain.evaluation import Case
from assay.screening import scan

ROOT = Path(__file__).parents[2]
ATTACKS = ROOT / "tests" / "attacks"
DATA = Path(os.environ.get("ASSAY_DATA") or ROOT.parent / "shared" / "data")


@dataclass(frozen=True)
class Attack:
    """One text that tries to sway a judge; `held_out` ones were not tuned on."""

    id: str
    kind: str
    field: str
    text: str
    held_out: bool

    def case(self) -> Case:
        if self.field == "context":
            return Case("Paris.", input="What is the capital?", context=(self.text,))
        if self.field == "reference":
            return Case("Paris.", input="What is the capital?", reference=(self.text,))
        return Case(self.text, input="What is the capital of France?")


def attacks() -> list[Attack]:
    """All attacks of the suite."""
    found = []
    for file in sorted(ATTACKS.glob("*.toml")):
        for kind, entries in tomllib.loads(file.read_text()).items():
            found += [
                Attack(
                    f"{file.stem}/{kind}/{number}",
                    kind,
                    entry.get("field", "output"),
                    entry["text"],
                    file.stem == "held_out",
                )
                for number, entry in enumerate(entries, 1)
            ]
    return found


def ordinary() -> Iterator[str]:
    """Every distinct text of the recorded data sets: what honest people and models wrote."""
    return distinct(_texts())


def explanations() -> Iterator[str]:
    """Every distinct verdict of the recorded judges: honest, and close to what a forger writes."""
    return distinct(_verdicts())


def distinct(texts: Iterable[Any]) -> Iterator[str]:
    return iter(dict.fromkeys(text for text in texts if isinstance(text, str) and text))


def _texts() -> Iterator[Any]:
    for name in ("llmbar-faireval", "llmbar-casestudy"):
        for row in _rows(f"{name}/dataset.json"):
            yield from (row["output_1"], row["output_2"], row["input"])
    for row in _rows("pandalm/testset-v1.json"):
        yield from (row["response1"], row["response2"], row["instruction"], row["input"])
    for row in _rows("prometheus-vicuna/vicuna_eval.json"):
        yield from SECTION.findall(row["instruction"])
    for row in _rows("alpacaeval-alpaca7b/annotations.json"):
        yield from (row["output_1"], row["output_2"], row["instruction"])


def _verdicts() -> Iterator[Any]:
    for row in _rows("prometheus-vicuna/vicuna_eval.json"):
        yield from row["gpt4_feedback"]
    for file in sorted(DATA.glob("llmbar-*/*.result.json")):
        for row in json.loads(file.read_text()):
            yield from _completions(row["results"])


def _completions(results: Any) -> Iterator[Any]:
    """The judge's words in a result of LLMBar, however deep it nests them."""
    if isinstance(results, list):
        for result in results:
            yield from _completions(result)
    elif isinstance(results, dict):
        texts = results.get("completion", [])
        yield from texts if isinstance(texts, list) else [texts]
        yield from _completions([part for key, part in results.items() if key != "completion"])


SECTION = re.compile(
    r"###(?:The instruction to evaluate|Response to evaluate|Reference Answer[^:]*):\n"
    r"(.*?)(?=\n###|\Z)",
    re.DOTALL,
)


def _rows(path: str) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = json.loads((DATA / path).read_text())
    return rows


def caught(attack: Attack) -> bool:
    return bool(scan(attack.case()))


def report() -> str:
    """Shares of attacks caught by kind, and of ordinary texts flagged, as Markdown."""
    counts: dict[str, list[int]] = defaultdict(lambda: [0, 0, 0, 0])
    for attack in attacks():
        place = 2 if attack.held_out else 0
        for row in (counts[attack.kind], counts["all"]):
            row[place] += caught(attack)
            row[place + 1] += 1
    lines = ["| kind | tuned on | held out |", "| --- | --- | --- |"]
    for kind, (hit, of, held_hit, held_of) in sorted(
        counts.items(), key=lambda each: (each[0] == "all", each[0])
    ):
        lines.append(f"| {kind} | {share(hit, of)} | {share(held_hit, held_of)} |")
    written, judged = list(ordinary()), list(explanations())
    rows = (
        ("outputs, instructions and inputs", written),
        ("judges' explanations", judged),
        ("all", list(distinct(written + judged))),
    )
    lines += ["", "| ordinary texts | flagged |", "| --- | --- |"]
    for name, texts in rows:
        flagged = sum(bool(scan(Case(text))) for text in texts)
        lines.append(f"| {name} | {share(flagged, len(texts))} |")
    return "\n".join(lines)


def share(part: int, whole: int) -> str:
    return f"{part} of {whole} ({part / whole:.2%})" if whole else "none"


if __name__ == "__main__":
    print(report())  # noqa: T201 - the report is what the command is for
