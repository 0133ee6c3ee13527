"""/v1/calibrations and /v1/labels/draws, over HTTP on both databases.

A check stands for the judge: what is compared with people is a result, whoever gave it.
"""

import pytest

from fakes.records_api import RecordsApi, ndjson

pytestmark = pytest.mark.asyncio(loop_scope="module")

CRITERION = "polite"
POLITE = [{"type": "contains", "name": CRITERION, "value": "please"}]
ROWS = 80
AGREED = 64
"""Of the rows; then come passes that people fail, and fails that people pass."""


def output(number: int) -> str:
    return f"{number} please" if number % 2 else f"{number} now"


def human(number: int) -> bool:
    judge = bool(number % 2)
    return judge if number < AGREED else not judge


def row(number: int, text: str) -> dict:
    """An item whose case no other test has."""
    return {"id": str(number), "input": text, "output": output(number), "split": "ab"[number % 2]}


async def label(api: RecordsApi, name: str, numbers, annotator="ann", tenant="one", **fields):
    """Labels of the dataset's items, which say what `human` says unless fields do."""
    rows = [
        {
            "item": {"dataset": name, "id": str(number)},
            "criterion": CRITERION,
            "annotator": annotator,
            **({"passed": human(number)} | fields),
        }
        for number in numbers
    ]
    headers = {"Content-Type": "application/x-ndjson"}
    await api.ok("POST", "/v1/labels", data=ndjson(*rows), headers=headers, tenant=tenant)


async def judged(api: RecordsApi, rows: int = ROWS) -> tuple[str, str, str]:
    """An evaluator, a dataset, and the ended batch over both."""
    text = api.name()
    dataset = await api.dataset(*(row(number, text) for number in range(rows)))
    evaluator = await api.evaluator(POLITE)
    batch, _ = await api.batch(evaluator=evaluator, dataset=dataset)
    return evaluator, dataset, batch["id"]


def only(calibration: dict) -> dict:
    """The one report of the one criterion."""
    (criterion,) = calibration["criteria"]
    (found,) = criterion["reports"]
    return found


