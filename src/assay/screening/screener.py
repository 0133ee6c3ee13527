"""Screens a case before judges are asked: by policy it is flagged, held back, or not searched."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

from assay.domain.case_text import case_size, output_text
from assay.domain.completion import Caller
from assay.domain.evaluation import Case, InjectionPolicy, Suspicion, Text
from assay.domain.events import InjectionSuspected
from assay.domain.ports import EventSink
from assay.screening.repetition import Repetition
from assay.screening.scan import excerpt, fields_of, scan, searched, suspicions

INLINE_CHARS_MAX = 100_000
"""A longer case is searched in a thread; this much takes about a millisecond."""

SEARCHES_MAX = 2
"""One under way and one ready to follow. Cases that leave the search all at once would write their
prompts all at once: 400 bodies of a megabyte then took 1.8 MB each at their peak, and so 1.15."""


@dataclass(frozen=True, slots=True)
class Screening:
    """The signs that were found in a case, and what follows from them under each policy."""

    suspicions: tuple[Suspicion, ...] = ()

    def holds_back(self, policy: InjectionPolicy) -> bool:
        """Whether no judge may be asked."""
        return policy == "quarantine" and bool(self.suspicions)

    def shown_under(self, policy: InjectionPolicy) -> tuple[Suspicion, ...]:
        """The signs as the caller sees them."""
        return () if policy == "off" else self.suspicions

    @property
    def explanation(self) -> str:
        """Why the case was held back."""
        signs = ", ".join(dict.fromkeys(suspicion.sign for suspicion in self.suspicions))
        return f"The case shows signs of prompt injection: {signs}."


class Screener:
    """Screens cases and pairs of outputs; it remembers the outputs that a tenant repeats."""

    def __init__(self, events: EventSink) -> None:
        self._events = events
        self._repetition = Repetition()
        self._searcher = ThreadPoolExecutor(1, "injection-search")
        self._loop: asyncio.AbstractEventLoop | None = None
        self._searches = asyncio.Semaphore(SEARCHES_MAX)

    async def screen(
        self, case: Case, policies: Iterable[InjectionPolicy], caller: Caller
    ) -> Screening:
        """Search the case once for all its judged criteria; not where every policy is `off`."""
        active = set(policies) - {"off"}
        if not active:
            return Screening()
        found = await self._signs(case, case, caller)
        return self._reported(found, active, caller)

    async def screen_pair(
        self, case: Case, other: Text, policy: InjectionPolicy, caller: Caller
    ) -> Screening:
        """Search the case, whose output is `output_a`, and the other output, `output_b`."""
        if policy == "off":
            return Screening()
        first = await self._signs(case, case, caller)
        second = await self._signs(Case(other), replace(case, output=other), caller)
        found = (*_renamed(first, "output_a"), *_renamed(second, "output_b"))
        return self._reported(found, {policy}, caller)

    async def aclose(self) -> None:
        """End the search thread; searches that wait for it are cancelled."""
        self._searcher.shutdown(wait=False, cancel_futures=True)

    async def _signs(self, texts: Case, case: Case, caller: Caller) -> tuple[Suspicion, ...]:
        """The signs in `texts`, and whether the output of `case` is one that the tenant repeats."""
        large = case_size(texts) > INLINE_CHARS_MAX
        found = await self._scanned(texts) if large else scan(texts)
        if self._repetition.is_constant(caller.tenant, case):
            found += (Suspicion("constant_answer", "output", excerpt(output_text(case))),)
        return found

    def _reported(
        self, found: tuple[Suspicion, ...], policies: Iterable[InjectionPolicy], caller: Caller
    ) -> Screening:
        for sign in dict.fromkeys(suspicion.sign for suspicion in found):
            for policy in sorted(policies):
                self._events.emit(InjectionSuspected(caller, sign, policy))
        return Screening(found)

    async def _scanned(self, case: Case) -> tuple[Suspicion, ...]:
        """Scan beside the event loop: RE2 releases the interpreter's lock.

        One thread searches all texts, at a speed that does not depend on what they say; with more
        threads the loop would have to compete for its processor. Decoding takes as long as a text
        makes it, so it runs in other threads, where it delays no other case's search.
        """
        loop = asyncio.get_running_loop()
        async with self._turn(loop):
            found = await loop.run_in_executor(self._searcher, searched, fields_of(case))
        return await asyncio.to_thread(suspicions, found) if found else ()

    def _turn(self, loop: asyncio.AbstractEventLoop) -> asyncio.Semaphore:
        """Bounds the cases whose texts are copied for the search; a semaphore has one loop."""
        if self._loop is not loop:
            self._loop, self._searches = loop, asyncio.Semaphore(SEARCHES_MAX)
        return self._searches


def _renamed(found: Iterable[Suspicion], output: str) -> list[Suspicion]:
    return [replace(s, field=output) if s.field == "output" else s for s in found]
