"""One call goes first, and the others read what it had cached."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest

from assay.criteria import parse_criteria
from assay.criteria.judge import Judge, judge_spec
from assay.domain.completion import Prompt
from assay.domain.deferral import Deferral
from assay.domain.errors import AnswerUnreadable, ProviderDown
from assay.domain.evaluation import Case, Evaluation, JudgeSpec
from assay.domain.policy import Deadline
from assay.domain.prefix import CommonPrefix
from assay.evaluation.evaluator import Evaluator
from assay.evaluation.sandbox.pool import SandboxPool
from assay.screening import Screener
from assay.verdicts.answer_format import COMMON_VALUES_MAX, answer_schema, common_schema
from assay.verdicts.reader import read_verdict
from assay.verdicts.scales import LabelScale, NumberScale
from fakes.engine import CALLER, NO_FETCHES
from fakes.judges import PASS, FakeJudges, ScriptedModel, completion_of
from fakes.recorded_events import RecordedEvents

LONG = Case("word " * 2_000)
PASS_FAIL, YES_NO = LabelScale(("pass", "fail")), LabelScale(("yes", "no"))
ONE_TO_FIVE = NumberScale(1, 5, integer=True)


class Concurrent(ScriptedModel):
    """Counts how many calls are in flight when each begins."""

    def __init__(self, *answers: Any) -> None:
        super().__init__(*answers)
        self.in_flight: list[int] = []
        self._now = 0

    async def complete(self, prompt: Prompt[Any], context: Any) -> Any:
        self._now += 1
        self.in_flight.append(self._now)
        try:
            await asyncio.sleep(0.01)
            return await super().complete(prompt, context)
        finally:
            self._now -= 1


async def evaluated(
    model: ScriptedModel | Mapping[str, ScriptedModel] | FakeJudges, case: Case = LONG, **judge: Any
) -> Evaluation:
    """Three criteria of a case in a batch."""
    sandbox, events = SandboxPool(RecordedEvents()), RecordedEvents()
    if isinstance(model, FakeJudges):
        judges = model
    else:
        judges = FakeJudges(**model) if isinstance(model, Mapping) else FakeJudges(model)
    evaluator = Evaluator(judges, sandbox, Screener(events), events, NO_FETCHES, b"k" * 32)
    deferral = Deferral("batch") if judge.get("service") == "batch" else None
    outcome = await evaluator.evaluate(
        case,
        parse_criteria(["one", "two", "three"]),
        judge=judge_spec(Judge(**judge)),
        caller=replace(CALLER, priority="batch", deferral=deferral),
        deadline=Deadline.after(10),
    )
    await sandbox.aclose()
    return outcome.evaluation


@pytest.mark.parametrize("samples", [1, 2])
async def test_in_a_batch_one_call_goes_first(samples: int) -> None:
    """It is alone until it is answered; then the others go together."""
    model = Concurrent(PASS)
    await evaluated(model, samples=samples)
    assert model.in_flight[:3] == [1, 1, 2]
    assert len(model.in_flight) == 3 * samples


@pytest.mark.parametrize(
    ("case", "judge"),
    [(Case("short"), {}), (LONG, {"prefix_cache": False}), (LONG, {"service": "batch"})],
)
async def test_what_does_not_pay_does_not_wait(case: Case, judge: dict[str, Any]) -> None:
    """A short case is not cached, a caller may prefer the faster answer, and the calls of a
    provider's job may find nothing in a cache."""
    model = Concurrent(PASS)
    await evaluated(model, case, **judge)
    assert model.in_flight == [1, 2, 3]
    assert all(prompt.shared is None for prompt in model.prompts)


async def test_criteria_in_one_call_have_no_beginning_in_common() -> None:
    """They share a whole call already."""
    model = Concurrent(PASS)
    await evaluated(model, batch_criteria=True)
    assert model.prompts[0].shared is None


async def test_a_first_call_that_fails_lets_the_others_go() -> None:
    """They go together, whatever became of it."""
    model = Concurrent(ProviderDown("down"), PASS, PASS)
    evaluation = await evaluated(model)
    assert sorted(result.status for result in evaluation.results) == [
        "scored",
        "scored",
        "unscored",
    ]
    assert model.in_flight == [1, 1, 2]


async def called(prefix: CommonPrefix, deadline_s: float, takes_s: float = 0.0) -> str:
    """A call to one model that takes so long."""
    async with prefix.turn("model", Deadline.after(deadline_s)):
        await asyncio.sleep(takes_s)
        return "done"


