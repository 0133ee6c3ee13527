"""The recorded judge data that `ASSAY_DATA` names, in the form in which it is replayed."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
DATA = Path(os.environ.get("ASSAY_DATA", ROOT.parent / "shared" / "data"))


@dataclass(frozen=True)
class Recording:
    """One recorded verdict: a request for the service, the judge's words, the recorded result."""

    key: str
    request: dict[str, Any]
    completion: str
    expected: str | int | None
    """None: the completion states no verdict."""


def prometheus_vicuna() -> Iterator[Recording]:
    """320 cases with three GPT-4 feedbacks each; the verdict is an integer from 1 to 5."""
    for number, item in enumerate(_read("prometheus-vicuna/vicuna_eval.json")):
        verdicts = zip(item["gpt4_feedback"], item["gpt4_score"], strict=True)
        for sample, (feedback, score) in enumerate(verdicts):
            key = f"prometheus/{number}/{sample}"
            request = {
                "input": f"[[replay:{key}]]\n{item['instruction']}",
                "output": "The response to evaluate stands in the input.",
                "criteria": [
                    {"type": "score", "rubric": "The rubric of the input.", "min": 1, "max": 5}
                ],
            }
            yield Recording(key, request, f"Feedback: {feedback} [RESULT] {score}", int(score))


def llmbar_casestudy(judge: str) -> Iterator[Recording]:
    """54 pairs judged in both orders; the verdict is the better one, as shown to the judge."""
    for number, item in enumerate(_read(f"llmbar-casestudy/{judge}.result.json")):
        for order, verdict in item["results"][0].items():
            swapped = order == "swap = True"
            first, second = item["output_1"], item["output_2"]
            if swapped:
                first, second = second, first
            key = f"{judge}/{number}/{'swapped' if swapped else 'straight'}"
            request = {
                "input": f"[[replay:{key}]]\n{item['input']}",
                "output": f"Output (a): {first}\n\nOutput (b): {second}",
                "criteria": [
                    {
                        "type": "label",
                        "question": "Which output is better?",
                        "labels": ["Output (a)", "Output (b)"],
                        "passing_labels": ["Output (a)"],
                    }
                ],
            }
            shown_first = (verdict["winner"] == "1") != swapped
            expected = "Output (a)" if shown_first else "Output (b)"
            yield Recording(key, request, verdict["completion"][0], expected)


def without_verdict(recordings: Iterable[Recording]) -> Iterator[Recording]:
    """The same completions with every sentence cut that prefers one output to the other."""
    for each in recordings:
        sentences = re.split(r"(?<=[.!?])\s+", each.completion)
        kept = " ".join(text for text in sentences if not re.search("better|correct answer", text))
        yield replace(each, completion=kept, expected=None)


def _read(name: str) -> Any:
    return json.loads((DATA / name).read_text())
