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
"""No provider caches less."""
PREFIX_CHARS_MIN = PREFIX_TOKENS_MIN
"""A shorter case has fewer tokens in any language."""


def with_prefixes(
    groups: Sequence[Mapping[int, Assignment]], case: Case
) -> list[Mapping[int, Assignment]]:
    """The groups, in which each criterion with calls of its own knows what these begin with."""
    alone = {
        index: assignment
        for group in groups
        for index, assignment in group.items()
        if len(group) == 1 and _saves(assignment)
    }
    if not alone or case_size(case) < PREFIX_CHARS_MIN:
        return list(groups)
    asked: dict[JudgeSpec, dict[object, list[Question[Finding]]]] = defaultdict(
        lambda: defaultdict(list)
    )
    for assignment in alone.values():
        spec = assignment.panel.parts[0].spec
        for question in _questions(assignment, case):
            asked[spec][question.beginning] += [question] * spec.samples
    prefixes = {spec: _prefixes(spec, questions) for spec, questions in asked.items()}
    return [
        {
            index: replace(each, prefixes=prefixes.get(each.panel.parts[0].spec, {}))
            if index in alone
            else each
            for index, each in group.items()
        }
        for group in groups
    ]


def _saves(assignment: Assignment) -> bool:
    """Whether its calls may wait for one another, and have a delimiter in common."""
    asked, context = assignment.panel.spec.prefix_cache, assignment.context
    wanted = context.caller.priority == "batch" if asked is None else asked
    return wanted and bool(context.delimiter_key)


def _questions(assignment: Assignment, case: Case) -> Sequence[Question[Finding]]:
    with suppress(Exception):  # whatever it is, it is reported where the criterion is judged
        if assignment.criterion.short_circuit(case) is None:
            return assignment.criterion.questions(case)
    return ()


def _prefixes(
    spec: JudgeSpec, asked: Mapping[object, Sequence[Question[Finding]]]
) -> dict[object, CommonPrefix]:
    prefixes = {}
    for key, questions in asked.items():
        tokens = estimated_tokens(text for _, text in questions[0].content)
        if len(questions) > 1 and tokens >= PREFIX_TOKENS_MIN:
            answer = common_schema([question.scales for question in questions])
            if answer is not None:
                prefixes[key] = CommonPrefix(spec, answer if questions[0].reasoning else None)
    return prefixes
