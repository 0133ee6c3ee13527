"""Rankings over real HTTP: the documented shape, faults, limits and problems."""

import json

import pytest

from assay.api.rankings import RankingResponse
from assay.domain.errors import ProviderDown
from fakes import documented
from fakes.engine import comparer
from fakes.http_api import running_api
from fakes.judges import FakeJudges, ScriptedModel
from fakes.recorded_events import RecordedEvents

PATH = "/v1/rankings"
ITEMS = [
    {"input": f"question {n}", "outputs": {"short": f"<s> {n}", "long": f"<l> {n}"}}
    for n in range(4)
]
GOOD = {"items": ITEMS, "rubric": "Which is shorter?"}


def shorter(prompt):
    """Prefers the short output, wherever it is shown."""
    text = prompt.turns[1].text
    place = "a" if text.index("<s>") < text.index("<l>") else "b"
    return json.dumps({"reasoning": "so", "verdict": place})


def ranking(*answers):
    model = ScriptedModel(*answers)
    return model, comparer(FakeJudges(model), RecordedEvents())


async def test_a_ranking_answers_in_the_documented_shape():
    """Every documented field is there, no other, and no number that pretends."""
    model, comparer = ranking(shorter)
    async with running_api(comparer=comparer) as api:
        status, _, body = await api.post(GOOD | {"metadata": {"a": 1}}, path=PATH)
        assert status == 200
        assert documented.faults(RankingResponse, body) == []
        assert [(one["name"], one["wins"]) for one in body["systems"]] == [
            ("short", 4),
            ("long", 0),
        ]
        assert body["systems"][0]["interval"] is body["systems"][0]["rank_range"] is None
        assert (body["stopped"], body["metadata"]) == ("all_judged", {"a": 1})
        assert any("So few items" in text for text in body["statements"])
        assert len(model.prompts) == 8


async def test_context_and_reference_reach_the_judge():
    """Under each of their names; and a limit of comparisons holds."""
    model, comparer = ranking(shorter)
    items = [{**one, "ground_truth": "four", "retrieval_context": ["sums"]} for one in ITEMS]
    async with running_api(comparer=comparer) as api:
        sent = GOOD | {"items": items, "comparisons_max": 1}
        _, _, body = await api.post(sent, path=PATH)
        assert (body["stopped"], body["comparisons_scored"], len(model.prompts)) == (
            "comparisons_max",
            1,
            2,
        )
        assert "four" in model.prompts[0].turns[1].text
        assert "sums" in model.prompts[0].turns[1].text


ONE = [{"outputs": {"short": "x"}}]


@pytest.mark.parametrize(
    ("sent", "pointer", "words"),
    [
        ({"items": []}, "/items", ""),
        ({"items": ONE}, "/items", "outputs of 2 to 20 systems"),
        ({"items": [{"outputs": {f"s{n}": "x" for n in range(21)}}]}, "/items/0/outputs", "20"),
        ({"items": [*ONE, {"outputs": {"long": "y"}}]}, "/items", "outputs of two systems"),
        ({"items": [{"id": "a", **ITEMS[0]}] * 2}, "/items/0/id", "no other item has"),
        ({"items": [{"id": "1", **ITEMS[0]}, ITEMS[1]]}, "/items/0/id", "no other item has"),
        ({"items": [{"outputs": {"a": "x", "b": 5}}]}, "/items/0/outputs/b", ""),
        ({"items": [{**ITEMS[0], "metadata": {}}]}, "/items/0/metadata", ""),
        ({"items": ITEMS * 251}, "/items", "1000"),
        ({"rubric": ""}, "/rubric", ""),
        ({"confidence": 1}, "/confidence", ""),
        ({"comparisons_max": 0}, "/comparisons_max", ""),
        ({"comparisons_max": 129}, "/comparisons_max", "258 judge calls, of at most 256"),
        ({"comparisons_max": 65, "judge": {"samples": 2}}, "/comparisons_max", "260 judge calls"),
        ({"judge": {"samples": 0}}, "/judge/samples", ""),
    ],
)
async def test_each_fault_is_pointed_at_and_costs_nothing(sent, pointer, words):
    """The problem points to the field at fault, and no judge is asked."""
    model, comparer = ranking(shorter)
    async with running_api(comparer=comparer) as api:
        status, _, problem = await api.post(GOOD | sent, path=PATH)
        assert (status, problem["code"]) == (422, "invalid_request")
        fault = problem["errors"][0]
        assert (fault["pointer"], words in fault["message"]) == (pointer, True), fault
        assert model.prompts == []


async def test_nothing_judged_through_our_fault_is_a_problem():
    """As a comparison answers, so that the caller tries again."""
    _, comparer = ranking(ProviderDown("down"))
    async with running_api(comparer=comparer) as api:
        status, _, problem = await api.post(GOOD, path=PATH)
        assert (status, problem["code"]) == (503, "providers_unavailable")
        assert problem["detail"].startswith("No outputs could be compared")


async def test_an_unknown_judge_is_a_fault_of_the_request():
    """The code and the place are those of comparisons."""
    async with running_api() as api:
        status, _, problem = await api.post(GOOD | {"judge": "gone"}, path=PATH)
        assert (status, problem["code"]) == (422, "unknown_model")
        assert problem["errors"][0]["pointer"] == "/judge"
