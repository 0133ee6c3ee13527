"""Several criteria of one case in one call: a long input is sent, and paid for, once.

Each criterion's verdict is read on its own. One that cannot be read is asked again alone, and so
are all where the shared answer was of no use; where no judge could be reached, asking once more
for each criterion would only add to the trouble, and all are unscored.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace

from assay.criteria.base import Finding, Judged, Question
from assay.domain.completion import AnswerSchema, Completion, Usage
from assay.domain.errors import PROMPT_SPECIFIC_REASONS, AnswerUnreadable, ModelError
from assay.domain.evaluation import Case, CriterionResult, SharedCall
from assay.judging.call import Asker, JudgeReply, Panel, ask
from assay.judging.concurrency import side_by_side
from assay.judging.judge import judged, score_of
from assay.judging.long_input import fits
from assay.judging.prompt import content_of, prompt_of
from assay.judging.voting import collect_votes, votes_from
from assay.prompts.templates import render
from assay.verdicts.reading import read_object

SHARED_MAX = 8
"""Criteria in one call: with more of them, judges begin to mix them up."""
OUTPUT_TOKENS_EACH = 1_024


def groups(asked: Mapping[int, tuple[Judged, Panel]], case: Case) -> list[list[int]]:
    """The criteria that go into one call, by index; each of the others by itself."""
    shared: dict[object, list[int]] = {}
    found: list[list[int]] = []
    for index, (criterion, bench) in asked.items():
        question = _shareable(criterion, bench, case)
        if question is None:
            found.append([index])
            continue
        # A purse is shared, or not, as the very one that it is: two of the same size are not one.
        judge = (replace(bench.spec, purse=None), id(bench.spec.purse))
        asks = (judge, tuple(question.material))
        group = shared.setdefault(asks, [])
        if not group or len(group) == SHARED_MAX:
            group = shared[asks] = []
            found.append(group)
        group.append(index)
    return found


def _shareable(criterion: Judged, bench: Panel, case: Case) -> Question | None:
    """The criterion's only question, where it can stand beside others."""
    spec = bench.spec
    if not spec.batch_criteria or spec.samples > 1 or bench.is_panel:
        return None
    try:
        if criterion.short_circuit(case) is not None:
            return None
        questions = criterion.questions(case)
    except Exception:  # noqa: BLE001  # what cannot be asked says so when it is asked alone
        return None
    alone = len(questions) > 1 or questions[0].top_logprobs or questions[0].max_output_tokens
    return None if alone or questions[0].answer is None else questions[0]


async def judged_together(
    criteria: Sequence[Judged], case: Case, bench: Panel, asker: Asker
) -> list[CriterionResult]:
    """The scores of criteria that `groups` put together, in their order."""
    members = [(each, each.question(case)) for each in criteria]
    shared = shared_question([question for _, question in members])
    seat = bench.seats[0]
    if not fits(shared, seat):
        return await _each_alone(criteria, case, bench, asker)
    identity = tuple(part for each in criteria for part in content_of(each))
    prompt = prompt_of(shared, seat.spec, identity=identity)
    reply = await ask(prompt, seat.chat, asker.context(seat.spec))
    saved = _saved(reply, shared, [question for _, question in members])
    costs = _split(reply, len(members), saved)
    return await side_by_side(
        _one(member, number, cost, bench, asker)
        for number, (cost, member) in enumerate(zip(costs, members, strict=True), 1)
    )


