"""The scales that the tests of this folder read verdicts on."""

from __future__ import annotations

from typing import Any

from assay.domain.completion import Completion
from assay.domain.errors import ModelError
from assay.verdicts.reader import PLAIN, Protocol, Reading, read_verdict
from assay.verdicts.scales import LabelScale, NumberScale

FIVE = NumberScale(1, 5, integer=True)
TEN = NumberScale(1, 10, integer=True)
UNIT = NumberScale(0, 1, integer=False)
DECIMAL = NumberScale(0, 10, integer=False)
PASS_FAIL = LabelScale(
    ("pass", "fail"), {"passes": "pass", "passed": "pass", "fails": "fail", "failed": "fail"}
)
YES_NO = LabelScale(("yes", "no"))
LETTERS = LabelScale(("A", "B", "C"))
PAIR = LabelScale(("a", "b", "tie"), {"draw": "tie", "a tie": "tie"}, pair=("a", "b"), tie="tie")
RELATIONS = ("subset", "superset", "equal", "disagree", "immaterial")
FACTS = LabelScale(RELATIONS, dict(zip("ABCDE", RELATIONS, strict=True)))


def reading(
    text: str, scale: Any, finish: str = "stop", protocol: Protocol = PLAIN
) -> Reading[Any] | None:
    """The reading of an answer; None where no verdict is read."""
    completion = Completion(text, finish, "fake", "judge")  # type: ignore[arg-type]
    try:
        return read_verdict(completion, scale, protocol)
    except ModelError:
        return None


def verdict(text: str, scale: Any, finish: str = "stop", protocol: Protocol = PLAIN) -> Any:
    """The verdict of an answer; None where none is read."""
    found = reading(text, scale, finish, protocol)
    return None if found is None else found.value
