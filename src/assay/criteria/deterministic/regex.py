"""Whether a regular expression matches the output."""

from __future__ import annotations

import math
import re
from typing import Annotated, Any, ClassVar, Literal

import re2  # type: ignore[import-untyped]  # the wheel ships no stubs
from pydantic import Field
from pydantic_core import PydanticCustomError

from assay.criteria.base import Check, Finding
from assay.criteria.deterministic.findings import binary_finding, quoted
from assay.criteria.locations import fault_at
from assay.criteria.registry import criterion
from assay.domain.case_text import output_text
from assay.domain.evaluation import Case

PATTERN_CHARS_MAX = 10_000
PATTERN_MEMORY_BYTES_MAX = 8 * 1024 * 1024
INLINE_EXPANDED_MAX = 500
"""An expression that expands to no more than this is compiled where it is parsed, in 0.3 ms."""
REPETITION = re.compile(r"\{(\d+)(?:,(\d+))?")
LARGE_CLASS = re.compile(r"\\[pPx]")
"""What compiles to far more instructions than it has characters: a class of Unicode, or (like any
character that is not ASCII) the complement of one."""


def compile_pattern(pattern: str, *, ignore_case: bool = False) -> Any:
    """The pattern in RE2, which runs in linear time and bounded memory.

    Groups capture nothing: each would have to be copied at each step of the search. Raises
    `re2.error`, or `UnicodeEncodeError` for a lone surrogate.
    """
    options = re2.Options()
    options.max_mem = PATTERN_MEMORY_BYTES_MAX
    options.case_sensitive = not ignore_case
    options.never_capture = True
    options.log_errors = False
    return re2.compile(pattern, options)


def expanded_chars(pattern: str) -> float:
    """At most this long is the pattern with its counted repetitions written out.

    RE2 compiles in time proportional to that. Each character stands within each repetition at the
    worst, so the length is multiplied by all counts. Infinite where characters say nothing about
    the instructions.
    """
    if not pattern.isascii() or LARGE_CLASS.search(pattern):
        return math.inf
    counts = (int(most or least) for least, most in REPETITION.findall(pattern))
    return math.prod(counts, start=len(pattern))


@criterion
class Regex(Check):
    """1 where the pattern (RE2 syntax) occurs in the output, else 0; `value` is what it matched.

    There are no back-references and no look-around, so every pattern runs in linear time.
    Source: https://github.com/google/re2/wiki/Syntax.
    """

    family: ClassVar[str] = "text"
    scale: ClassVar[str] = "0 or 1"
    example: ClassVar = {
        "output": "Order 66 is on its way.",
        "criteria": [{"type": "regex", "pattern": r"Order \d+"}],
    }
    inline_work_max: ClassVar[int] = 500_000
    """RE2 takes at most one step for each instruction and each byte, of about 5 ns."""

    type: Literal["regex"]
    pattern: Annotated[str, Field(min_length=1, max_length=PATTERN_CHARS_MAX)]
    ignore_case: bool = Field(default=False, description="Match without regard to case.")
    full_match: bool = Field(default=False, description="Match the whole output, not a part.")

    @property
    def compiles_late(self) -> bool:
        return expanded_chars(self.pattern) > INLINE_EXPANDED_MAX

    def compile(self) -> None:
        try:
            compile_pattern(self.pattern, ignore_case=self.ignore_case)
        except (re2.error, UnicodeEncodeError) as error:
            fault = PydanticCustomError(
                "invalid_pattern", "is not a valid RE2 pattern: {error}", {"error": _message(error)}
            )
            raise fault_at(("pattern",), fault, self.pattern) from None

    def work(self, size: int, case: Case) -> float:
        del case
        return math.inf if self.compiles_late else size * expanded_chars(self.pattern)

    def check(self, case: Case) -> Finding:
        expression = compile_pattern(self.pattern, ignore_case=self.ignore_case)
        text = output_text(case)
        found = expression.fullmatch(text) if self.full_match else expression.search(text)
        if found is None:
            return binary_finding(False, "the pattern does not match")
        matched = quoted(found.group())
        return binary_finding(True, f"the pattern matches {matched}", matched)


def _message(error: Exception) -> str:
    message = error.args[0] if error.args else "unknown fault"
    return message.decode(errors="replace") if isinstance(message, bytes) else str(message)
