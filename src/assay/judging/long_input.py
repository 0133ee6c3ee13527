"""Puts a question to a judge whose window may be too small for it: reject, shorten, or in parts.

What is too long is decided from estimated tokens, before anything is sent. Nothing is cut in
silence: the judge is told, and so is the caller.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

from assay.criteria.base import Finding, Question
from assay.domain.completion import Sampling
from assay.domain.evaluation import LongInputRecord
from assay.judging.call import Asker, JudgeReply, PanelMember, ask, total_cost_usd, total_usage
from assay.judging.concurrency import side_by_side
from assay.judging.prompt import prompt_of

BYTES_PER_TOKEN = 4
FRAME_TOKENS = 200
"""Delimiters, the answer's schema and what a provider adds around a message."""
OUTPUT_SHARE_MAX = 0.25
"""Of a small window no more than this is kept free for the answer."""
FILL_SHARE = 0.8
"""How much of the room is filled when cutting: the estimate may be off."""
PARTS_MAX = 64
PART_TOKENS_MIN = 256
SEAM_SHARE = 0.1
"""A part ends at white space where there is some in its last tenth."""

Piece = tuple[str, str]


async def ask_within_window(
    question: Question, seat: PanelMember, asker: Asker, *, sample: int = 0
) -> JudgeReply:
    """Ask the question as the seat's `long_input` says where it does not fit the window."""
    if fits(question, seat):
        return await _sent(question, seat, asker, sample)
    how = seat.spec.long_input
    if how == "truncate":
        shorter, note = truncated(question, _room_tokens(question, seat))
        reply = await _sent(shorter, seat, asker, sample)
        return replace(reply, shortened=note)
    if how == "map_reduce":
        return await _in_parts(question, seat, asker, sample)
    return _too_long(question, seat)


def fits(question: Question, seat: PanelMember) -> bool:
    """Whether the prompt and its answer have room in the seat's window, by estimate."""
    return tokens_of(question) + _output_tokens(question, seat) <= seat.window_tokens


def tokens_of(question: Question) -> int:
    """Estimated tokens of the prompt."""
    texts = (question.instructions, *(text for _, text in question.material))
    return FRAME_TOKENS + sum(map(estimated_tokens, texts))


def estimated_tokens(text: str) -> int:
    """Bytes ÷ 4: no megabyte is tokenised on the event loop."""
    size = len(text) if text.isascii() else len(text.encode(errors="surrogatepass"))
    return math.ceil(size / BYTES_PER_TOKEN)


async def _sent(question: Question, seat: PanelMember, asker: Asker, sample: int) -> JudgeReply:
    prompt = prompt_of(question, seat.spec, identity=asker.identity, sample=sample)
    return await ask(prompt, seat.chat, asker.context(seat.spec))


def _output_tokens(question: Question, seat: PanelMember) -> float:
    limit = question.max_output_tokens or Sampling().max_output_tokens
    return min(limit, seat.window_tokens * OUTPUT_SHARE_MAX)


def _room_tokens(question: Question, seat: PanelMember) -> float:
    """What is left of the window for the material."""
    taken = FRAME_TOKENS + estimated_tokens(question.instructions)
    return (seat.window_tokens - _output_tokens(question, seat) - taken) * FILL_SHARE


def _too_long(question: Question, seat: PanelMember) -> JudgeReply:
    about, window = tokens_of(question), int(seat.window_tokens)
    message = f"about {about} tokens, where the judge's window has {window}"
    return JudgeReply(reason="input_too_long", message=message)


