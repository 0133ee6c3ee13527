"""What of a model's text is its answer, and what is only thinking before it."""

from __future__ import annotations

import re

_TAGS = "think|thinking|thought|thoughts|reasoning|reflection|scratchpad|analysis"
_CLOSING = re.compile(
    rf"</\s?(?:\w{{1,12}}:)?(?:{_TAGS})\s?>|<\|end_of_(?:thought|thinking|reasoning)\|>|\[/THINK\]|<\|/?(?:end_of_)?think(?:ing)?\|>|◁/think▷|"
    r"<\|channel\|>\s*final\s*(?:<\|constrain\|>\s*\w{1,20}\s*)?<\|message\|>|"
    r"\bassistantfinal(?=\W|[A-Z{\[]|\d)",
    re.IGNORECASE,
)
_OPENING = re.compile(
    rf"<\s?(?:\w{{1,12}}:)?(?:{_TAGS})\s?>|<\|begin_of_(?:thought|thinking|reasoning)\|>|\[THINK\]|◁think▷|"
    r"<\|channel\|>\s*(?:analysis|commentary)\s*<\|message\|>",
    re.IGNORECASE,
)
_CONTROL = re.compile(
    r"\s*(?:(?:<\|(?:return|end|im_end|eot_id|eom_id|end_of_text|endoftext)\|>|</s>|<end_of_turn>)\s*)+\Z"
)
"""Tokens that end a turn, where a server lets them through."""
CONTROL_CHARS_MAX = 200
"""How far from its end such tokens are looked for."""


def answer_span(text: str) -> tuple[int, int]:
    """Where in the text the answer stands: after all thinking; empty where there is none.

    Everything up to the last closing mark is thinking, whether or not its opening mark is there.
    An opening mark that is never closed leaves no answer.
    """
    start = 0
    for mark in _CLOSING.finditer(text):
        start = mark.end()
    end = len(text)
    control = _CONTROL.search(text, max(start, end - CONTROL_CHARS_MAX))
    if control is not None:
        end = control.start()
    opening = _OPENING.search(text, start, end)
    if opening is not None:
        # What stands before an opening that is never closed may be a draft as well as an answer.
        return end, end
    return start, end
