"""Screens a case before judges are asked: by policy it is flagged, held back, or not searched."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import replace

from assay.domain.case_text import answer_text
from assay.domain.completion import Caller
from assay.domain.evaluation import Case, InjectionPolicy, Suspicion, Text
from assay.domain.events import InjectionSuspected
from assay.domain.ports import EventSink
from assay.screening.repetition import Repetition
from assay.screening.scan import excerpt, scan

HELD_BACK = "The case shows signs of prompt injection: see `suspect`."


class Screener:
    """Screens cases and pairs of outputs; it remembers the outputs that a tenant repeats.

    It works on the event loop: `docs/attacks.md` has the time that a megabyte takes.
    """

    def __init__(self, events: EventSink) -> None:
        self._events = events
        self._repetition = Repetition()

    def screen(
        self, case: Case, policies: Collection[InjectionPolicy], caller: Caller
    ) -> tuple[Suspicion, ...]:
        """Search the case once for all its judged criteria; not where every policy is `off`."""
        if set(policies) == {"off"}:
            return ()
        found = (*scan(case), *self._repeated(case, caller))
        self.report(found, policies, caller)
        return found

    def screen_pair(
        self, case: Case, other: Text, policy: InjectionPolicy, caller: Caller
    ) -> tuple[Suspicion, ...]:
        """Search the case, whose output is `output_a`, and the other output, `output_b`."""
        if policy == "off":
            return ()
        second = replace(case, output=other)
        in_a = (*scan(case), *self._repeated(case, caller))
        in_b = (*scan(Case(other)), *self._repeated(second, caller))
        found = (*_renamed(in_a, "output_a"), *_renamed(in_b, "output_b"))
        self.report(found, {policy}, caller)
        return found

    def report(
        self, found: Iterable[Suspicion], policies: Collection[InjectionPolicy], caller: Caller
    ) -> None:
        """Tell those who watch of each sign, once for each policy but `off`."""
        for sign in dict.fromkeys(suspicion.sign for suspicion in found):
            for policy in sorted(set(policies) - {"off"}):
                (caller.deferral or self._events).emit(InjectionSuspected(caller, sign, policy))

    def _repeated(self, case: Case, caller: Caller) -> Iterable[Suspicion]:
        """A sign where the output of the case is one that the tenant repeats."""
        if self._repetition.is_constant(caller.tenant, case):
            yield Suspicion("constant_answer", "output", excerpt(answer_text(case)))


def _renamed(found: Iterable[Suspicion], output: str) -> list[Suspicion]:
    return [replace(s, field=output) if s.field == "output" else s for s in found]
