"""Judges one after the other: who is asked, whose verdict counts, and what the result says."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from assay.criteria import parse_criteria
from assay.criteria.base import Finding
from assay.criteria.judge import Judge, judge_spec
from assay.criteria.results import CriterionOutcome
from assay.domain.cascade import CascadeCertificate, CascadeRecord, Thresholds
from assay.domain.errors import CostCapReached, ModelError, ProviderDown, RequestError
from assay.domain.evaluation import (
    CascadeSpec,
    Case,
    CriterionResult,
    Evaluation,
    JudgeRecord,
    JudgeSpec,
    NamedVersion,
)
from assay.domain.events import CascadeFinished
from assay.domain.policy import Deadline
from assay.evaluation.sandbox.pool import SandboxPool
from assay.evaluation.selection import calls_of, judges_of, panel_for
from assay.judging.cascade import _Course
from assay.judging.judge import Assignment
from assay.verdicts.logprobs import TOP_LOGPROBS
from fakes.calls import call
from fakes.engine import CALLER, CASE, comparer, engine, evaluated, one
from fakes.judges import COST_USD, FAIL, PASS, USAGE, FakeJudges, ScriptedModel, WeighingModel
from fakes.recorded_events import RecordedEvents

CHEAP, DEAR = {"models": ["cheap"], "samples": 5}, {"models": ["dear"]}
G_EVAL = {"type": "g_eval", "criteria": "clear?"}


def cascade(*tiers: Any, thresholds: Any = (0.8, 0.0), **fields: Any) -> dict[str, Any]:
    """The cascade of a request, by default the cheap judge before the dear one."""
    given = {} if thresholds is None else {"thresholds": thresholds}
    return {"tiers": tiers or (CHEAP, DEAR), **given, **fields}


def samples(passes: int) -> ScriptedModel:
    """A model of whose five verdicts so many pass."""
    return ScriptedModel(*[PASS] * passes, *[FAIL] * (5 - passes))


def record_of(result: CriterionResult) -> CascadeRecord:
    assert result.judge is not None
    assert result.judge.cascade is not None
    return result.judge.cascade


async def certified(
    certificate: CascadeCertificate | None,
    judges: FakeJudges,
    criteria: Any = "right?",
    **fields: Any,
) -> Evaluation:
    """An evaluation by an evaluator whose cascade has only the thresholds of its certificate."""
    outcome = await engine(judges, SandboxPool(RecordedEvents())).evaluate(
        CASE,
        parse_criteria(criteria),
        judge=judge_spec(Judge(cascade=cascade(thresholds=None, **fields))),
        caller=CALLER,
        deadline=Deadline.after(10),
        named=NamedVersion("quality", 3, certificate),
    )
    return outcome.evaluation


class TestTiers:
    async def test_a_sure_judge_is_the_only_one_asked(self) -> None:
        """Five of five samples agree: the dear judge costs nothing."""
        judges = FakeJudges(cheap=samples(5), dear=(dear := ScriptedModel(FAIL)))
        events = RecordedEvents()
        result = await one("right?", judges, events=events, cascade=cascade())
        assert (result.passed, dear.prompts) == (True, [])
        assert result.cost_usd == pytest.approx(5 * COST_USD)
        record = record_of(result)
        assert (record.tier, record.certified) == (0, False)
        [tier] = record.tiers
        assert (tier.passed, tier.label, tier.score, tier.confidence) == (True, "pass", 1.0, 1.0)
        assert (tier.model, tier.reason, tier.cost_usd) == ("fake/judge", None, result.cost_usd)
        assert events.of(CascadeFinished) == [CascadeFinished(0)]

    async def test_an_unsure_judge_is_followed_by_the_next(self) -> None:
        """Three of five agree: the dear judge decides, and the result has the cost of both."""
        judges = FakeJudges(cheap=samples(3), dear=ScriptedModel(FAIL))
        result = await one("right?", judges, cascade=cascade())
        assert (result.passed, result.label) == (False, "fail")
        assert result.cost_usd == pytest.approx(6 * COST_USD)
        assert result.usage == sum([USAGE] * 5, USAGE)
        assert result.judge is not None
        assert len(result.judge.attempts) == 6
        record = record_of(result)
        assert record.tier == 1
        assert [tier.passed for tier in record.tiers] == [True, False]
        assert [tier.confidence for tier in record.tiers] == [0.6, None]

    @pytest.mark.parametrize(("otherwise", "passed"), [("unscored", None), ("last", True)])
    async def test_where_no_judge_is_sure_the_policy_decides(
        self, otherwise: str, passed: bool | None
    ) -> None:
        """Unscored with the reason, or the verdict of the last judge; no tier is accepted."""
        judges, events = FakeJudges(cheap=samples(3), dear=samples(4)), RecordedEvents()
        wanted = cascade(CHEAP, DEAR | {"samples": 5}, thresholds=[0.8, 0.9], otherwise=otherwise)
        result = await one("right?", judges, events=events, cascade=wanted)
        assert (result.passed, record_of(result).tier) == (passed, None)
        assert result.reason == ("judge_unsure" if passed is None else None)
        assert [tier.confidence for tier in record_of(result).tiers] == [0.6, 0.8]
        assert events.of(CascadeFinished) == [CascadeFinished(None)]

    async def test_without_thresholds_every_judge_is_asked(self) -> None:
        """The last one decides, nothing is certified, and nothing counts as accepted."""
        judges, events = FakeJudges(cheap=samples(5), dear=ScriptedModel(FAIL)), RecordedEvents()
        result = await one("right?", judges, events=events, cascade=cascade(thresholds=None))
        record = record_of(result)
        assert (result.passed, record.tier, record.certified) == (False, None, False)
        assert [(tier.passed, tier.confidence) for tier in record.tiers] == [
            (True, 1.0),
            (False, None),
        ]
        assert not events.of(CascadeFinished)

    async def test_a_judge_without_a_verdict_goes_on(self) -> None:
        """The failure of the first judge is shown, even where its threshold is 0."""
        judges = FakeJudges(cheap=ScriptedModel(ProviderDown("down")), dear=ScriptedModel(PASS))
        result = await one("right?", judges, cascade=cascade(thresholds=[0.0, 0.0]))
        first, second = record_of(result).tiers
        assert (first.model, first.reason) == ("cheap", "providers_unavailable")
        assert first.passed is first.label is first.score is first.confidence is None
        assert (second.passed, result.passed, record_of(result).tier) == (True, True, 1)

    @pytest.mark.parametrize(
        "error", [ProviderDown("down"), CostCapReached("no more")], ids=lambda error: error.reason
    )
    async def test_a_failure_of_the_last_judge_is_the_reason(self, error: ModelError) -> None:
        """It may pass by itself, so it is not told as doubt, whatever the policy."""
        for otherwise in ("unscored", "last"):
            judges = FakeJudges(cheap=samples(3), dear=ScriptedModel(error))
            result = await one("right?", judges, cascade=cascade(otherwise=otherwise))
            assert (result.status, result.reason) == ("unscored", error.reason)
            assert record_of(result).tiers[0].confidence == 0.6

    async def test_samples_that_failed_agree_with_none(self) -> None:
        """One verdict of five is no unanimous one."""
        cheap = ScriptedModel(PASS, *[ProviderDown("down")] * 4)
        result = await one("right?", FakeJudges(cheap=cheap, dear=samples(5)), cascade=cascade())
        assert [tier.confidence for tier in record_of(result).tiers] == [0.2, None]

    async def test_one_verdict_without_probabilities_has_no_confidence(self) -> None:
        """It is accepted at the threshold 0 alone."""
        for threshold, tier in ((0.0, 0), (0.01, 1)):
            judges = FakeJudges(cheap=ScriptedModel(PASS), dear=ScriptedModel(PASS))
            wanted = cascade({"models": ["cheap"]}, DEAR, thresholds=[threshold, 0.0])
            assert record_of(await one("right?", judges, cascade=wanted)).tier == tier

    @pytest.mark.parametrize(("threshold", "tier"), [(0.7, 0), (0.71, 1)])
    async def test_the_confidence_of_a_weighted_verdict_is_its_probability(
        self, threshold: float, tier: int
    ) -> None:
        """The mass of the number that was given, not of the mean that is the value."""
        cheap = WeighingModel('{"reasoning": "r", "score": 4}', "4", {"4": 0.7, "5": 0.2, "x": 0.1})
        judges = FakeJudges(cheap=cheap, dear=ScriptedModel('{"reasoning": "r", "score": 1}'))
        wanted = cascade({"models": ["cheap"]}, DEAR, thresholds=[threshold, 0.0])
        record = record_of(await one(G_EVAL, judges, cascade=wanted))
        assert record.tier == tier
        assert record.tiers[0].confidence == pytest.approx(0.7)

    @pytest.mark.parametrize(
        ("token", "sure"), [("fail", 0.7), (" Fail", 0.7), ("fai", None)], ids=repr
    )
    async def test_the_only_verdict_of_a_tier_is_weighed(
        self, token: str, sure: float | None
    ) -> None:
        """By its own token, where that is the whole verdict; samples are not asked to weigh."""
        text = f'{{"reasoning": "bad", "verdict": "{token}{"l" * (token == "fai")}"}}'
        cheap = WeighingModel(text, token, {token: 0.7, "pass": 0.3})
        judges = FakeJudges(cheap=cheap, dear=(dear := samples(5)))
        wanted = cascade({"models": ["cheap"]}, DEAR | {"samples": 5}, thresholds=[0.71, 0.0])
        record = record_of(await one("right?", judges, cascade=wanted))
        assert record.tiers[0].confidence == (None if sure is None else pytest.approx(sure))
        assert {prompt.sampling.top_logprobs for prompt in cheap.prompts} == {TOP_LOGPROBS}
        assert {prompt.sampling.top_logprobs for prompt in dear.prompts} == {0}

    async def test_orders_that_contradict_each_other_are_unsure(self) -> None:
        """Each order is unanimous, and the tie is what neither of them says."""
        judges = FakeJudges(cheap=ScriptedModel('{"reasoning": "r", "verdict": "a"}'))
        criterion = {"type": "pairwise", "rubric": "better?", "against": "Lyon"}
        wanted = cascade(CHEAP, CHEAP, thresholds=[0.5, 0.5])
        result = await one(criterion, judges, cascade=wanted)
        assert [tier.confidence for tier in record_of(result).tiers] == [0.0, 0.0]
        assert result.reason == "judge_unsure"

    async def test_members_of_a_panel_agree_or_not(self) -> None:
        """The share of members that say the same."""
        models = {"one": ScriptedModel(PASS), "two": ScriptedModel(PASS), "three": samples(0)}
        panel = {"models": list(models), "strategy": "panel"}
        judges = FakeJudges(**models, dear=ScriptedModel(FAIL))
        result = await one("right?", judges, cascade=cascade(panel, DEAR, thresholds=[0.6, 0.0]))
        assert record_of(result).tiers[0].confidence == pytest.approx(2 / 3)
        assert result.passed is True

    async def test_a_criterion_that_needs_no_judge_asks_none(self) -> None:
        """Two equal texts are a tie, and no tier has been unsure of it."""
        judges = FakeJudges(cheap=(cheap := ScriptedModel()), dear=ScriptedModel())
        criterion = {"type": "pairwise", "rubric": "better?", "against": CASE.output}
        result = await one(criterion, judges, cascade=cascade(thresholds=[0.9, 0.9]))
        assert (result.score, result.judge, cheap.prompts) == (0.5, None, [])

    async def test_a_negated_criterion_shows_its_tiers_reversed(self) -> None:
        """What passes the judge fails the criterion, in tiers as in the result."""
        judges = FakeJudges(cheap=samples(5), dear=ScriptedModel())
        criterion = {"type": "rubric", "rubric": "rude?", "negate": True}
        result = await one(criterion, judges, cascade=cascade())
        [tier] = record_of(result).tiers
        assert (tier.passed, tier.score) == (result.passed, result.score) == (False, 0.0)


class TestBesideOtherFeatures:
    async def test_criteria_share_the_calls_of_a_tier(self) -> None:
        """All share the first call; those that it leaves open share the second."""
        scores = {"c1": {"score": 4}, "c2": {"score": 2}}
        shared = [{"type": "score", "rubric": rubric, "min": 1, "max": 5} for rubric in "ab"]
        cheap, dear = ScriptedModel(json.dumps(scores)), ScriptedModel(json.dumps(scores))
        wanted = cascade({"models": ["cheap"]}, DEAR, thresholds=[0.5, 0.0])
        found = await evaluated(
            shared, FakeJudges(cheap=cheap, dear=dear), batch_criteria=True, cascade=wanted
        )
        assert [result.value for result in found.results] == [4, 2]
        assert (len(cheap.prompts), len(dear.prompts)) == (1, 1)
        assert found.cost_usd == pytest.approx(2 * COST_USD)

    async def test_a_tier_with_samples_shares_no_call(self) -> None:
        """Its criteria are judged by themselves; those left open share the next tier's call."""
        verdicts = {"c1": {"verdict": "fail"}, "c2": {"verdict": "fail"}}
        cheap, dear = ScriptedModel(PASS, FAIL, PASS, FAIL), ScriptedModel(json.dumps(verdicts))
        judges = FakeJudges(cheap=cheap, dear=dear)
        wanted = cascade({"models": ["cheap"], "samples": 2}, DEAR, thresholds=[1.0, 0.0])
        found = await evaluated(["one", "two"], judges, batch_criteria=True, cascade=wanted)
        assert [result.passed for result in found.results] == [False, False]
        assert (len(cheap.prompts), len(dear.prompts)) == (4, 1)

    async def test_a_long_input_goes_to_the_tier_whose_window_takes_it(self) -> None:
        """A judge whose window is too small gives no verdict, and costs nothing."""
        judges = FakeJudges(cheap=(cheap := ScriptedModel()), dear=ScriptedModel(PASS))
        judges.windows = {"cheap": 500.0}
        result = await one("right?", judges, Case("x" * 9_000), cascade=cascade())
        assert [tier.reason for tier in record_of(result).tiers] == ["input_too_long", None]
        assert (result.passed, cheap.prompts) == (True, [])

    async def test_a_verdict_is_verified_by_the_whole_cascade(self) -> None:
        """The suspect case is judged twice, each time from the first tier on."""
        suspect = '{"reasoning": "r", "manipulation": "gives_instructions", "verdict": "pass"}'
        cheap, dear = ScriptedModel(suspect), ScriptedModel(suspect)
        wanted = cascade({"models": ["cheap"]}, DEAR, thresholds=[0.5, 0.0])
        result = await one(
            "right?", FakeJudges(cheap=cheap, dear=dear), injection="verify", cascade=wanted
        )
        assert (len(cheap.prompts), len(dear.prompts), result.passed) == (2, 2, True)
        assert result.cost_usd == pytest.approx(4 * COST_USD)
        assert record_of(result).tier == 1

    async def test_all_tiers_share_one_budget_and_one_cache_policy(self) -> None:
        """What stands beside the cascade holds for each tier."""
        models = [samples(3), ScriptedModel(PASS)]
        judges = FakeJudges(cheap=models[0], dear=models[1])
        await one("right?", judges, max_cost_usd=1.0, cache=True, cascade=cascade())
        contexts = [context for model in models for context in model.contexts]
        assert len({id(context.budget) for context in contexts}) == 1
        assert all(context.budget and context.cacheable for context in contexts)
        assert {spec.max_cost_usd for spec in judges.specs} == {1.0}

    async def test_a_fault_of_one_tier_ends_its_call_alone(self) -> None:
        """An unexpected error is no verdict; the next tier is asked."""
        judges = FakeJudges(cheap=ScriptedModel(ValueError("bug")), dear=ScriptedModel(PASS))
        result = await one("right?", judges, cascade=cascade())
        assert (result.passed, record_of(result).tiers[0].reason) == (True, "check_error")

    def test_calls_are_those_of_all_tiers(self) -> None:
        """The most that a request may make is counted, with both rounds of a verification."""
        spec = judge_spec(Judge(injection="verify", cascade=cascade()))
        chosen = judges_of(
            parse_criteria("right?"), spec, FakeJudges(cheap=ScriptedModel(), dear=ScriptedModel())
        )
        assert calls_of(chosen.values()) == (5 + 1) * 2

    async def test_a_comparison_takes_no_cascade(self) -> None:
        """It is refused by name before any call."""
        judges = FakeJudges(cheap=(cheap := ScriptedModel()), dear=ScriptedModel())
        spec = judge_spec(Judge(cascade=cascade()))
        with pytest.raises(RequestError) as refused:
            await comparer(judges).compare(
                CASE, "Lyon", "better?", judge=spec, caller=CALLER, deadline=Deadline.after(10)
            )
        assert [fault.pointer for fault in refused.value.errors] == ["/judge/cascade"]
        assert not cheap.prompts


