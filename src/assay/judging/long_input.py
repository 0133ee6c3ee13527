"""Asks a judge whose window may be too small for the question: reject, shorten, or in parts.

What is too long is decided from estimated tokens, before anything is sent. Nothing is cut in
silence: the judge and the caller both learn what was left out.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from assay.criteria.base import Finding, Question
from assay.criteria.embedded import TextsToEmbed
from assay.domain.completion import CallContext, total_spent
from assay.domain.evaluation import LongInputRecord
from assay.domain.images import Image
from assay.domain.ports import PanelMember
from assay.domain.sampling import Sampling
from assay.domain.tokens import BYTES_PER_TOKEN, estimated_tokens
from assay.judging.call import JudgeReply, ask
from assay.judging.concurrency import side_by_side
from assay.prompts.templates import render
from assay.prompts.untrusted import Piece, UntrustedContent

FRAME_TOKENS = 300
"""The system turn, delimiters, how to answer, its schema, and what a provider adds to a message."""
OUTPUT_SHARE_MAX = 0.25
"""Of a small window no more than this is kept free for the answer."""
FILL_SHARE = 0.8
"""How much of the room is filled when a text is cut: the estimate may be off."""
PARTS_MAX = 64
PART_TOKENS_MIN = 256
SEAM_SHARE = 0.1
"""A part ends at white space where its last tenth has some."""


async def ask_within_window(
    question: Question[Finding], member: PanelMember, context: CallContext, *, sample: int = 0
) -> JudgeReply[Finding]:
    """Ask; a question that does not fit the window is treated as `long_input` says."""
    if fits(question, member):
        return await ask(question, member, context, sample=sample)
    if member.spec.long_input == "truncate":
        shorter, record = truncated(question, _room_tokens(question, member))
        if not fits(shorter, member):  # its images alone are too large
            return too_long(question, member)
        reply = await ask(shorter, member, context, sample=sample)
        return replace(reply, long_input=record)
    if member.spec.long_input == "map_reduce":
        return await _ask_in_parts(question, member, context, sample)
    return too_long(question, member)


def fits(question: Question[object], member: PanelMember) -> bool:
    """Whether the prompt and its answer have room in the member's window, by estimate."""
    if math.isinf(member.window_tokens):
        return True
    return tokens_of(question) + _output_tokens(question, member) <= member.window_tokens


def tokens_of(question: Question[object]) -> int:
    """Estimated tokens of the prompt, or of the longest text that is embedded."""
    if isinstance(question, TextsToEmbed):
        return max(estimated_tokens([text]) for _, text in question.content)
    texts = (question.task, *(text for _, text in question.content))
    return FRAME_TOKENS + estimated_tokens(texts)


def _output_tokens(question: Question[object], member: PanelMember) -> float:
    limit = question.max_output_tokens
    limit = Sampling().max_output_tokens if limit is None else limit
    return min(limit, member.window_tokens * OUTPUT_SHARE_MAX)


def _room_tokens(question: Question[object], member: PanelMember) -> float:
    """What is left of the window for the content."""
    taken = FRAME_TOKENS + estimated_tokens([question.task])
    return (member.window_tokens - _output_tokens(question, member) - taken) * FILL_SHARE


def too_long(question: Question[object], member: PanelMember) -> JudgeReply[Any]:
    """The reply of a judge that was not asked."""
    what = "longest text" if isinstance(question, TextsToEmbed) else "prompt"
    message = (
        f"The {what} has about {tokens_of(question)} tokens; "
        f"the model's window has {int(member.window_tokens)}."
    )
    return JudgeReply(reason="input_too_long", message=message)


def truncated(
    question: Question[Finding], room_tokens: float
) -> tuple[Question[Finding], LongInputRecord]:
    """The question with the middle of its longest texts left out, until all of it fits."""
    sizes = [estimated_tokens([text]) for _, text in question.content]
    fixed = [isinstance(text, Image) for _, text in question.content]
    room_tokens -= sum(size for size, is_image in zip(sizes, fixed, strict=True) if is_image)
    texts = [size for size, is_image in zip(sizes, fixed, strict=True) if not is_image]
    most = _level(texts, max(room_tokens, 0.0))
    pieces: list[Piece] = []
    titles, chars, chars_kept = [], 0, 0
    for (title, text), size in zip(question.content, sizes, strict=True):
        if size <= most or isinstance(text, Image):
            pieces.append((title, text))
            continue
        kept = int(len(text) * most / size)
        pieces.append((title, middle_out(text, kept)))
        titles.append(title)
        chars += len(text)
        chars_kept += kept
    shorter = replace(_with_note(question, "shortened.v2"), content=pieces)
    return shorter, LongInputRecord("truncate", ", ".join(titles), chars, chars_kept, 1)


