"""The demonstration's cases, made from `topics.toml` by a fixed seed, and always the same.

No model wrote or judged any of this. Two invented assistants answer every question, two invented
judges have a verdict on every answer, and two invented people label some of them.
"""

from __future__ import annotations

import random
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any, Literal

Criterion = Literal["helpful", "follows_policy"]
Assistant = Literal["assistant-1", "assistant-2"]
Judge = Literal["careful", "hasty"]

SEED = 20_261_126
PHRASES: Mapping[Criterion, str] = {
    "helpful": "The customer learns what to do next.",
    "follows_policy": "The answer agrees with the policy in the context.",
}
"""What the rubric of a criterion says, in every version of the evaluator."""
QUALITY: Mapping[Assistant, Mapping[Criterion, float]] = {
    "assistant-1": {"helpful": 0.55, "follows_policy": 0.8},
    "assistant-2": {"helpful": 0.85, "follows_policy": 0.78},
}
"""How often an assistant's answers are good."""
ERRORS: Mapping[str, tuple[float, float]] = {
    "careful": (0.04, 0.07), "hasty": (0.05, 0.4), "mira": (0.03, 0.05), "jonas": (0.06, 0.08),
}  # fmt: skip
"""How often someone fails a good answer, and passes a bad one."""
OPENINGS = ("", "I ordered from you last week. ")
GREETINGS: Mapping[Assistant, tuple[str, ...]] = {
    "assistant-1": ("Hello!", "Dear customer,", "Good day."),
    "assistant-2": ("Thank you for writing to us.", "Hi, good that you ask."),
}
CLOSING = (
    "If anything is left open, our team is glad to help you by phone or by chat on every day of "
    "the week, and we wish you many good rides until then!"
)
WHY: Mapping[tuple[Criterion, bool], tuple[str, ...]] = {
    ("helpful", True): (
        "The question is answered, and the last sentences say what to do: {step}",
        "After reading this the customer can act. It names the next step: {step}",
    ),
    ("helpful", False): (
        "The facts stand there, but the customer does not learn what to do next.",
        "No step follows from the answer. It should say: {step}",
    ),
    ("follows_policy", True): (
        "What it says is what the policy says: {policy}",
        "I compared each statement with the policy and found no contradiction.",
    ),
    ("follows_policy", False): (
        "It contradicts the policy, which says: {policy}",
        "The answer promises something that the policy does not. Correct would be: {right}",
    ),
}
HASTY: Mapping[bool, str] = {True: "Looks fine.", False: "Something is missing or wrong here."}


@dataclass(frozen=True, slots=True)
class Answer:
    """What an assistant answered, and what each judge and person says of it by each criterion."""

    text: str
    passed: Mapping[tuple[str, Criterion], bool]
    reasons: Mapping[tuple[str, Criterion], str]


@dataclass(frozen=True, slots=True)
class DemoCase:
    """A customer's question, the policy that the answer should follow, and both answers."""

    id: str
    question: str
    policy: str
    reference: str
    split: str
    answers: Mapping[Assistant, Answer]


@cache
def demo_cases() -> tuple[DemoCase, ...]:
    """All cases."""
    rng = random.Random(SEED)  # noqa: S311  # repeatable on purpose, and no secret
    text = files(__package__).joinpath("topics.toml").read_text("utf-8")
    return tuple(
        DemoCase(
            id=f"{topic['name']}-{number}-{place}",
            question=opening + question,
            policy=topic["policy"],
            reference=f"{topic['right']} {topic['step']}",
            split="calibration" if rng.random() < 0.5 else "test",  # noqa: PLR2004
            answers={name: _answer(topic, name, rng) for name in QUALITY},
        )
        for topic in tomllib.loads(text)["topic"]
        for number, question in enumerate(topic["questions"], 1)
        for place, opening in enumerate(OPENINGS, 1)
    )


def _answer(topic: Mapping[str, Any], assistant: Assistant, rng: random.Random) -> Answer:
    good = {name: rng.random() < share for name, share in QUALITY[assistant].items()}
    parts = [
        rng.choice(GREETINGS[assistant]),
        topic["right" if good["follows_policy"] else "wrong"],
    ]
    if good["helpful"]:
        parts.append(topic["step"])
    if assistant == "assistant-2" and rng.random() < 0.4:  # noqa: PLR2004
        parts.append(CLOSING)
    passed: dict[tuple[str, Criterion], bool] = {}
    reasons: dict[tuple[str, Criterion], str] = {}
    for who, (misses, lets_through) in ERRORS.items():
        for criterion, is_good in good.items():
            verdict = rng.random() >= misses if is_good else rng.random() < lets_through
            passed[who, criterion] = verdict
            why = rng.choice(WHY[criterion, verdict]).format(**topic)
            reasons[who, criterion] = HASTY[verdict] if who == "hasty" else why
    return Answer(" ".join(parts), passed, reasons)