class TestCertificates:
    async def test_thresholds_come_from_the_certificate(self) -> None:
        """They are certified where the certificate names the present revision."""
        judges = FakeJudges(cheap=samples(4), dear=ScriptedModel(FAIL))
        before = (await certified(None, judges)).evaluator.revision
        for revision, holds in ((before, True), ("another", False)):
            judges = FakeJudges(cheap=samples(4), dear=ScriptedModel(FAIL))
            certificate = CascadeCertificate(revision, {"rubric": (0.8, 0.0)})
            found = await certified(certificate, judges)
            record = record_of(found.results[0])
            assert (record.tier, record.certified) == (0, holds)
            assert found.evaluator.revision == before
            assert (found.evaluator.name, found.evaluator.version) == ("quality", 3)

    async def test_each_criterion_has_thresholds_of_its_own(self) -> None:
        """One that the certificate does not name is asked of every tier, and is not certified."""
        judges = FakeJudges(cheap=ScriptedModel(PASS), dear=ScriptedModel(PASS))
        criteria = [{"type": "rubric", "rubric": name, "name": name} for name in "abc"]
        thresholds = {"a": (1.0, 0.0), "b": (math.inf, 0.0)}
        revision = (await certified(None, judges, criteria)).evaluator.revision
        certificate = CascadeCertificate(revision, thresholds)
        records = [
            record_of(each) for each in (await certified(certificate, judges, criteria)).results
        ]
        assert [record.tier for record in records] == [0, 1, None]
        assert [record.certified for record in records] == [True, True, False]

    async def test_an_infinite_threshold_skips_the_tier(self) -> None:
        """It is shown in its place, without a verdict, a reason or a cost."""
        judges = FakeJudges(cheap=(cheap := samples(5)), dear=ScriptedModel(FAIL))
        certificate = CascadeCertificate("r", {"rubric": (math.inf, 0.0)})
        [result] = (await certified(certificate, judges)).results
        first, second = record_of(result).tiers
        assert (cheap.prompts, result.passed) == ([], False)
        assert (first.model, first.passed, first.reason, first.cost_usd) == ("cheap", None, None, 0)
        assert second.passed is False

    async def test_a_verdict_that_was_not_accepted_is_not_certified(self) -> None:
        """The guarantee is about accepted verdicts, and not about that of the last judge."""
        judges = FakeJudges(cheap=samples(3), dear=ScriptedModel(FAIL))
        revision = (await certified(None, judges, otherwise="last")).evaluator.revision
        certificate = CascadeCertificate(revision, {"rubric": (0.8, 0.5)})
        judges = FakeJudges(cheap=samples(3), dear=ScriptedModel(FAIL))
        found = await certified(certificate, judges, otherwise="last")
        [result] = found.results
        record = record_of(result)
        assert (result.passed, record.tier, record.certified) == (False, None, False)

    @pytest.mark.parametrize("thresholds", [(0.8,), (math.inf, math.inf)])
    async def test_thresholds_that_fit_no_tiers_do_not_apply(self, thresholds: Thresholds) -> None:
        """For another number of tiers, or for none of them: the cascade stays uncalibrated."""
        judges = FakeJudges(cheap=samples(5), dear=ScriptedModel(FAIL))
        certificate = CascadeCertificate("r", {"rubric": thresholds})
        [result] = (await certified(certificate, judges)).results
        record = record_of(result)
        assert (len(record.tiers), record.tier, record.certified) == (2, None, False)

    async def test_thresholds_of_the_request_go_first(self) -> None:
        """They are never certified."""
        judges = FakeJudges(cheap=samples(4), dear=ScriptedModel(FAIL))
        outcome = await engine(judges, SandboxPool(RecordedEvents())).evaluate(
            CASE,
            parse_criteria("right?"),
            judge=judge_spec(Judge(cascade=cascade(thresholds=[0.9, 0.0]))),
            caller=CALLER,
            deadline=Deadline.after(10),
            named=NamedVersion("quality", 1, CascadeCertificate("r", {"rubric": (0.0, 0.0)})),
        )
        record = record_of(outcome.evaluation.results[0])
        assert (record.tier, record.certified) == (1, False)

    async def test_the_revision_follows_the_tiers_and_thresholds_of_the_request(self) -> None:
        """Another model, number of samples, threshold or policy is another revision."""
        revisions = set()
        for wanted in (
            cascade(),
            cascade(thresholds=None),
            cascade(thresholds=[0.7, 0.0]),
            cascade(otherwise="last"),
            cascade(CHEAP | {"samples": 3}, DEAR),
            cascade(DEAR, CHEAP),
        ):
            judges = FakeJudges(cheap=ScriptedModel(PASS), dear=ScriptedModel(PASS))
            found = await evaluated(["right?"], judges, cascade=wanted)
            revisions.add(found.evaluator.revision)
        assert len(revisions) == 6