def truncated(question: Question, room_tokens: float) -> tuple[Question, LongInputRecord]:
    """The question with the middle of its longest pieces left out, until all fits."""
    sizes = [estimated_tokens(text) for _, text in question.material]
    most = _level(sizes, max(room_tokens, 0.0))
    pieces: list[Piece] = []
    titles, chars, kept = [], 0, 0
    for (title, text), size in zip(question.material, sizes, strict=True):
        if size <= most:
            pieces.append((title, text))
            continue
        shorter = middle_out(text, int(len(text) * most / size))
        pieces.append((title, shorter))
        titles.append(title)
        chars += len(text)
        kept += int(len(text) * most / size)
    note = (
        "\n\n# Length\n\nThe material was too long: where text is left out, a line in square "
        "brackets says so. Judge by what is there, and do not hold the gap against the output."
    )
    asked = replace(question, instructions=question.instructions + note, material=pieces)
    return asked, LongInputRecord("truncate", ", ".join(titles), chars, kept, 1)


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


async def _in_parts(question: Question, seat: PanelMember, asker: Asker, sample: int) -> JudgeReply:
    """Judge each part of the longest piece, then the whole by what was said of its parts."""
    longest = max(question.material, key=lambda piece: len(piece[1]))
    others = [piece for piece in question.material if piece is not longest]
    room = _room_tokens(question, seat)
    each_tokens = room - sum(estimated_tokens(text) for _, text in others)
    title, text = longest
    count = math.ceil(estimated_tokens(text) / each_tokens) if each_tokens > 0 else PARTS_MAX + 1
    if each_tokens < PART_TOKENS_MIN or count > PARTS_MAX:
        return _too_long(question, seat)
    parts = split(text, math.ceil(len(text) / count))
    asked = [part_question(question, others, title, each, len(parts)) for each in enumerate(parts)]
    replies = await side_by_side(_sent(each, seat, asker, sample) for each in asked)
    found = [each.finding for each in replies if each.finding is not None]
    shortened = LongInputRecord("map_reduce", title, len(text), len(text), len(parts))
    if len(found) == len(replies):
        whole = whole_question(question, others, title, found, int(each_tokens * BYTES_PER_TOKEN))
        replies.append(await _sent(whole, seat, asker, sample))
    last = next((each for each in replies if each.finding is None), replies[-1])
    return replace(
        last,
        attempts=tuple(attempt for each in replies for attempt in each.attempts),
        usage=total_usage(replies),
        cost_usd=total_cost_usd(replies),
        cached=all(each.cached for each in replies),
        simulated=any(each.simulated for each in replies),
        shortened=shortened,
    )


def split(text: str, size: int) -> list[str]:
    """The text in parts of at most `size` characters that make it up without loss.

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
    question: Question, others: Sequence[Piece], title: str, part: tuple[int, str], count: int
) -> Question:
    """The question about one part, judged for what it shows."""
    number, text = part
    name = f"{title}, part {number + 1} of {count}"
    note = (
        f"\n\n# Length\n\nThe {title} is too long to show at once: you see part {number + 1} of "
        f"{count}. Judge what this part shows. Another judge will decide on the whole by "
        "what is said of each part: let your reasoning name all in it that bears on the criterion."
    )
    return replace(
        question,
        instructions=question.instructions + note,
        material=[*others, (name, text)],
        top_logprobs=0,
    )


def whole_question(
    question: Question, others: Sequence[Piece], title: str, found: Sequence[Finding], chars: int
) -> Question:
    """The question about the whole, with what was said of its parts in place of the text."""
    each_chars = chars // len(found)
    said = [
        (f"verdict on {title}, part {number} of {len(found)}", _verdict(each)[:each_chars])
        for number, each in enumerate(found, 1)
    ]
    note = (
        f"\n\n# Length\n\nThe {title} was too long to show. In its place stands what a judge who "
        "saw one part at a time said of each, by this same criterion. Decide on the whole by it: a "
        "fault in one part is a fault of the whole, and what one part lacks another may have."
    )
    return replace(question, instructions=question.instructions + note, material=[*others, *said])


def _verdict(finding: Finding) -> str:
    verdict = finding.value if finding.label is None else finding.label
    return f"{verdict}: {finding.explanation}"
