"""The recorded judge data that `ASSAY_DATA` names, in the form in which it is replayed."""

from __future__ import annotations

import json
import math
import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
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


@dataclass(frozen=True)
class Pair:
    """A recorded comparison in both orders, with the human label and the published figures."""

    request: dict[str, Any]
    completions: dict[str, str]
    label: str
    """The output, a or b, that people preferred."""


FAIREVAL = tuple(
    f"{judge}.{prompt}"
    for judge in ("GPT-4", "ChatGPT")
    for prompt in ("Vanilla_NoRules", "Metrics_Reference")
)


def llmbar_faireval(source: str) -> Iterator[Pair]:
    """66 pairs; a completion is recorded for each order, in the data's own words "Output (a)"."""
    for number, item in enumerate(_read(f"llmbar-faireval/{source}.result.json")):
        key = f"{source}/{number}"
        verdicts = next(each for each in item["results"] if isinstance(each, dict))
        yield Pair(
            {
                "input": f"[[replay:{key}]]\n{item['input']}",
                "output_a": f"[[replay-side:1]]{item['output_1']}",
                "output_b": f"[[replay-side:2]]{item['output_2']}",
                "criteria": "Which output follows the instruction better?",
            },
            {
                f"{key}/12": verdicts["swap = False"]["completion"][0],
                f"{key}/21": verdicts["swap = True"]["completion"][0],
            },
            "a" if str(item["label"]) == "1" else "b",
        )


def published(source: str) -> dict[str, float]:
    """The published shares of a faireval judge, in per cent."""
    figures = _read(f"llmbar-faireval/{source}.statistics.json")
    return {
        name: float(figures[name].rpartition("= ")[2].rstrip("%"))
        for name in ("correct_False", "correct_True", "correct_average", "equal")
    }


@dataclass(frozen=True)
class Weighed:
    """A recorded preference: a request, and the token that was answered with its logprobs."""

    key: str
    request: dict[str, Any]
    choice: dict[str, Any] | None
    """None: both outputs are the same text, and no judge was asked."""
    expected: float


def alpacaeval() -> Iterator[Weighed]:
    """805 pairs of alpaca-7b (the output) and a reference model; one order was judged of each.

    The judge was to answer m where the first output shown is better, M where the second is. Which
    was shown first is not recorded: it follows from the recorded preference, which one of the
    two orders gives and the other does not.
    """
    for number, item in enumerate(_read("alpacaeval-alpaca7b/annotations.json")):
        key, expected = f"alpaca/{number}", item["preference"] - 1
        raw = item["raw_completion"]
        straight = raw is None or abs(_share_of_m(raw) - expected) < 1e-6
        request = {
            "input": f"[[replay:{key}]]\n{item['instruction']}",
            "output": item["output_2"],
            "criteria": [
                {
                    "type": "pairwise",
                    "rubric": "Which output is the better answer to the instruction?",
                    "against": item["output_1"],
                    "order": "output_first" if straight else "other_first",
                    "labels": ["m", "M"],
                    "tie": False,
                    "reasoning": False,
                }
            ],
        }
        yield Weighed(key, request, raw and _choice(raw), expected)


def _share_of_m(raw: dict[str, Any]) -> float:
    top = raw["logprobs"]["content"][0]["top_logprobs"]
    masses = {each["token"]: math.exp(each["logprob"]) for each in top}
    return masses.get("m", 0.0) / (masses.get("m", 0.0) + masses.get("M", 0.0))


def _choice(raw: dict[str, Any]) -> dict[str, Any]:
    """The recorded choice in the form in which the API gives it."""
    message = {"role": "assistant", "content": raw["message"]["content"]}
    kept = {name: raw[name] for name in ("finish_reason", "logprobs")}
    return {"index": 0, "message": message, **kept}


def prometheus_samples() -> Iterator[tuple[str, dict[str, Any], list[str], list[int]]]:
    """Each of the 320 cases once, for its three recorded feedbacks and scores."""
    by_case: dict[str, list[Recording]] = {}
    for each in prometheus_vicuna():
        by_case.setdefault(each.key.rpartition("/")[0], []).append(each)
    for key, samples in by_case.items():
        request = dict(samples[0].request)
        request["input"] = request["input"].replace(samples[0].key, key)
        request["judge"] = {"models": ["replay/judge"], "samples": len(samples)}
        scores = [int(each.expected or 0) for each in samples]
        yield key, request, [each.completion for each in samples], scores


