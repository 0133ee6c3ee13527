"""The fixture: evaluates an output, and makes a test of it."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NoReturn

from assay.errors import AssayError
from assay.reports.report import reported
from assay.reports.text import printable_lines, shortened

if TYPE_CHECKING:
    from assay.client import Assay, CriterionVerdict, EvaluationResult

LINE_CHARS_SHOWN = 500
SIMULATED = "The service has no model. With --assay-allow-simulated, simulated verdicts count."


class Unscored(AssertionError):
    """A criterion is not scored, so the test has neither passed nor failed."""


class AssayFixture:
    """What a test has as `assay`."""

    def __init__(
        self, client: Assay, unscored: Callable[[str], NoReturn], *, allow_simulated: bool
    ) -> None:
        """`unscored` ends a test whose verdict is missing."""
        self.client = client
        """The client, for all else that the service does."""
        self._unscored = unscored
        self._allow_simulated = allow_simulated

    def evaluate(self, *, output: Any, **request: Any) -> EvaluationResult:
        """The result of `Assay.evaluate`, which takes the same arguments."""
        __tracebackhide__ = True
        try:
            return self.client.evaluate(output=output, **request)
        except AssayError as error:
            # The line of the test is at fault, if any is, and not one of the client.
            raise error.with_traceback(None) from None

    def check(self, *, output: Any, **request: Any) -> EvaluationResult:
        """As `evaluate`; raises `AssertionError` if a criterion failed.

        A criterion without a score ends the test as `--assay-unscored` says.
        """
        __tracebackhide__ = True
        result = self.evaluate(output=output, **request)
        simulated = [one.name for one in result if self._is_void(one)]
        failed = [one.name for one in result if one.passed is False and one.name not in simulated]
        if not failed and not simulated and result.passed:
            return result
        row = reported("", {"output": output, **request}, result.raw)
        said = [f"  {shortened(line, LINE_CHARS_SHOWN)}" for line in row.lines()]
        texts = (("input", row.input), ("output", row.output))
        said += [f"  {name}: {shortened(text, LINE_CHARS_SHOWN)}" for name, text in texts if text]
        if failed:
            raise AssertionError(_message(result, "failed", failed, said))
        if simulated:
            message = _message(result, "simulated", simulated, [*said, f"  {SIMULATED}"])
        else:
            message = _message(result, "unscored", list(result.unscored), said)
        return self._unscored(message)

    def _is_void(self, verdict: CriterionVerdict) -> bool:
        return verdict.raw.get("simulated") is True and not self._allow_simulated


def _message(result: EvaluationResult, outcome: str, names: list[str], lines: list[str]) -> str:
    head = f"{len(names)} of {len(result.criteria)} criteria {outcome}: {', '.join(names)}"
    return "\n".join(map(printable_lines, (head, *lines)))
