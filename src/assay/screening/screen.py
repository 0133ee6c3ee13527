"""Screens a case before judges are asked: by policy it is flagged, held back, or let pass."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

from assay.criteria.base import Criterion
from assay.criteria.results import unscored
from assay.domain.case_text import case_chars, output_text
from assay.domain.completion import Caller
from assay.domain.evaluation import Case, CriterionResult, InjectionPolicy, JudgeSpec, Suspicion
from assay.domain.events import InjectionSuspected
from assay.domain.ports import EventSink
from assay.screening.repetition import Repetition
from assay.screening.scan import excerpt, fields_of, scan, searched, suspicions


@dataclass(frozen=True, slots=True)
class Screening:
    """What was found in one case, and what it means for each of its judged criteria."""

    suspect: tuple[Suspicion, ...] = ()

    def held_back(self, criterion: Criterion, spec: JudgeSpec) -> CriterionResult | None:
        """The result where policy forbids to ask a judge; None where one may be asked."""
        if not self.suspect or spec.injection != "quarantine":
            return None
        signs = ", ".join(dict.fromkeys(each.sign for each in self.suspect))
        score = unscored(criterion, "judge_suspect", f"signs of injection: {signs}")
        return replace(score, suspect=self.suspect)

    def flagged(self, score: CriterionResult, spec: JudgeSpec) -> CriterionResult:
        """The judge's result, with the evidence where policy asks for it."""
        if not self.suspect or spec.injection == "off":
            return score
        return replace(score, suspect=self.suspect)


INLINE_CHARS_MAX = 100_000
"""A longer case is searched in a thread; this much takes about a millisecond."""


SEARCHES_MAX = 2
"""One under way and one ready to follow. Those who come out of many at once would all write their
prompts at once: 400 bodies of a megabyte then took 1.8 MB each at their peak, and so 1.15."""


class Screener:
    """Screens cases; it remembers the outputs that one caller repeats."""

    def __init__(self, events: EventSink) -> None:
        self._events = events
        self._repetition = Repetition()
        self._searcher = ThreadPoolExecutor(1, "injection-search")
        self._loop: asyncio.AbstractEventLoop | None = None
        self._searches = asyncio.Semaphore(SEARCHES_MAX)

    async def screen(self, case: Case, specs: Iterable[JudgeSpec], caller: Caller) -> Screening:
        """Look through the case once for all its judged criteria; not at all where all are off."""
        policies: set[InjectionPolicy] = {spec.injection for spec in specs} - {"off"}
        if not policies:
            return Screening()
        large = case_chars(case) > INLINE_CHARS_MAX
        suspect = await self._scanned(case) if large else scan(case)
        if self._repetition.is_constant(caller.tenant, case):
            suspect += (Suspicion("constant_answer", "output", excerpt(output_text(case))),)
        for sign in dict.fromkeys(each.sign for each in suspect):
            for policy in sorted(policies):
                self._events.emit(InjectionSuspected(caller, sign, policy))
        return Screening(suspect)

    async def _scanned(self, case: Case) -> tuple[Suspicion, ...]:
        """Scan beside the loop: RE2 lets go of the interpreter's lock.

        One thread makes the pass over each text, which takes the same time for all: with more of
        them the loop would have to fight for its processor. To read what is encoded takes as long
        as a text makes it, so it has threads that hold up nobody else's pass.
        """
        loop = asyncio.get_running_loop()
        async with self._turn(loop):
            found = await loop.run_in_executor(self._searcher, searched, fields_of(case))
        return await asyncio.to_thread(suspicions, found) if found else ()

    def _turn(self, loop: asyncio.AbstractEventLoop) -> asyncio.Semaphore:
        """A place among those whose texts are copied for the search; a semaphore has one loop."""
        if self._loop is not loop:
            self._loop, self._searches = loop, asyncio.Semaphore(SEARCHES_MAX)
        return self._searches
