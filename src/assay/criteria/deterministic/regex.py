"""Whether a regular expression matches the output."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

import re2  # type: ignore[import-untyped]  # the wheel ships no stubs
from pydantic import Field, field_validator
from pydantic_core import PydanticCustomError

from assay.criteria.base import Check, Finding
from assay.criteria.deterministic.findings import binary_finding, quoted
from assay.criteria.registry import criterion
from assay.domain.case_text import output_text
from assay.domain.evaluation import Case

PATTERN_CHARS_MAX = 10_000
PATTERN_MEMORY_BYTES_MAX = 8 * 1024 * 1024


def compile_pattern(pattern: str, *, ignore_case: bool = False) -> Any:
    """The pattern in RE2, which runs in linear time and bounded memory.

    Raises `re2.error`, or `UnicodeEncodeError` for a lone surrogate.
    """
    options = re2.Options()
    options.max_mem = PATTERN_MEMORY_BYTES_MAX
    options.case_sensitive = not ignore_case
    options.log_errors = False
    return re2.compile(pattern, options)


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

    type: Literal["regex"]
    pattern: Annotated[str, Field(min_length=1, max_length=PATTERN_CHARS_MAX)]
    ignore_case: bool = Field(default=False, description="Match without regard to case.")
    full_match: bool = Field(default=False, description="Match the whole output, not a part.")

    @field_validator("pattern")
    @classmethod
    def _compiles(cls, pattern: str) -> str:
        try:
            compile_pattern(pattern)
        except (re2.error, UnicodeEncodeError) as error:
            raise PydanticCustomError(
                "invalid_pattern", "is not a valid RE2 pattern: {error}", {"error": _message(error)}
            ) from None
        return pattern

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
