"""OpenAI's Python grader: a program that scores a sample, in an interpreter without a system."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import Field
from pydantic_core import PydanticCustomError

from assay.criteria.base import Check, Finding
from assay.criteria.deterministic.findings import shortened
from assay.criteria.locations import fault_at
from assay.criteria.number_range import InRange
from assay.criteria.placeholders import sample_fields
from assay.criteria.registry import criterion
from assay.domain.errors import NotApplicable
from assay.domain.evaluation import Case

if TYPE_CHECKING:
    from pydantic_monty import MontySession

SOURCE_CHARS_MAX = 256_000
STEP_S_MAX = 4.0
"""For the program's own statements, and again for the call; a check has ten seconds in all."""
MEMORY_BYTES_MAX = 256 * 1024**2
CALLS_DEEP_MAX = 500
_MISSING_MODULE = re.compile(r"No module named '([\w.]{1,100})'")


@criterion
class Python(InRange, Check):
    """OpenAI's Python grader: the number that `grade(sample, item)` of `source` returns.

    The program runs in Monty, an interpreter that has the language and no system: no files, no
    network, and of modules only a few such as `re`, `json` and `math`. It has 4 seconds and 256 MB.
    `sample` has `output_text` and, if the output is JSON, `output_json`; `item` has the `fields`
    of the case. `value` is the number; the score is its place in `range`. An exception, a limit and
    a value that is no finite number leave it unscored. Source:
    https://developers.openai.com/api/docs/guides/graders.
    """

    family: ClassVar[str] = "program"
    default_threshold: ClassVar[float] = 0.5
    example: ClassVar = {
        "output": "Paris",
        "fields": {"capital": "Paris"},
        "criteria": [
            {
                "type": "python",
                "source": "def grade(sample, item):\n"
                "    return 1.0 if item['capital'] in sample['output_text'] else 0.0",
            }
        ],
    }

    type: Literal["python"]
    source: str = Field(min_length=1, max_length=SOURCE_CHARS_MAX)
    image_tag: str | None = Field(default=None, description="Accepted, and without effect.")

    @property
    def compiles_late(self) -> bool:
        return True

    def compile(self) -> None:
        try:
            with self._session():
                pass
        except NotApplicable as error:
            fault = PydanticCustomError("program", "{fault}", {"fault": error.message})
            raise fault_at(("source",), fault, self.source) from None

    def load(self) -> None:
        import pydantic_monty  # noqa: F401, PLC0415  # only a worker process needs it

    def check(self, case: Case) -> Finding:
        inputs = {"sample": _sample(case), "item": dict(case.fields)}
        with self._session() as session:
            number = session.feed_run("grade(sample, item)", inputs=inputs, print_callback=_discard)
        # Not math.isfinite, which an integer of 309 digits overflows.
        if not isinstance(number, int | float) or not abs(number) <= sys.float_info.max:
            shown = repr(number) if isinstance(number, float) else type(number)
            raise NotApplicable(
                "check_error", f"grade returned {shown}, which is no finite number."
            )
        return self.number_finding(float(number))

    @contextmanager
    def _session(self) -> Iterator[MontySession]:
        """A session in which `grade` is defined; raises `NotApplicable` for faults within it."""
        from pydantic_monty import Monty, MontyError  # noqa: PLC0415

        limits: Any = {
            "max_feed_duration_secs": STEP_S_MAX,
            "max_memory": MEMORY_BYTES_MAX,
            "max_recursion_depth": CALLS_DEEP_MAX,
        }
        try:
            with (
                Monty(max_processes=1) as pool,
                pool.checkout(
                    script_name="grader.py", limits=limits, os_policy={"sleep": "zero"}
                ) as session,
            ):
                session.feed_run(self.source, print_callback=_discard)
                session.feed_run("grade", print_callback=_discard)
                yield session
        except MontyError as error:
            raise NotApplicable("check_error", _fault(error)) from None


def _sample(case: Case) -> dict[str, Any]:
    """The sample with what OpenAI's has besides its text."""
    sample = sample_fields(case)
    text = sample.get("output_text")
    if not isinstance(text, str):
        return sample
    if "output_json" not in sample:
        with suppress(ValueError, RecursionError):
            sample["output_json"] = json.loads(text)
    message = {"role": "assistant", "content": text}
    return {"choices": [{"index": 0, "message": message}], **sample}


def _discard(_stream: str, _text: str) -> None:
    """What a program prints is of no use to anyone."""


def _fault(error: Exception) -> str:
    shown = shortened(str(error))
    if missing := _MISSING_MODULE.search(shown):
        return f"The program needs the module {missing[1]}, which the interpreter does not have."
    return f"The program ended with {shown}"
