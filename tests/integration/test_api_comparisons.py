"""Comparisons over real HTTP: the documented shape, faults, problems and idempotency."""

import pytest

from assay.api.responses import ComparisonResponse
from assay.domain.errors import ProviderDown, QuotaExhausted
from assay.domain.ports import StoredResponse
from fakes import documented
from fakes.engine import comparer
from fakes.http_api import running_api
from fakes.judges import FakeJudges, ScriptedModel
from fakes.recorded_events import RecordedEvents

PATH = "/v1/comparisons"
GOOD = {"input": "2+2?", "output_a": "4", "output_b": "5", "criteria": "Which is right?"}
A = '{"reasoning": "so", "verdict": "a"}'


def comparing(*answers):
    model = ScriptedModel(*answers)
    return model, comparer(FakeJudges(model), RecordedEvents())


async def test_a_comparison_answers_in_the_documented_shape():
    """Every documented field is there, and no other."""
    model, comparer = comparing(A)
    async with running_api(comparer=comparer) as api:
        sent = GOOD | {"metadata": {"a": [1]}, "judge": {"samples": 2}}
        status, headers, body = await api.post(sent, path=PATH)
        assert (status, headers["content-type"]) == (200, "application/json")
        assert documented.faults(ComparisonResponse, body) == []
        assert (body["object"], body["metadata"]) == ("comparison", {"a": [1]})
        assert (body["winner"], body["consistent"]) == ("tie", False)
        assert [len(each["judge"]["votes"]) for each in body["orders"]] == [2, 2]
        assert len(model.prompts) == 4


async def test_the_other_fields_reach_the_judge():
    """Reference and context are shown, under each of their names."""
    model, comparer = comparing(A)
    async with running_api(comparer=comparer) as api:
        sent = GOOD | {"ground_truth": "four", "retrieval_context": ["arithmetic"]}
        assert (await api.post(sent, path=PATH))[0] == 200
        assert "four" in model.prompts[0].turns[1].text
        assert "arithmetic" in model.prompts[0].turns[1].text


async def test_messages_can_be_compared():
    """Outputs may be conversations."""
    _, comparer = comparing(A)
    async with running_api(comparer=comparer) as api:
        said = [{"role": "assistant", "content": "hi"}]
        assert (await api.post(GOOD | {"output_b": said}, path=PATH))[0] == 200


@pytest.mark.parametrize(
    ("sent", "pointer"),
    [
        ({"output_a": None}, "/output_a"),
        ({"criteria": ["a list"]}, "/criteria"),
        ({"criteria": ""}, "/criteria"),
        ({"judge": {"samples": 0}}, "/judge/samples"),
        ({"timeout_ms": 1}, "/timeout_ms"),
        ({"outputs": []}, "/outputs"),
    ],
)
async def test_each_fault_is_pointed_at(sent, pointer):
    """The problem points to the field at fault."""
    async with running_api() as api:
        status, _, problem = await api.post(GOOD | sent, path=PATH)
        assert (status, problem["code"]) == (422, "invalid_request")
        assert problem["errors"][0]["pointer"] == pointer


async def test_an_unknown_judge_is_a_fault_of_the_request():
    """The code and the place are those of evaluations."""
    _, comparer = comparing(A)
    async with running_api(comparer=comparer) as api:
        status, _, problem = await api.post(GOOD | {"judge": "gone"}, path=PATH)
        assert (status, problem["code"]) == (422, "unknown_model")
        assert [each["pointer"] for each in problem["errors"]] == ["/judge"]


@pytest.mark.parametrize(
    ("errors", "status", "code"),
    [
        ((ProviderDown("x"),), 503, "providers_unavailable"),
        ((QuotaExhausted("x", retry_after_s=2.5),), 429, "quota_exhausted"),
    ],
)
async def test_nothing_judged_through_our_fault_is_a_problem(errors, status, code):
    """An outage in both orders is no verdict."""
    _, comparer = comparing(*errors)
    async with running_api(comparer=comparer) as api:
        seen, headers, problem = await api.post(GOOD, path=PATH)
        assert (seen, problem["code"]) == (status, code)
        assert headers["retry-after"] == ("3" if status == 429 else "1")


async def test_one_order_unscored_is_an_answer_without_a_winner():
    """The other order and its cost are reported, and no winner is guessed from it."""
    _, comparer = comparing(A, ProviderDown("x"))
    async with running_api(comparer=comparer) as api:
        status, _, body = await api.post(GOOD, path=PATH)
        assert (status, body["winner"], body["reason"]) == (200, None, "providers_unavailable")


async def test_the_same_key_gives_the_same_answer():
    """A kept answer comes again without asking the judge."""

    class Kept:
        async def claim(self, tenant, key, digest, deadline):
            return StoredResponse(200, (("content-type", "application/json"),), b'{"kept": true}')

    model, comparer = comparing(A)
    async with running_api(comparer=comparer, idempotency=Kept()) as api:
        status, headers, body = await api.post(GOOD, path=PATH, idempotency_key="k1")
        assert (status, body, headers["idempotency-replayed"]) == (200, {"kept": True}, "true")
        assert model.prompts == []