class TestRequests:
    @pytest.mark.parametrize(
        ("judge", "pointer", "words"),
        [
            ({"cascade": {"tiers": [CHEAP]}}, ("cascade", "tiers"), "at least 2"),
            ({"cascade": {"tiers": [CHEAP] * 5}}, ("cascade", "tiers"), "at most 4"),
            (
                {"cascade": cascade(thresholds=[0.8])},
                ("cascade", "thresholds"),
                "as many as there are tiers",
            ),
            (
                {"cascade": cascade(thresholds=[1.1, 0.0])},
                ("cascade", "thresholds", 0),
                "less than or equal to 1",
            ),
            (
                {"cascade": cascade(thresholds=[math.nan, 0.0])},
                ("cascade", "thresholds", 0),
                "finite",
            ),
            ({"cascade": cascade(), "models": ["cheap"]}, ("cascade",), "beside a cascade"),
            ({"cascade": cascade(), "strategy": "panel"}, ("cascade",), "beside a cascade"),
            ({"cascade": cascade(otherwise="guess")}, ("cascade", "otherwise"), "unscored"),
        ],
    )
    def test_a_bad_cascade_is_refused_by_name(
        self, judge: dict[str, Any], pointer: tuple[Any, ...], words: str
    ) -> None:
        """Each fault names its field."""
        with pytest.raises(ValidationError) as refused:
            Judge.model_validate(judge)
        fault = refused.value.errors()[0]
        assert fault["loc"] == pointer
        assert words in fault["msg"]

    @pytest.mark.parametrize(
        "field", ["max_cost_usd", "cache", "injection", "batch_criteria", "cascade"]
    )
    def test_what_holds_for_the_request_stands_beside_the_tiers(self, field: str) -> None:
        """A tier that sets it is refused."""
        with pytest.raises(ValidationError, match=field):
            Judge.model_validate({"cascade": cascade(CHEAP | {field: True}, DEAR)})

    def test_a_tier_that_is_not_configured_is_refused_in_its_place(self) -> None:
        """The pointer leads to the tier."""
        spec = judge_spec(Judge(cascade=cascade(DEAR, "unheard-of")))
        with pytest.raises(RequestError) as refused:
            panel_for(spec, "/judge", FakeJudges(dear=ScriptedModel()))
        [fault] = refused.value.errors
        assert fault.pointer == "/judge/cascade/tiers/1"

    def test_tiers_have_what_stands_beside_them(self) -> None:
        """What a tier gives goes first, and what a criterion's judge gives goes before both."""
        request = judge_spec(Judge(temperature=0.5, injection="off", hedge=True, cascade=cascade()))
        assert request.cascade is not None
        assert [tier.samples for tier in request.cascade.tiers] == [5, 1]
        assert {(t.temperature, t.injection) for t in request.cascade.tiers} == {(0.5, "off")}
        assert {tier.hedge for tier in request.cascade.tiers} == {True}
        own = judge_spec(Judge(temperature=0.0), request)
        assert own.cascade is not None
        assert [(t.temperature, t.samples) for t in own.cascade.tiers] == [(0.0, 5), (0.0, 1)]

    @pytest.mark.parametrize("judge", ["strict", Judge(models=("x",)), Judge(strategy="panel")])
    def test_a_criterions_other_judge_replaces_the_cascade(self, judge: Any) -> None:
        """A name, a list of models or a strategy means that judge alone."""
        assert judge_spec(judge, judge_spec(Judge(cascade=cascade()))).cascade is None

    def test_its_json_is_read_as_well(self) -> None:
        """As a stored request has it."""
        written = json.loads(json.dumps({"cascade": cascade()}))
        assert judge_spec(written) == judge_spec(Judge(cascade=cascade()))

    def test_equal_cascades_are_the_same_judge(self) -> None:
        """Specifications are keys."""
        first, second = (judge_spec(Judge(cascade=cascade())) for _ in range(2))
        assert first == second
        assert hash(first) == hash(second)


