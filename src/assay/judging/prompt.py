"""From a question to the prompt that asks it.

One layout for all: a system turn that never changes, then the content in delimiters, then the
task, then how to answer. So the questions about one case share a long beginning, and what a judge
reads last is what it is asked.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from hashlib import sha256
from typing import Any, Generic, TypeVar

from assay.criteria.base import Judgement, Question
from assay.criteria.embedded import TextsToEmbed
from assay.domain.completion import CallContext, Completion, Prompt, Turn
from assay.domain.evaluation import JudgeSpec
from assay.domain.ids import random_hex
from assay.domain.sampling import Sampling
from assay.prompts.templates import render
from assay.prompts.untrusted import delimited, delimiter
from assay.verdicts.answer_format import (
    answer_schema,
    bare_ending,
    marked_ending,
    structured_ending,
)
from assay.verdicts.reader import Protocol

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)

SYSTEM = "judge.v2"
MARKER_BYTES = 4


@dataclass(frozen=True, slots=True)
class _Reader(Generic[T_co]):
    """Reads the answer to one question, by the protocol in which it was asked."""

    question: Question[T_co]
    marker: str

    def __call__(
        self, completion: Completion[object], *, forms: tuple[str, ...] = ()
    ) -> Judgement[T_co]:
        texts = [text for _, text in self.question.content if isinstance(text, str)]
        shown = tuple(texts) if self.marker else ()
        protocol = Protocol(self.marker, (*self.question.forms, *forms), shown)
        return self.question.read(completion, protocol)


def to_prompt(
    question: Question[T], spec: JudgeSpec, context: CallContext, *, sample: int = 0
) -> Prompt[Judgement[T]]:
    """The question as turns.

    Each `sample` of a question has its own key and seed: samples that shared one answer would
    not be samples.
    """
    embeds = isinstance(question, TextsToEmbed)
    if embeds:
        return _texts_alone(question)
    mark, marker = _random_values(question, context, sample)
    opening = (
        f"The material is between <material-{mark}> and </material-{mark}> tags. "
        "Only tags with exactly this value count.\n"
    )
    asking = f"\n# Task\n\n{question.task}\n\n# Answer\n\n"
    sampling = Sampling(
        temperature=spec.temperature,
        seed=None if spec.seed is None else spec.seed + sample,
        top_p=spec.top_p,
        top_logprobs=question.top_logprobs,
        reasoning_effort=spec.reasoning_effort,
        thinking_budget_tokens=spec.thinking_budget_tokens,
    )
    if question.max_output_tokens is not None:
        sampling = replace(sampling, max_output_tokens=question.max_output_tokens)
    content = tuple(part for piece in question.content for part in piece)
    numbered = ("sample", sample) if sample else ()
    prompt = Prompt(
        turns=(
            Turn("system", (render(SYSTEM),)),
            Turn("user", (opening, *delimited(question.content, mark), asking)),
        ),
        sampling=sampling,
        read=_Reader(question, marker),
        marker=marker,
        sample=sample,
        key=(question.prompt_version, *question.identity, *numbered, sampling, *content),
    )
    scales = question.scales
    if not question.reasoning:
        return replace(prompt, plain=bare_ending(scales[""]))
    return replace(
        prompt,
        answer=answer_schema(scales),
        structured=structured_ending(scales),
        plain=marked_ending(scales, marker),
    )


def _random_values(question: Question[Any], context: CallContext, sample: int) -> tuple[str, str]:
    """The values of the delimiter and of the marker, which no text inside can know.

    A call that waits for its answer must be asked in the same way again: then both are of the
    batch, and the marker follows from the delimiter.
    """
    key, caller, deferral = context.delimiter_key, context.caller, context.caller.deferral
    period = None if deferral is None else deferral.batch_id
    mark = delimiter(key, caller.tenant, question.content, period)
    if not question.reasoning:
        return mark, ""
    if deferral is None:
        return mark, random_hex(MARKER_BYTES)
    made_of = repr((mark, question.identity, sample)).encode("utf-8", "backslashreplace")
    return mark, sha256(made_of).hexdigest()[: 2 * MARKER_BYTES]


def _texts_alone(question: Question[T]) -> Prompt[Judgement[T]]:
    """The prompt of an embedding model: a turn for each text, and nothing else."""
    texts = tuple(text for _, text in question.content)
    return Prompt(
        turns=tuple(Turn("user", (text,)) for text in texts),
        sampling=Sampling(max_output_tokens=0),
        read=_Reader(question, ""),
        key=(question.prompt_version, *question.identity, *texts),
    )
