"""OpenAI's Python grader: programs of callers, in an interpreter that has no system to reach."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

from assay.criteria import parse_criteria
from assay.criteria.base import Check
from assay.domain.completion import Caller
from assay.domain.errors import RequestError
from assay.domain.evaluation import Case, CriterionResult, JudgeSpec
from assay.domain.policy import Deadline
from assay.evaluation.sandbox.pool import SandboxPool
from fakes.engine import engine
from fakes.judges import FakeJudges
from fakes.recorded_events import RecordedEvents

CASE = Case('{"city": "Paris"}', fields={"city": "Paris", "nested": {"list": [1, 2]}})


def grader(body: str, **more: Any) -> dict[str, Any]:
    lines = "\n".join(f"    {line}" for line in body.splitlines())
    return {"type": "python", "source": f"def grade(sample, item):\n{lines}", **more}


@pytest.fixture
async def sandbox() -> AsyncIterator[SandboxPool]:
    pool = SandboxPool(RecordedEvents())
    yield pool
    await pool.aclose()


async def graded(
    sandbox: SandboxPool, body: str, case: Case = CASE, **more: Any
) -> CriterionResult:
    outcome = await engine(FakeJudges(), sandbox).evaluate(
        case,
        parse_criteria([grader(body, **more)]),
        judge=JudgeSpec(),
        caller=Caller(),
        deadline=Deadline.after(30),
    )
    return outcome.evaluation.results[0]


GRADES = {
    "return sample['output_json']['city'] == item['city']": 1,
    "return len(sample['output_text'])": 17,
    "import re\nreturn 0.5 if re.search('Par', sample['output_text']) else 0": 0.5,
    "return item['nested']['list'][1] - 2.5": -0.5,
    "return len(sample['choices'][0]['message']['content']) / 17": 1,
    "print('x' * 100)\nreturn 0.25": 0.25,
    "import time\ntime.sleep(3600)\nreturn 0.75": 0.75,
}


async def test_a_program_grades_the_sample_against_the_item(sandbox: SandboxPool) -> None:
    """`value` is what it returns, and the score is cut to the range."""
    for body, value in GRADES.items():
        result = await graded(sandbox, body)
        assert (result.status, result.value) == ("scored", value)
        assert result.score == min(1, max(0, value))


async def test_the_threshold_is_on_the_programs_own_scale(sandbox: SandboxPool) -> None:
    """A program may count to a hundred."""
    result = await graded(sandbox, "return 70", range=[0, 100], pass_threshold=80)
    assert (result.score, result.passed) == (0.7, False)
    result = await graded(sandbox, "return 70", pass_threshold=60)
    assert (result.score, result.passed) == (1, True)


INVALID = {
    "try:\n    while True: pass\nexcept BaseException:\n    return 1": "time limit",
    "held = []\nwhile True: held.append('x' * 1000000)": "memory limit",
    "return 10 ** 10 ** 9": "memory limit",
    "return grade(sample, item)": "recursion",
    "return item['missing']": "missing",
    "return open('/etc/passwd').read()": "Permission denied",
    "import os\nreturn len(os.environ)": "environ",
    "return float('nan')": "no finite number",
    "return float('inf')": "no finite number",
    "return 10**400": "no finite number",
    "return -10**5000": "no finite number",
    "return None": "no finite number",
    "return 'high'": "no finite number",
    "return [1]": "no finite number",
    "raise ValueError('nothing')": "nothing",
    "import numpy\nreturn 1": "module numpy",
    "from rapidfuzz import fuzz\nreturn 1": "module rapidfuzz",
}


async def test_a_program_that_gives_no_number_is_unscored(sandbox: SandboxPool) -> None:
    """The reason says what happened; an invalid grade is never 0."""
    for body, said in INVALID.items():
        result = await graded(sandbox, body)
        assert (result.status, result.reason, result.score) == ("unscored", "check_error", None)
        assert said in result.explanation


UNUSABLE = {
    "def grade(sample item): return 1": "Expected",
    "def score(sample, item): return 1": "grade",
    "import numpy as np\ndef grade(sample, item): return 1": "module numpy",
    "while True: pass\ndef grade(sample, item): return 1": "time limit",
}


async def test_a_program_that_cannot_start_is_an_error_of_the_request(sandbox: SandboxPool) -> None:
    """It is found before anything is judged, and its place is named."""
    for source, said in UNUSABLE.items():
        with pytest.raises(RequestError) as caught:
            await engine(FakeJudges(), sandbox).compile(
                parse_criteria([{"type": "python", "source": source}]),
                caller=Caller(),
                deadline=Deadline.after(30),
            )
        [fault] = caught.value.errors
        assert fault.pointer == "/criteria/0/source"
        assert said in fault.message


async def test_a_faulty_program_within_a_multi_grader_is_found(sandbox: SandboxPool) -> None:
    """The pointer leads to the part."""
    part = {"type": "python", "source": "grades = 1"}
    multi = {"type": "multi", "graders": {"it": part}, "calculate_output": "it"}
    with pytest.raises(RequestError) as caught:
        await engine(FakeJudges(), sandbox).compile(
            parse_criteria(["fine", multi]), caller=Caller(), deadline=Deadline.after(30)
        )
    assert caught.value.errors[0].pointer == "/criteria/1/graders/it/source"


def test_no_program_runs_on_the_event_loop() -> None:
    """However small, it runs in a worker process."""
    [criterion] = parse_criteria([grader("return 1")])
    assert isinstance(criterion, Check)
    assert not SandboxPool(RecordedEvents()).runs_inline(criterion, Case(""), 0)