def test_a_score_that_is_no_number_is_no_verdict() -> None:
    """However sure the judge is, the next tier is asked, and the tier shows a failed check."""
    spec = judge_spec(Judge(cascade=cascade()))
    panel = panel_for(spec, "/judge", FakeJudges(cheap=ScriptedModel(), dear=ScriptedModel()))
    [criterion] = parse_criteria("right?")
    course = _Course(Assignment(criterion, panel, call(), thresholds=(0.5, 0.5)))
    judge = JudgeRecord("fake", "cheap", "x", "v1", "single", ())
    course.add(0, CriterionOutcome(Finding(math.nan, confidence=1.0), judge=judge))
    assert course.goes_to(1)
    course.add(1, CriterionOutcome(Finding(1.0, confidence=0.5), judge=judge))
    record = course.outcome().judge.cascade
    assert (record.tier, record.tiers[0].reason, record.tiers[0].score) == (1, "check_error", None)


VERDICTS = st.one_of(st.none(), st.tuples(st.booleans(), st.one_of(st.none(), st.floats(0, 1))))
TIERS = st.lists(
    st.tuples(VERDICTS, st.one_of(st.floats(0, 1), st.just(math.inf))), min_size=2, max_size=4
).filter(lambda tiers: any(math.isfinite(threshold) for _, threshold in tiers))


