"""The readers on what real judges wrote: recorded answers with their known verdicts."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from assay.criteria import parse_criteria
from assay.criteria.base import Judged
from assay.domain.completion import Completion
from assay.domain.evaluation import Case

CHECKOUT = Path(__file__).parents[3]
DATA = Path(os.environ.get("ASSAY_DATA") or CHECKOUT.parent / "shared" / "data")
CASE_STUDY_JUDGES = ("GPT-4", "ChatGPT", "LLaMA2", "PaLM2", "Falcon")

pytestmark = [
    pytest.mark.data,
    pytest.mark.skipif(not DATA.is_dir(), reason=f"no recorded judge data in {DATA}"),
]


def judged(criterion: dict[str, Any]) -> Judged:
    [parsed] = parse_criteria([criterion])
    assert isinstance(parsed, Judged)
    return parsed


def verdict(criterion: Judged, text: str) -> Any:
    """The value that the criterion reads from a judge's text."""
    return criterion.question(Case("x")).read(Completion(text, "stop", "p", "m")).value


def feedbacks() -> Iterator[tuple[str, int]]:
    rows = json.loads((DATA / "prometheus-vicuna" / "vicuna_eval.json").read_text())
    for row in rows:
        yield from zip(row["gpt4_feedback"], row["gpt4_score"], strict=True)


@pytest.mark.parametrize(
    "form",
    ["Feedback: {} [RESULT] {}", "{}\nScore: {}", "{}\n\n**Rating**: {}/5", "{}\n{}"],
)
def test_every_recorded_feedback_gives_its_recorded_score(form: str) -> None:
    """960 feedbacks of GPT-4, in each form that judges use, give the recorded integer."""
    criterion = judged({"type": "score", "rubric": "r", "min": 1, "max": 5})
    recorded = list(feedbacks())
    assert len(recorded) == 960
    wrong = [
        (value, text[-80:])
        for text, value in recorded
        if verdict(criterion, form.format(text, value)) != value
    ]
    assert wrong == []


def completions(judge: str, prompt: str) -> Iterator[tuple[str, str]]:
    """Each recorded answer with the label of the recorded winner.

    The winner names the output as the data set has it; with the order swapped, the first
    output was shown as Output (b).
    """
    path = DATA / "llmbar-casestudy" / f"{judge}.{prompt}.result.json"
    for row in json.loads(path.read_text()):
        for order, result in row["results"][0].items():
            first = (result["winner"] == "1") is not order.endswith("True")
            yield result["completion"][0], "Output (a)" if first else "Output (b)"


@pytest.mark.parametrize("prompt", ["CoT", "Vanilla"])
@pytest.mark.parametrize("judge", CASE_STUDY_JUDGES)
def test_every_recorded_comparison_gives_its_recorded_winner(judge: str, prompt: str) -> None:
    """108 answers of each judge, long free text or bare, give the recorded winner."""
    labels = ["Output (a)", "Output (b)"]
    criterion = judged(
        {"type": "label", "question": "q", "labels": labels, "passing_labels": labels[:1]}
    )
    recorded = list(completions(judge, prompt))
    assert len(recorded) == 108
    wrong = [
        (winner, text[-200:]) for text, winner in recorded if verdict(criterion, text) != winner
    ]
    assert wrong == []