async def test_nobody_waits_longer_than_half_its_time() -> None:
    """A first call that hangs does not take the others with it."""
    prefix = CommonPrefix(JudgeSpec(), None)
    hanging = asyncio.create_task(called(prefix, 60, takes_s=60))
    await asyncio.sleep(0)
    assert await called(prefix, 0.02) == "done"
    assert not hanging.done()
    hanging.cancel()


async def test_a_cancelled_first_call_lets_the_others_go() -> None:
    """Its end is an end, too."""
    prefix = CommonPrefix(JudgeSpec(), None)
    first = asyncio.create_task(called(prefix, 60, takes_s=60))
    await asyncio.sleep(0)
    second = asyncio.create_task(called(prefix, 60))
    await asyncio.sleep(0)
    first.cancel()
    assert await second == "done"


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ({"verdict": "pass", "score": None}, "pass"),
        ({"verdict": "pass", "score": 3}, "pass"),
        ({"verdict": "yes", "score": None}, None),
        ({"verdict": None, "score": 3}, None),
        ({"verdict": None, "score": None}, None),
    ],
)
def test_a_verdict_is_read_on_its_own_scale(said: dict[str, Any], expected: str | None) -> None:
    """What the common schema allows beyond it is no verdict, and is not taken for one."""
    completion = completion_of(json.dumps({"reasoning": "r", "manipulation": "none", **said}))
    if expected is None:
        with pytest.raises(AnswerUnreadable):
            read_verdict(completion, PASS_FAIL)
    else:
        assert read_verdict(completion, PASS_FAIL).value == expected


async def test_only_the_first_judge_of_a_cascade_is_worth_a_mark() -> None:
    """Nobody knows how many criteria come to the second; its calls still begin alike."""
    models = {"cheap": ScriptedModel(PASS), "dear": ScriptedModel(PASS)}
    tiers = [{"models": ["cheap"], "samples": 2}, {"models": ["dear"]}]
    await evaluated(models, cascade={"tiers": tiers})
    for name, is_marked in (("cheap", True), ("dear", False)):
        for prompt in models[name].prompts:
            assert prompt.shared is not None
            assert bool(prompt.turns[-1].shared) is is_marked


async def test_a_text_that_is_cut_begins_as_no_other() -> None:
    """What is left of it depends on the length of the task."""
    model = ScriptedModel(PASS)
    judges = FakeJudges(model)
    judges.window_tokens = 2_400
    await evaluated(judges, long_input="truncate")
    assert len(model.prompts) == 3
    assert all(prompt.shared is None for prompt in model.prompts)


def test_a_common_schema_of_one_scale_is_its_own() -> None:
    """So where all criteria offer the same, nothing changes."""
    scales = {"": PASS_FAIL}
    assert common_schema([scales, scales]) == answer_schema(scales)


def test_a_common_schema_offers_what_each_does() -> None:
    """Labels together, numbers together, and null in place of what is not asked for."""
    schema = common_schema([{"": PASS_FAIL}, {"": YES_NO}, {"": ONE_TO_FIVE}])
    assert schema is not None
    properties = schema.schema["properties"]
    assert list(properties) == ["reasoning", "manipulation", "score", "verdict"]
    labels, null = properties["verdict"]["anyOf"]
    assert labels["enum"] == ["pass", "fail", "yes", "no"]
    assert null == {"type": "null"}
    assert properties["score"]["anyOf"][0]["enum"] == [1, 2, 3, 4, 5]


@pytest.mark.parametrize(
    ("other", "expected"),
    [
        (NumberScale(0, 2, integer=True), {"type": "integer", "enum": [0, 1, 2, 3, 4, 5]}),
        (NumberScale(0, 90, integer=True), {"type": "integer", "description": "from 0 to 90"}),
        (NumberScale(0, 1, integer=False), {"type": "number", "description": "from 0 to 5"}),
    ],
)
def test_ranges_are_united(other: NumberScale, expected: dict[str, Any]) -> None:
    """A schema allows both; the reader still takes only what its own scale offers."""
    schema = common_schema([{"": ONE_TO_FIVE}, {"": other}])
    assert schema is not None
    assert schema.schema["properties"]["score"] == expected


def test_too_many_values_have_no_common_schema() -> None:
    """Providers refuse schemas with many hundreds of values."""
    labels = tuple(f"label {number}" for number in range(COMMON_VALUES_MAX))
    assert common_schema([{"": LabelScale(labels)}, {"": PASS_FAIL}]) is None