@given(TIERS, st.sampled_from(["unscored", "last"]))
def test_the_verdict_is_that_of_the_first_tier_that_is_sure(tiers: Any, otherwise: Any) -> None:
    """Whatever the tiers say, no later tier is asked, and an unsure one never decides by itself."""
    thresholds = tuple(threshold for _, threshold in tiers)
    spec = JudgeSpec(
        cascade=CascadeSpec((JudgeSpec(),) * len(tiers), thresholds, otherwise=otherwise)
    )
    [criterion] = parse_criteria("right?")
    panel = panel_for(spec, "/judge", FakeJudges())
    course = _Course(Assignment(criterion, panel, call(), thresholds=thresholds))
    for number, (verdict, _) in enumerate(tiers):
        if course.goes_to(number):
            judge = JudgeRecord("fake", f"tier-{number}", "x", "v1", "single", ())
            finding = None
            if verdict is not None:
                passed, sure = verdict
                finding = Finding(float(passed), confidence=sure)
            reason = None if verdict is not None else "judge_parse_error"
            course.add(number, CriterionOutcome(finding, reason, judge=judge, cost_usd=1.0))
    sure_ones = [
        number
        for number, (verdict, threshold) in enumerate(tiers)
        if verdict is not None and (verdict[1] or 0.0) >= threshold
    ]
    asked = [number for number, threshold in enumerate(thresholds) if math.isfinite(threshold)]
    outcome = course.outcome()
    assert outcome.judge is not None
    record = outcome.judge.cascade
    assert record is not None
    assert record.tier == (sure_ones[0] if sure_ones else None)
    decides = sure_ones[0] if sure_ones else asked[-1]
    assert outcome.judge.model == f"tier-{decides}"
    assert outcome.cost_usd == len([number for number in asked if number <= decides])
    verdict = tiers[decides][0]
    if verdict is None:
        assert outcome.reason == "judge_parse_error"
    elif sure_ones or otherwise == "last":
        assert outcome.finding is not None
        assert outcome.finding.score == float(verdict[0])
    else:
        assert (outcome.finding, outcome.reason) == (None, "judge_unsure")
