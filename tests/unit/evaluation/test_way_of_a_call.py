"""The way from the engine to the model: short, and the same for everyone who needs no more."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Iterator
from pathlib import Path
from types import CodeType
from typing import Any

import assay
from assay.criteria import parse_criteria
from assay.domain.completion import CallContext, Completion, Prompt
from assay.domain.evaluation import JudgeSpec
from assay.domain.policy import Deadline
from assay.evaluation.sandbox.pool import SandboxPool
from fakes.engine import CALLER, CASE, engine
from fakes.judges import PASS, FakeJudges, completion_of, read_by
from fakes.recorded_events import RecordedEvents

SOURCES = Path(assay.__file__).parent
FRAMES_MAX = 7
ONLY_FOR_SOME = {"voting.py", "long_input.py", "shared_call.py", "concurrency.py"}
"""What panels, samples, long input and shared calls need."""


class LookingBack:
    """Answers, and notes the service's own frames between itself and the engine."""

    def __init__(self, engine_task: asyncio.Task[Any]) -> None:
        self._engine_task = engine_task
        self.frames: list[CodeType] = []

    async def complete(self, prompt: Prompt, context: CallContext) -> Completion:
        frames = [*_awaited(self._engine_task), *reversed(list(_calling()))]
        self.frames = [code for code in frames if SOURCES in Path(code.co_filename).parents]
        return read_by(prompt, completion_of(PASS))


def _awaited(task: asyncio.Task[Any]) -> Iterator[CodeType]:
    """What a task waits for, the outermost first."""
    coroutine: Any = task.get_coro()
    while hasattr(coroutine, "cr_code"):
        yield coroutine.cr_code
        coroutine = coroutine.cr_await


def _calling() -> Iterator[CodeType]:
    """What calls this function, the innermost first."""
    frame = sys._getframe()
    while frame.f_back is not None:
        frame = frame.f_back
        yield frame.f_code


async def test_one_criterion_one_judge_and_one_sample_take_few_frames() -> None:
    """At most seven of our own, the engine's included; none that only other cases need."""
    task = asyncio.current_task()
    assert task is not None
    model = LookingBack(task)
    await engine(FakeJudges(model), SandboxPool(RecordedEvents())).evaluate(
        CASE,
        parse_criteria("Is it right?"),
        judge=JudgeSpec(),
        caller=CALLER,
        deadline=Deadline.after(10),
    )
    names = [code.co_qualname for code in model.frames]
    assert names[0] == "Evaluator.evaluate"
    assert len(names) <= FRAMES_MAX, names
    assert not {Path(code.co_filename).name for code in model.frames} & ONLY_FOR_SOME, names
