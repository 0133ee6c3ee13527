"""Notices one long answer that is given to many different inputs.

A text tuned to please judges is sent whatever the question: Zheng et al., "Cheating Automatic LLM
Benchmarks", 2024. Limits: each process remembers only its own latest answers; an answer must be
long, since short ones (labels, refusals) repeat honestly; small changes go unnoticed.
"""

from __future__ import annotations

from collections import OrderedDict

from assay.domain.case_text import answer_text, transcript
from assay.domain.evaluation import Case

ANSWERS_MAX = 10_000
INPUTS_MIN = 8
"""An answer to this many distinct inputs counts as constant."""
ANSWER_CHARS_MIN = 200
GIST_PIECE_CHARS = 512
"""How much of a long text is compared at its beginning, middle and end, beside its length.

Hashing a megabyte would take as long as searching it for signs.
"""


class Repetition:
    """Remembers which inputs an answer was given to, as salted hashes only."""

    def __init__(self) -> None:
        self._inputs: OrderedDict[int, set[int]] = OrderedDict()

    def is_constant(self, tenant: str, case: Case) -> bool:
        """Count the case; true where its output was given to many inputs of the tenant."""
        answer = answer_text(case)
        if case.input is None or len(answer) < ANSWER_CHARS_MIN:
            return False
        key = hash((tenant, _gist(answer)))
        inputs = self._inputs.setdefault(key, set())
        self._inputs.move_to_end(key)
        if len(inputs) < INPUTS_MIN:
            inputs.add(hash(_gist(transcript(case.input))))
        if len(self._inputs) > ANSWERS_MAX:
            self._inputs.popitem(last=False)
        return len(inputs) >= INPUTS_MIN


def _gist(text: str) -> tuple[int, str, str, str]:
    middle = len(text) // 2
    return (
        len(text),
        text[:GIST_PIECE_CHARS],
        text[middle : middle + GIST_PIECE_CHARS],
        text[-GIST_PIECE_CHARS:],
    )