def in_form(form: str, recordings: Iterable[Recording]) -> Iterator[Recording]:
    """The same verdicts in another form, after the recorded reasoning."""
    for recording in recordings:
        reasoning = recording.completion.partition("[RESULT]")[0].strip()
        yield replace(recording, completion=FORMS[form](reasoning, recording.expected))


FORMS: Mapping[str, Callable[[str, Any], str]] = {
    "structured": lambda reasoning, verdict: json.dumps(
        {"reasoning": reasoning, "score" if isinstance(verdict, int) else "verdict": verdict}
    ),
    "marked": lambda reasoning, verdict: f"{reasoning}\nVERDICT {{{{marker}}}}: {verdict}",
    "brackets": lambda reasoning, verdict: f"{reasoning}\n\nRating: [[{verdict}]]",
    "prose": lambda reasoning, verdict: (
        f"{reasoning}\n\nVerdict: {verdict}"
        if isinstance(verdict, str)
        else f"{reasoning}\n\nScore: {verdict}"
    ),
}
"""Ways in which a judge may end an answer, by name."""


def without_verdict(recordings: Iterable[Recording]) -> Iterator[Recording]:
    """The same completions with every sentence cut that prefers one output to the other."""
    for each in recordings:
        sentences = re.split(r"(?<=[.!?])\s+", each.completion)
        kept = " ".join(text for text in sentences if not re.search("better|correct answer", text))
        yield replace(each, completion=kept, expected=None)


def llmbar_votes(judge: str) -> tuple[list[float], list[float]]:
    """Of each of the 326 pairs the winner (1 or 2) by all prompts and orders, and their agreement.

    NaN where the votes are even. The votes are those of `llmbar-votes`, whose gold labels
    `llmbar_gold` has; a vote that could not be read counts for neither.
    """
    winners, shares = [], []
    for row in _votes():
        votes = [winner for orders in row["votes"][judge].values() for winner in orders]
        first, second = votes.count("1"), votes.count("2")
        winners.append(math.nan if first == second else 1.0 + (second > first))
        shares.append(max(first, second) / len(votes))
    return winners, shares


def llmbar_gold() -> list[float]:
    """The winner of each pair by people."""
    return [float(row["label"]) for row in _votes()]


def llmbar_orders(judge: str, prompt: str) -> tuple[list[float], list[float]]:
    """The winner with the outputs in their order and swapped; NaN where none could be read."""
    pairs = [row["votes"][judge][prompt] for row in _votes()]
    straight, swapped = zip(*pairs, strict=True)
    return tuple(
        [float(x) if x in "12" else math.nan for x in side] for side in (straight, swapped)
    )


def _votes() -> list[dict[str, Any]]:
    lines = (DATA / "llmbar-votes" / "votes.jsonl").read_text().splitlines()
    return [json.loads(line) for line in lines]


def pandalm_annotators() -> list[list[float]]:
    """Three annotators × 999 pairs: 0 is a tie, 1 and 2 name the better output."""
    rows = _read("pandalm/testset-v1.json")
    return [[float(row[f"annotator{number}"]) for row in rows] for number in (1, 2, 3)]


def pandalm_comparisons() -> tuple[list[int], list[int], list[int], list[str], list[str]]:
    """First and second system, outcome by the majority (1, 0, −1), instruction; and the systems."""
    rows = _read("pandalm/testset-v1.json")
    names = sorted({name for row in rows for name in row["cmp_key"].split("_")})
    pairs = [row["cmp_key"].split("_") for row in rows]
    outcomes = []
    for row in rows:
        votes = [str(row[f"annotator{number}"]) for number in (1, 2, 3)]
        outcomes.append((votes.count("1") > 1) - (votes.count("2") > 1))
    first, second = ([names.index(pair[side]) for pair in pairs] for side in (0, 1))
    return first, second, outcomes, [row["instruction"] + row["input"] for row in rows], names


def prometheus_scores() -> list[list[float]]:
    """Three GPT-4 scores from 1 to 5 × 320 cases."""
    rows = _read("prometheus-vicuna/vicuna_eval.json")
    return [[float(row["gpt4_score"][sample]) for row in rows] for sample in range(3)]


def alpacaeval_preferences() -> list[float]:
    """The recorded preference for alpaca-7b, from 0 to 1, for 805 instructions."""
    rows = _read("alpacaeval-alpaca7b/annotations.json")
    return [row["preference"] - 1 for row in rows]


def _read(name: str) -> Any:
    return json.loads((DATA / name).read_text())
