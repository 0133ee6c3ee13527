"""Notices one long answer that a caller's system gives to many different inputs.

A text tuned to please judges is sent whatever the question: Zheng et al., "Cheating Automatic LLM
Benchmarks", 2024. Limits: it is remembered by each process for itself, for the last answers only;
an answer must be long, since short ones (labels, refusals) repeat honestly; small changes escape.
"""

from __future__ import annotations

from collections import OrderedDict

from assay.domain.case_text import output_text, transcript
from assay.domain.evaluation import Case

ANSWERS_MAX = 10_000
INPUTS_MIN = 8
"""Distinct inputs from which on an answer counts as constant."""
ANSWER_CHARS_MIN = 200
GIST_PIECE_CHARS = 512
"""What is compared of a long text at its beginning, middle and end, beside its length: to hash a
megabyte takes as long as to look through it for signs."""


class Repetition:
    """Remembers, by salted hashes alone, which inputs an answer was given to."""

    def __init__(self) -> None:
        self._inputs: OrderedDict[int, set[int]] = OrderedDict()

    def is_constant(self, tenant: str, case: Case) -> bool:
        """Count the case; whether its output was given to many inputs of the tenant."""
        answer = output_text(case)
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