class TestCalibrations:
    async def test_agreement_is_that_of_the_labels(self, api: RecordsApi):
        """Accuracy and confusion are those that a person counts, and disagreements are named."""
        evaluator, dataset, batch = await judged(api)
        await label(api, dataset, range(ROWS))
        wanted = {"evaluator": evaluator, "dataset": dataset}
        made = await api.ok("POST", "/v1/calibrations", wanted)
        found = only(made)
        assert (made["batch"], made["rows"], made["evaluator"]) == (batch, ROWS, f"{evaluator}@1")
        assert found["of"] == "passed"
        agreement = found["agreement"]
        assert agreement["figures"]["accuracy"]["value"] == AGREED / ROWS
        low, high = agreement["figures"]["accuracy"]["interval"]
        assert low < AGREED / ROWS < high
        assert agreement["confusion"] == [[32, 8], [8, 32]]
        differing = {each["item_id"] for each in found["disagreements"]}
        assert differing == {str(number) for number in range(AGREED, ROWS)}
        assert await api.ok("GET", f"/v1/calibrations/{made['id']}") == made

    async def test_labels_of_the_same_case_count_wherever_they_are(self, api: RecordsApi):
        """A label of a case that was sent by itself joins; one of another output does not."""
        _, dataset, batch = await judged(api, 4)
        (text,) = {each["input"] for each in await api.items(dataset)}
        for answer in (output(0), "something else"):
            item = {"case": {"input": text, "output": answer}}
            sent = {"item": item, "criterion": CRITERION, "annotator": "a", "passed": True}
            await api.ok("POST", "/v1/labels", sent)
        made = await api.ok("POST", "/v1/calibrations", {"batch": batch})
        assert made["criteria"][0]["labels"] == 1
        assert only(made)["agreement"]["confusion"] == [[0, 0], [1, 0]]

    async def test_few_labels_are_told_first(self, api: RecordsApi):
        """Two labels give no interval, and the first statement says that they are too few."""
        _, dataset, batch = await judged(api, 4)
        await label(api, dataset, [0, 1])
        found = only(await api.ok("POST", "/v1/calibrations", {"batch": batch}))
        assert found["agreement"]["statements"][0].startswith("Only 2 labels")
        assert found["agreement"]["figures"]["accuracy"]["value"] == 1.0
        assert found["agreement"]["figures"]["kappa"]["interval"] is None

    async def test_without_labels_nothing_is_said(self, api: RecordsApi):
        """There are no figures, and the reason."""
        _, _, batch = await judged(api, 2)
        made = await api.ok("POST", "/v1/calibrations", {"batch": batch})
        (criterion,) = made["criteria"]
        assert criterion["reports"] == []
        assert "nothing can be said" in criterion["statements"][0]

    async def test_several_annotators(self, api: RecordsApi):
        """The majority counts, a tie does not, and how far people agree is reported."""
        _, dataset, batch = await judged(api, 40)
        await label(api, dataset, range(40), "ann")
        await label(api, dataset, range(40), "bob")
        await label(api, dataset, range(2), "cem", passed=True)
        await label(api, dataset, range(2), "bob", passed=False)
        found = only(await api.ok("POST", "/v1/calibrations", {"batch": batch}))
        assert found["agreement"]["rows"] == 40
        assert found["people"]["pairwise_agreement"]["value"] < 1
        await label(api, dataset, [2], "bob", passed=True)
        found = only(await api.ok("POST", "/v1/calibrations", {"batch": batch}))
        assert found["agreement"]["rows"] == 39
        assert "1 rows are left out: their annotators are evenly divided." in found["statements"]
        of_ann = {"batch": batch, "labels": {"annotators": ["ann"]}}
        found = only(await api.ok("POST", "/v1/calibrations", of_ann))
        assert found["agreement"]["rows"] == 40
        assert found["people"]["alpha"]["value"] is None

    async def test_labels_are_filtered(self, api: RecordsApi):
        """By the split of their items, and by their own metadata."""
        _, dataset, batch = await judged(api, 10)
        await label(api, dataset, range(9), metadata={"round": 1})
        await label(api, dataset, [9], metadata={"round": 2})
        for labels, rows in (({"split": "a"}, 5), ({"metadata": {"round": 1}}, 9)):
            wanted = {"batch": batch, "labels": labels}
            found = only(await api.ok("POST", "/v1/calibrations", wanted))
            assert found["agreement"]["rows"] == rows

    async def test_each_kind_of_label_has_its_report(self, api: RecordsApi):
        """Scores are compared with the result's value, and classes with its label."""
        _, dataset, batch = await judged(api, 40)
        await label(api, dataset, range(40))
        await label(api, dataset, range(40), "bob", passed=None, score=0.5)
        made = await api.ok("POST", "/v1/calibrations", {"batch": batch})
        (criterion,) = made["criteria"]
        found = {each["of"]: each for each in criterion["reports"]}
        assert set(found) == {"passed", "score"}
        figures = found["score"]["agreement"]["figures"]
        assert figures["mean_absolute_error"]["value"] == 0.5
        assert figures["pearson"]["value"] is None

    async def test_only_random_labels_correct_the_mean(self, api: RecordsApi):
        """Others are left out, which is told; the corrected mean is near to the truth."""
        _, dataset, batch = await judged(api)
        await label(api, dataset, range(ROWS))
        found = only(await api.ok("POST", "/v1/calibrations", {"batch": batch}))
        assert found["debiased"]["labels"] == 0
        assert found["debiased"]["debiased"]["value"] is None
        assert found["debiased"]["statements"][0].startswith(f"{ROWS} labels are left out")
        await label(api, dataset, range(0, ROWS, 2), random_sample=True)
        found = only(await api.ok("POST", "/v1/calibrations", {"batch": batch}))
        assert found["debiased"]["labels"] == ROWS // 2
        assert found["debiased"]["judge_only"]["value"] == 0.5

    async def test_comparisons_have_a_flip_rate(self, api: RecordsApi):
        """From both orders of each row; criteria of other types have none."""
        rows = [{"id": str(n), "output": f"answer {n}", "reference": "another"} for n in range(12)]
        dataset = await api.dataset(*rows)
        pairwise = {"type": "pairwise", "name": "better", "rubric": "It is shorter."}
        evaluator = await api.evaluator([pairwise, *POLITE])
        batch, _ = await api.batch(evaluator=evaluator, dataset=dataset)
        made = await api.ok("POST", "/v1/calibrations", {"batch": batch["id"]})
        better, polite = made["criteria"]
        assert 0 <= better["flip_rate"]["value"] <= 1
        assert polite["flip_rate"] is None

    async def test_what_is_deleted_is_gone(self, api: RecordsApi):
        """A calibration is listed, and after deletion not found."""
        _, _, batch = await judged(api, 2)
        made = await api.ok("POST", "/v1/calibrations", {"batch": batch})
        listed = await api.ok("GET", "/v1/calibrations")
        assert listed["data"][0]["id"] == made["id"]
        path = f"/v1/calibrations/{made['id']}"
        assert (await api.call("GET", path, tenant="two"))[0] == 404
        assert (await api.call("DELETE", path, tenant="two"))[0] == 404
        assert (await api.call("DELETE", path))[0] == 204
        assert (await api.call("GET", path))[0] == 404

    async def test_another_tenants_labels_do_not_count(self, api: RecordsApi):
        """Nor is its batch found."""
        _, dataset, batch = await judged(api, 2)
        (text,) = {each["input"] for each in await api.items(dataset)}
        item = {"case": {"input": text, "output": output(0)}}
        sent = {"item": item, "criterion": CRITERION, "annotator": "a", "passed": True}
        await api.ok("POST", "/v1/labels", sent, tenant="two")
        made = await api.ok("POST", "/v1/calibrations", {"batch": batch})
        assert made["criteria"][0]["labels"] == 0
        status, problem = await api.call("POST", "/v1/calibrations", {"batch": batch}, tenant="two")
        assert (status, problem["errors"][0]["pointer"]) == (422, "/batch")

    async def test_an_erased_item_leaves_the_report(self, api: RecordsApi):
        """Its disagreement has no item any more, and later rows keep their own."""
        _, dataset, batch = await judged(api, 6)
        await label(api, dataset, range(6), passed=True)
        made = await api.ok("POST", "/v1/calibrations", {"batch": batch})
        assert {each["item_id"] for each in only(made)["disagreements"]} == {"0", "2", "4"}
        await api.ok("POST", "/v1/erasures", {"item": "0"})
        found = only(await api.ok("GET", f"/v1/calibrations/{made['id']}"))
        assert {each["item_id"] for each in found["disagreements"]} == {None, "2", "4"}
        again = only(await api.ok("POST", "/v1/calibrations", {"batch": batch}))
        assert {each["item_id"] for each in again["disagreements"]} == {"2", "4"}

    @pytest.mark.parametrize(
        ("wanted", "pointer"),
        [
            ({}, "/batch"),
            ({"batch": "x", "evaluator": "y", "dataset": "z"}, "/evaluator"),
            ({"evaluator": "y"}, "/batch"),
            ({"batch": "x"}, "/batch"),
            ({"batch": "batch_" + "0" * 32}, "/batch"),
            ({"evaluator": "none", "dataset": "none"}, "/evaluator"),
            ({"batch": None, "confidence": 1.0}, "/confidence"),
            ({"batch": None, "criteria": ["no"]}, "/criteria/0"),
            ({"batch": None, "labels": {"draw": "draw_0"}}, "/labels/draw"),
            ({"batch": None, "cascade": {"alpha": 1.0, "delta": 0.1}}, "/cascade/alpha"),
            ({"batch": None, "cascade": {"alpha": 0.1, "delta": 0.0}}, "/cascade/delta"),
            ({"batch": None, "precision_min": 0}, "/precision_min"),
            ({"batch": None, "seed": -1}, "/seed"),
        ],
    )
    async def test_bad_requests_name_their_field(self, api: RecordsApi, wanted, pointer):
        """Each fault has its place; null stands for a batch that is there."""
        if "batch" in wanted and wanted["batch"] is None:
            _, _, batch = await judged(api, 1)
            wanted = {**wanted, "batch": batch}
        status, problem = await api.call("POST", "/v1/calibrations", wanted)
        assert (status, problem["errors"][0]["pointer"]) == (422, pointer)


