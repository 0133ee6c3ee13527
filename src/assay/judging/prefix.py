"""What calls about one case have in common, so that a provider reads it once.

Providers sell input that they have read lately at a tenth or half of its price, from the first
token on that differs. The criteria of a case differ in nothing until the case has been shown, once
their answers have one schema. The price of a first reading is a quarter higher at some providers,
and nothing is cached before a first call has been read: so one call goes first, and the others
follow.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace

from assay.criteria.base import Finding, Question
from assay.domain.case_text import case_size
from assay.domain.evaluation import Case, JudgeSpec
from assay.domain.prefix import CommonPrefix
from assay.domain.tokens import estimated_tokens
from assay.judging.judge import Assignment
from assay.verdicts.answer_format import common_schema

PREFIX_TOKENS_MIN = 1_024
"""No provider caches less. A case of so few characters has no more tokens, in any language."""


def with_prefixes(
    groups: Sequence[Mapping[int, Assignment]], case: Case
) -> Sequence[Mapping[int, Assignment]]:
    """The groups, in which each criterion with calls of its own knows what these begin with."""
    alone = [one for group in groups if len(group) == 1 for one in group.values() if _saves(one)]
    if not alone or case_size(case) < PREFIX_TOKENS_MIN:
        return groups
    asked: dict[JudgeSpec, dict[object, list[Question[Finding]]]] = {}
    for assignment in alone:
        spec = assignment.panel.parts[0].spec
        questions = asked.setdefault(spec, defaultdict(list))
        for question in _questions(assignment, case):
            questions[question.beginning] += [question] * spec.samples
    prefixes = {
        spec: {key: _prefix(spec, same) for key, same in questions.items()}
        for spec, questions in asked.items()
    }

    def knowing(one: Assignment) -> Assignment:
        return replace(one, prefixes=prefixes.get(one.panel.parts[0].spec, {}))

    return [
        group if len(group) > 1 else {index: knowing(one) for index, one in group.items()}
        for group in groups
    ]


def _saves(assignment: Assignment) -> bool:
    """Whether its calls may wait for one another, and have a delimiter in common.

    Calls in a provider's job all start at about the same time: each may pay for the writing of what
    no other reads. So there it is for the caller to ask for.
    """
    spec, context = assignment.panel.spec, assignment.context
    is_usual = context.caller.priority == "batch" and spec.service == "interactive"
    wanted = is_usual if spec.prefix_cache is None else spec.prefix_cache
    return wanted and spec.kind == "chat" and bool(context.delimiter_key)


def _questions(assignment: Assignment, case: Case) -> Sequence[Question[Finding]]:
    with suppress(Exception):  # whatever it is, it is reported where the criterion is judged
        if assignment.criterion.short_circuit(case) is None:
            return assignment.criterion.questions(case)
    return ()


def _prefix(spec: JudgeSpec, questions: Sequence[Question[Finding]]) -> CommonPrefix | None:
    """What the prompts of the questions begin with, where that is worth caching."""
    tokens = estimated_tokens(text for _, text in questions[0].content)
    answer = common_schema([question.scales for question in questions])
    if len(questions) == 1 or tokens < PREFIX_TOKENS_MIN or answer is None:
        return None
    return CommonPrefix(spec, answer if questions[0].reasoning else None)