def _level(sizes: Sequence[int], room: float) -> float:
    """The size to which the larger ones are cut so that all of them together fill the room."""
    left = room
    for index, size in enumerate(sorted(sizes)):
        share = left / (len(sizes) - index)
        if size > share:
            return share
        left -= size
    return math.inf


def middle_out(text: str, keep: int) -> str:
    """The beginning and the end of a text, `keep` characters together, with a note between."""
    head, tail = (keep + 1) // 2, keep // 2
    gap = f"\n[{len(text) - keep} characters are left out here]\n"
    return text[:head] + gap + text[len(text) - tail :]


async def _ask_in_parts(
    question: Question[Finding], member: PanelMember, context: CallContext, sample: int
) -> JudgeReply[Finding]:
    """Judge each part of the longest piece, then the whole by the verdicts on its parts."""
    texts = [(title, text) for title, text in question.content if isinstance(text, str)]
    title, text = longest = max(texts, key=lambda piece: len(piece[1]), default=("", ""))
    others = [piece for piece in question.content if piece != longest]
    part_tokens = _room_tokens(question, member) - estimated_tokens(text for _, text in others)
    count = math.ceil(estimated_tokens([text]) / part_tokens) if part_tokens > 0 else math.inf
    if not text or part_tokens < PART_TOKENS_MIN or count > min(PARTS_MAX, context.parts_max):
        return too_long(question, member)
    parts = split(text, math.ceil(len(text) / count))
    replies = await side_by_side(
        ask(
            part_question(question, others, title, part, len(parts)),
            member,
            context,
            sample=sample,
        )
        for part in enumerate(parts)
    )
    findings = [reply.verdict for reply in replies if reply.verdict is not None]
    if len(findings) == len(replies):
        chars = int(part_tokens * BYTES_PER_TOKEN)
        whole = whole_question(question, others, title, findings, chars)
        replies.append(await ask(whole, member, context, sample=sample))
    # The first failure, else the verdict on the whole.
    last = next((reply for reply in replies if reply.verdict is None), replies[-1])
    usage, cost_usd = total_spent(replies)
    return replace(
        last,
        attempts=tuple(attempt for reply in replies for attempt in reply.attempts),
        usage=usage,
        cost_usd=cost_usd,
        cached=all(reply.cached for reply in replies),
        simulated=any(reply.simulated for reply in replies),
        long_input=LongInputRecord("map_reduce", title, len(text), len(text), len(parts)),
        manipulations=tuple(sign for reply in replies for sign in reply.manipulations),
    )


def split(text: str, size: int) -> list[str]:
    """The text in parts of at most `size` characters, without loss.

    A part ends after white space where its last tenth has some.
    """
    parts, start = [], 0
    while len(text) - start > size:
        end = start + size
        nearest = end - max(1, int(size * SEAM_SHARE))
        seam = max(text.rfind("\n", nearest, end), text.rfind(" ", nearest, end))
        end = seam + 1 if seam >= start else end
        parts.append(text[start:end])
        start = end
    parts.append(text[start:])
    return parts


def part_question(
    question: Question[Finding],
    others: UntrustedContent,
    title: str,
    part: tuple[int, str],
    count: int,
) -> Question[Finding]:
    """The question about one part, judged for what it shows."""
    number, text = part
    name = f"{title}, part {number + 1} of {count}"
    noted = _with_note(question, "part.v2", title=title, number=number + 1, count=count)
    return replace(noted, content=[*others, (name, text)], top_logprobs=0)


def whole_question(
    question: Question[Finding],
    others: UntrustedContent,
    title: str,
    findings: Sequence[Finding],
    chars: int,
) -> Question[Finding]:
    """The question about the whole, with the verdicts on its parts in place of the text.

    `chars` bounds all verdicts together.
    """
    chars_each = chars // len(findings)
    verdicts = [
        (f"verdict on {title}, part {number} of {len(findings)}", _stated(finding)[:chars_each])
        for number, finding in enumerate(findings, 1)
    ]
    return replace(_with_note(question, "whole.v2", title=title), content=[*others, *verdicts])


def _with_note(question: Question[Finding], version: str, **values: Any) -> Question[Finding]:
    """The question with a note on its content, which is no longer that of others, in its task."""
    task = f"{question.task}\n\n{render(version, **values)}"
    return replace(question, task=task, prefix=None)


def _stated(finding: Finding) -> str:
    verdict = finding.value if finding.label is None else finding.label
    return f"{verdict}: {finding.explanation}"