async def _one(
    member: tuple[Judged, Question], number: int, cost: JudgeReply, bench: Panel, asker: Asker
) -> CriterionResult:
    """The score of one criterion: what the shared answer says of it, else asked alone.

    `cost` is the shared reply with this criterion's part of its cost.
    """
    criterion, question = member
    findings = cost.reading if isinstance(cost.reading, dict) else {}
    found = findings.get(f"c{number}")
    named = replace(question, prompt_version=f"shared.v1/{question.prompt_version}")
    if isinstance(found, Finding):
        reply = replace(cost, finding=found, reason=None, message="")
        return score_of(criterion, [votes_from(named, bench, [reply])])
    if cost.reason in PROMPT_SPECIFIC_REASONS or findings:
        ballot = await collect_votes(
            question, bench, replace(asker, identity=content_of(criterion))
        )
        alone = ballot.replies[0]
        reply = replace(
            alone,
            attempts=(*cost.attempts, *alone.attempts),
            usage=cost.usage + alone.usage,
            cost_usd=cost.cost_usd + alone.cost_usd,
            shared_call=cost.shared_call,
        )
        return score_of(criterion, [votes_from(question, bench, [reply])])
    return score_of(criterion, [votes_from(named, bench, [cost])])


async def _each_alone(
    criteria: Sequence[Judged], case: Case, bench: Panel, asker: Asker
) -> list[CriterionResult]:
    return await side_by_side(judged(each, case, bench, asker) for each in criteria)


def shared_question(questions: Sequence[Question]) -> Question:
    """One question out of several about the same material."""
    keys = [f"c{number}" for number in range(1, len(questions) + 1)]
    rows = [(key, *task_of(each.instructions)) for key, each in zip(keys, questions, strict=True)]
    properties = {
        key: dict(each.answer.schema)
        for key, each in zip(keys, questions, strict=True)
        if each.answer is not None
    }
    schema = {
        "type": "object",
        "properties": properties,
        "required": keys,
        "additionalProperties": False,
    }
    return Question(
        instructions=render("shared.v1", criteria=rows),
        material=questions[0].material,
        answer=AnswerSchema("verdicts", schema),
        read=lambda completion: read_each(completion, dict(zip(keys, questions, strict=True))),
        prompt_version="shared.v1",
        max_output_tokens=OUTPUT_TOKENS_EACH * len(questions),
    )


def task_of(instructions: str) -> tuple[str, str]:
    """What a criterion asks and the form of its answer, out of the frame around them."""
    task = instructions.partition("# Criterion\n")[2].rpartition("\n# Material\n")[0]
    answer = instructions.rpartition("\n# Answer\n")[2].rpartition("\n\n")[2]
    return task.strip(), answer.strip()


def read_each(
    completion: Completion[object], questions: Mapping[str, Question]
) -> dict[str, Finding]:
    """The findings of those criteria whose verdict can be read; raises where none can."""
    ask = f"End with one JSON object that has a member for each of: {', '.join(questions)}."
    whole = read_object(completion, list(questions), ask)
    found: dict[str, Finding] = {}
    for key, question in questions.items():
        answer = replace(completion, text=json.dumps(whole.get(key)), finish="stop")
        try:
            finding = question.read(answer)
        except ModelError:
            continue
        if isinstance(finding, Finding):
            found[key] = finding
    if not found:
        raise AnswerUnreadable(f"No verdict in the answer can be read. {ask}")
    return found


def _saved(reply: JudgeReply, shared: Question, questions: Sequence[Question]) -> SharedCall:
    """What the call took, and how much more one call for each criterion would have taken.

    Estimated by the prompts' lengths, in the ratio that the provider's own count shows.
    """
    material = sum(len(text) for _, text in shared.material)
    together = len(shared.instructions) + material
    apart = sum(len(each.instructions) + material for each in questions)
    tokens = reply.usage.input_tokens
    saved = max(0, round(tokens * (apart / max(together, 1) - 1)))
    return SharedCall(len(questions), tokens, saved)


def _split(reply: JudgeReply, count: int, shared_call: SharedCall) -> list[JudgeReply]:
    """The call's usage and cost in parts that add up to it, one for each criterion."""
    parts = []
    for number in range(count):
        usage = Usage(
            *(
                tokens * (number + 1) // count - tokens * number // count
                for tokens in (reply.usage.input_tokens, reply.usage.output_tokens)
            )
        )
        cost_usd = reply.cost_usd / count
        parts.append(replace(reply, usage=usage, cost_usd=cost_usd, shared_call=shared_call))
    return parts
