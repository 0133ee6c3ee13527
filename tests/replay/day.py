"""A day of recorded requests: cases with several criteria, and what judges once said to them."""

from __future__ import annotations

import json
import re
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import cycle
from typing import Any

from replay.charging_server import Said
from replay.recordings import DATA, llmbar_casestudy

DEAR, CHEAP = "claude-sonnet-4-5", "gpt-5.6-luna"
"""The models whose prices are charged for GPT-4 and ChatGPT, whose verdicts are recorded."""
RECORDED = {DEAR: "GPT-4", CHEAP: "ChatGPT"}
PROMPTS = ("Vanilla", "Vanilla_1shot", "Reference", "Metrics_Reference")
"""Prompts to which both judges gave a verdict on every pair."""
KINDS = ("Natural", "Adversarial")
"""The two kinds of labelled pairs: as models wrote them, and made to mislead a judge."""
_SECTIONS = re.compile(r"###[A-Z][^\n:]*:\n?")


@dataclass(frozen=True)
class Part:
    """Cases that are judged by the same criteria.

    `recorded` is what the judges said. `people` has the label that people gave to a case, as the
    criteria would say it.
    """

    criteria: Sequence[Mapping[str, Any]]
    rows: list[dict[str, Any]] = field(default_factory=list)
    recorded: dict[tuple[str, str, str, str], list[Said]] = field(default_factory=dict)
    people: dict[str, str] = field(default_factory=dict)


def answers() -> Part:
    """80 questions with the answers of four models each, every one rated from 1 to 5 by GPT-4.

    A case has all that a judge needs: question, reference, rubric and the four answers. It is about
    2,600 tokens long.
    """
    by_question: dict[int, list[dict[str, Any]]] = defaultdict(list)
    for row in json.loads((DATA / "prometheus-vicuna" / "vicuna_eval.json").read_text()):
        by_question[row["idx"]].append(row)
    sources = [row["response_source"] for row in by_question[1]]
    rubric = "[[criterion:{0}]] The answer of {0}, by the rubric in the context."
    part = Part(
        [
            {"type": "score", "name": name, "rubric": rubric.format(name), "min": 1, "max": 5}
            for name in sources
        ]
    )
    for idx, rows in by_question.items():
        shown = []
        for row in rows:
            _, _, question, answer, reference, rules, _ = _SECTIONS.split(row["instruction"])
            shown.append(f"# Answer of {row['response_source']}\n\n{answer.strip()}")
            said = Said(row["gpt4_score"][0], row["gpt4_feedback"][0])
            part.recorded[DEAR, f"v{idx}", row["response_source"], ""] = [said]
        part.rows.append(
            {
                "id": f"v{idx}",
                "input": f"[[replay:v{idx}]] {question.strip()}",
                "context": [rules.strip()],
                "reference": reference.strip(),
                "output": "\n\n".join(shown),
            }
        )
    return part


def one_order(kind: str) -> Part:
    """The pairs of a kind, shown in one order, with four prompts as four criteria.

    A second sample of the cheap judge is its verdict with the next prompt.
    """
    question = "[[criterion:{0}]] Which output follows the instruction better (prompt {0})?"
    part = Part(
        [
            {
                "type": "label",
                "name": name,
                "question": question.format(name),
                "labels": ["1", "2"],
                "passing_labels": ["1"],
            }
            for name in PROMPTS
        ]
    )
    reasons = _reasons()
    for number, vote in votes(kind):
        key = f"p{number}"
        both = f"# Output 1\n\n{vote['output_1']}\n\n# Output 2\n\n{vote['output_2']}"
        part.rows.append({"id": key, "input": f"[[replay:{key}]] {vote['input']}", "output": both})
        part.people[key] = str(vote["label"])
        for name, after in zip(PROMPTS, PROMPTS[1:] + PROMPTS[:1], strict=True):
            for model, prompts in ((DEAR, (name,)), (CHEAP, (name, after))):
                by_prompt = vote["votes"][RECORDED[model]]
                part.recorded[model, key, name, ""] = [
                    Said(by_prompt[prompt][0], next(reasons[model])) for prompt in prompts
                ]
    return part


def both_orders(kind: str) -> Part:
    """The pairs of a kind, compared in both orders with the last prompt.

    A second sample of the cheap judge is its verdict with the prompt before.
    """
    rubric = "[[criterion:better]] Which output follows the instruction better?"
    part = Part([{"type": "pairwise", "name": "better", "rubric": rubric, "tie": False}])
    reasons = _reasons()
    for number, vote in votes(kind):
        key = f"b{number}"
        part.rows.append(
            {
                "id": key,
                "input": f"[[replay:{key}]] {vote['input']}",
                "output": f"[[side:1]] {vote['output_1']}",
                "reference": f"[[side:2]] {vote['output_2']}",
            }
        )
        part.people[key] = "output" if vote["label"] == 1 else "other"
        for order, sides in enumerate(("12", "21")):
            for model, prompts in ((DEAR, PROMPTS[-1:]), (CHEAP, PROMPTS[:-3:-1])):
                by_prompt = vote["votes"][RECORDED[model]]
                part.recorded[model, key, "better", sides] = [
                    Said("ab"[sides.index(by_prompt[prompt][order])], next(reasons[model]))
                    for prompt in prompts
                ]
    return part


def votes(kind: str) -> list[tuple[int, dict[str, Any]]]:
    """The pairs of a kind by their number in the file, with the votes of all recorded judges."""
    lines = (DATA / "llmbar-votes" / "votes.jsonl").read_text().splitlines()
    numbered = enumerate(map(json.loads, lines))
    return [(number, vote) for number, vote in numbered if vote["set"].startswith(kind)]


def _reasons() -> dict[str, Iterator[str]]:
    """What each judge wrote before its verdicts, where it was asked to think first.

    The texts before the votes are not recorded: the judges reason as long as in these.
    """
    return {
        model: cycle([str(each.completion) for each in llmbar_casestudy(f"{judge}.CoT")])
        for model, judge in RECORDED.items()
    }