class TestDraws:
    async def test_a_draw_is_kept_with_its_probabilities(self, api: RecordsApi):
        """The same seed draws the same rows, and labels of them, weighted, correct the mean."""
        _, dataset, batch = await judged(api)
        wanted = {"batch": batch, "criterion": CRITERION, "labels": 40, "seed": 7}
        draw = await api.ok("POST", "/v1/labels/draws", wanted)
        assert (draw["rows"], draw["seed"], draw["unlabelled"]) == (ROWS, 7, len(draw["data"]))
        assert 20 < len(draw["data"]) < 60
        assert {each["probability"] for each in draw["data"]} == {0.5}
        again = await api.ok("POST", "/v1/labels/draws", wanted)
        assert again["data"] == draw["data"]
        numbers = [int(each["item_id"]) for each in draw["data"]]
        await label(api, dataset, numbers[1:])
        path = f"/v1/labels/draws/{draw['id']}"
        assert (await api.ok("GET", path))["unlabelled"] == 1
        made = await api.ok("POST", "/v1/calibrations", {
            "batch": batch, "labels": {"draw": draw["id"]},
        })  # fmt: skip
        mean = only(made)["debiased"]
        assert mean["labels"] == len(numbers) - 1
        assert mean["statements"][0].startswith("1 drawn rows have no label yet")
        low, high = mean["debiased"]["interval"]
        assert low < 0.5 < high
        assert (await api.call("GET", path, tenant="two"))[0] == 404
        assert (await api.call("DELETE", path))[0] == 204
        assert (await api.call("GET", path))[0] == 404

    async def test_erased_rows_are_not_drawn(self, api: RecordsApi):
        """Nobody could label them; without others there is nothing to draw."""
        _, _, batch = await judged(api, 4)
        await api.ok("POST", "/v1/erasures", {"item": "1"})
        wanted = {"batch": batch, "criterion": CRITERION, "labels": 9}
        draw = await api.ok("POST", "/v1/labels/draws", wanted)
        assert draw["rows"] == 3
        assert [(each["row"], each["item_id"]) for each in draw["data"]] == [
            (0, "0"), (2, "2"), (3, "3"),
        ]  # fmt: skip
        for item in "023":
            await api.ok("POST", "/v1/erasures", {"item": item})
        status, problem = await api.call("POST", "/v1/labels/draws", wanted)
        assert (status, problem["errors"][0]["pointer"]) == (422, "/batch")

    async def test_a_plan_says_how_many(self, api: RecordsApi):
        """For an interval; one that all rows cannot give draws them all."""
        _, _, batch = await judged(api)
        wanted = {"batch": batch, "criterion": CRITERION, "half_width": 0.2}
        draw = await api.ok("POST", "/v1/labels/draws", wanted)
        assert draw["plan"]["labels"] == 30
        narrow = await api.ok("POST", "/v1/labels/draws", {**wanted, "half_width": 0.0001})
        assert len(narrow["data"]) == ROWS

    @pytest.mark.parametrize(
        ("change", "pointer"),
        [
            ({"criterion": "no"}, "/criterion"),
            ({"labels": 0}, "/labels"),
            ({"labels": None}, "/labels"),
            ({"half_width": 0.1}, "/half_width"),
            ({"floor": 0}, "/floor"),
            ({"batch": "x"}, "/batch"),
        ],
    )
    async def test_bad_requests_name_their_field(self, api: RecordsApi, change, pointer):
        """Each fault has its place."""
        _, _, batch = await judged(api, 1)
        wanted = {"batch": batch, "criterion": CRITERION, "labels": 1, **change}
        status, problem = await api.call("POST", "/v1/labels/draws", wanted)
        assert (status, problem["errors"][0]["pointer"]) == (422, pointer)
