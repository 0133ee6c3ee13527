"""/v1/evaluators/{name}/control: labelled cases on which an evaluator is watched for drift."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import asdict
from functools import partial
from typing import Any, Literal

from fastapi import APIRouter, Request, Response
from pydantic import Field

from assay.api.batches.services import Batches
from assay.api.calibrations.requests import Name, Share
from assay.api.problem_codes import JSON_BODY, RECORD
from assay.api.responses import Shape
from assay.api.routes import add_route, json_response
from assay.api.validation import validate
from assay.batches.calibrating import NO_LABELS, calibrated, disagreements, label_report
from assay.batches.labelled import JudgedResults, LabelledBatches
from assay.calibration.options import ReportOptions
from assay.catalog.control_sets import (
    CONTROL,
    ControlSet,
    control_id,
    find_control_set,
    put_control_set,
)
from assay.catalog.judged_labels import WantedLabels
from assay.criteria.frozen import Frozen
from assay.domain.errors import RequestError
from assay.domain.exact_json import loads
from assay.domain.ids import id_time_ms, shown_time
from assay.domain.records import CALIBRATION_ID_KIND, DatasetVersion, EvaluatorVersion, StoredObject
from assay.http.body import read_json
from assay.http.problems import invalid_request

ROWS_MIN, ROWS_MAX = 30, 10_000
EVERY_H_MAX = 8_760
SETS_TO_FALSE_ALARM = 1_000
CERTIFIED_MAX = 0.5
"""A judge that is wrong in every other row has no level to keep."""
WORSE_BY_MIN, WORSE_BY_DEFAULT_MIN = 0.01, 0.05
SHOWN = (
    "evaluator", "dataset", "calibration", "criterion", "of", "rows", "every_h", "certified",
    "worse", "problem",
)  # fmt: skip
CHANGED = (
    "its rows or their labels have changed or were erased since: label what is missing and "
    "calibrate again"
)


class ControlRequest(Frozen):
    """A control set: the labelled rows of a calibration."""

    calibration: Name
    criterion: Name
    every_h: float = Field(
        default=24, ge=1, le=EVERY_H_MAX, allow_inf_nan=False, description="Hours between runs."
    )
    worse: Share | None = Field(
        default=None,
        description="A share of disagreements that must not go unnoticed; by default twice the "
        "certified one, but at least 0.05 above it, and at most halfway from there to 1.",
    )


class ControlRunResponse(Shape):
    """One time that the control set was judged again."""

    batch: str
    at: str
    revision: str
    rows: int = Field(description="Those with a verdict of the judge and of people.")
    disagreements: int
    left_out: int = Field(description="Rows that are unscored, or have lost their label.")
    note: str = Field(description="Why it does not count, if it does not.")


class ControlMomentResponse(Shape):
    """A run that is under way, or in which something began."""

    batch: str
    at: str


class ControlResponse(Shape):
    """The control set of an evaluator, and the chart that watches it."""

    id: str
    object: Literal["control"]
    created_at: str
    evaluator: str
    dataset: str
    calibration: str
    criterion: str
    of: Literal["passed", "label"] = Field(description="The kind of labels.")
    rows: int
    every_h: float
    certified: float = Field(description="The share of disagreements when it was calibrated.")
    worse: float
    statistic: int = Field(description="Grows with each disagreement and falls otherwise.")
    limit: int = Field(description="The statistic raises the alarm here.")
    cases: int = Field(description="That the chart has seen.")
    sets_to_false_alarm: float = Field(description="Runs on average while nothing changes.")
    sets_to_detection: float = Field(description="Runs on average at the worse rate.")
    alarm: bool
    since: ControlMomentResponse | None = Field(
        description="When the disagreements began to be too many, if it is for good."
    )
    running: ControlMomentResponse | None
    problem: str | None = Field(description="Why no run could begin.")
    runs: list[ControlRunResponse] = Field(description="The last 20, newest first.")


class Controls:
    """The resource of control sets: an evaluator has one at most."""

    def __init__(self, batches: Batches, labelled: LabelledBatches) -> None:
        self._batches = batches
        self._services = batches.services
        self._labelled = labelled

    def router(self) -> APIRouter:
        """Its routes."""
        router = APIRouter(tags=["evaluators"])
        route, path = partial(add_route, router), "/v1/evaluators/{name}/control"
        codes = (*JSON_BODY, *RECORD, "store_unavailable")
        route("PUT", path, self.put_control, ControlResponse, codes, body=ControlRequest)
        route("GET", path, self.get_control, ControlResponse, RECORD)
        route("DELETE", path, self.delete_control, None, (*RECORD, "forbidden"), status=204)
        return router

    async def put_control(self, request: Request, name: str) -> Response:
        """Watch the evaluator on the labelled rows of a calibration, with a new chart."""
        evaluator = await self._evaluator(request, name)
        tenant, stores = request.state.tenant, await self._services.open_stores()
        wanted = validate(ControlRequest, (await read_json(request)).document)
        control = await self._made(tenant, evaluator, wanted)
        return json_response(_shown(await put_control_set(stores, tenant, evaluator.id, control)))

    async def get_control(self, request: Request, name: str) -> Response:
        """The control set, its chart and its last runs."""
        evaluator = await self._evaluator(request, name)
        stores = await self._services.open_stores()
        found = await find_control_set(stores, request.state.tenant, evaluator.id)
        if found is None:
            raise _MISSING
        return json_response(_shown(found))

    async def delete_control(self, request: Request, name: str) -> Response:
        """Watch the evaluator no more; the batches of its runs stay."""
        evaluator = await self._evaluator(request, name)
        objects = (await self._services.open_stores()).objects
        if not await objects.delete(request.state.tenant, CONTROL, control_id(evaluator.id)):
            raise _MISSING
        return Response(status_code=204)

    async def _evaluator(self, request: Request, name: str) -> EvaluatorVersion:
        tenant = await self._services.admit(request)
        found = await (await self._services.open_stores()).evaluators.find(tenant, name)
        if found is None:
            raise RequestError("not_found", "No evaluator has this name.")
        return found

    async def _made(
        self, tenant: str, evaluator: EvaluatorVersion, wanted: ControlRequest
    ) -> ControlSet:
        """A new control set; raises `RequestError` with the place of what cannot work."""
        document = await self._calibration(tenant, evaluator, wanted)
        report = label_report(document, wanted.criterion)
        if report is None:
            raise invalid_request(
                "/criterion", f"has no report of pass and fail or of classes. {NO_LABELS}"
            )
        rows, differing = disagreements(report)
        if not ROWS_MIN <= rows <= ROWS_MAX:
            raise invalid_request(
                "/calibration", f"has {rows} labelled rows, not {ROWS_MIN} to {ROWS_MAX:,}"
            )
        results, dataset = await self._results(tenant, document)
        judged = await self._labelled.read(
            results, [wanted.criterion], WantedLabels.from_json(document["labels"])
        )
        labelled = {row for row, _ in judged.criteria[wanted.criterion].human}
        stores, items = (
            await self._services.open_stores(),
            [judged.item_ids[row] for row in labelled],
        )
        places = await stores.datasets.places(dataset, items[:ROWS_MAX])
        now = await asyncio.to_thread(calibrated, judged, ReportOptions())
        same = label_report(now, wanted.criterion, (report["of"],))
        if same is None or disagreements(same) != (rows, differing) or len(places) < rows:
            raise invalid_request("/calibration", CHANGED)
        certified = (differing + 0.5) / (rows + 1)
        if certified >= CERTIFIED_MAX:
            raise invalid_request(
                "/criterion", f"the judge differs from people in {certified:.0%} of the rows"
            )
        worse = default_worse(certified) if wanted.worse is None else wanted.worse
        asked = loads(await self._batches.lasting.request(results.batch) or b"{}")
        return ControlSet(
            document["evaluator"], document["dataset"], asked.get("judge"), wanted.calibration,
            wanted.criterion, report["of"], document["labels"], sorted(places.values()), rows,
            wanted.every_h, certified, worse,
            await asyncio.to_thread(_chart, certified, worse, rows),
        )  # fmt: skip

    async def _calibration(
        self, tenant: str, evaluator: EvaluatorVersion, wanted: ControlRequest
    ) -> Mapping[str, Any]:
        stores, id_ = await self._services.open_stores(), wanted.calibration.replace("\0", "?")
        found = await stores.objects.find(tenant, CALIBRATION_ID_KIND, id_)
        if found is None:
            raise invalid_request("/calibration", "there is no such calibration")
        document = found.document
        name, _, version = (document["evaluator"] or "").partition("@")
        # One of the same name may have been erased.
        newer = id_time_ms(evaluator.id) > id_time_ms(document["batch"])
        if (
            name != evaluator.name
            or newer
            or await stores.evaluators.find(tenant, name, int(version)) is None
        ):
            raise invalid_request("/calibration", f"is not of the evaluator {evaluator.name}")
        if wanted.criterion not in {one["criterion"] for one in document["criteria"]}:
            raise invalid_request("/criterion", "the calibration has no criterion of this name")
        return document

    async def _results(
        self, tenant: str, document: Mapping[str, Any]
    ) -> tuple[JudgedResults, DatasetVersion]:
        try:
            results = await self._labelled.find(tenant, document["batch"])
        except RequestError:
            raise invalid_request("/calibration", "its batch is gone") from None
        if results.dataset is None or results.made_outputs:
            raise invalid_request(
                "/calibration", "its batch must be over a dataset whose items have outputs"
            )
        return results, results.dataset


_MISSING = RequestError("not_found", "The evaluator has no control set.")


def default_worse(certified: float) -> float:
    """Twice the certified share or 0.05 above it, but not beyond halfway from there to 1."""
    return min(max(2 * certified, certified + WORSE_BY_DEFAULT_MIN), (1 + certified) / 2)


def _chart(certified: float, worse: float, rows: int) -> dict[str, Any]:
    """A new chart as JSON; raises `RequestError`."""
    from assay.calibration.drift import drift_chart  # noqa: PLC0415  # numpy, for those who use it

    if worse < certified + WORSE_BY_MIN:
        least = f"must be at least {WORSE_BY_MIN} above the certified {certified:.3f}"
        raise invalid_request("/worse", least)
    try:
        return asdict(drift_chart(certified, worse, SETS_TO_FALSE_ALARM * rows))
    except ValueError as error:
        raise invalid_request(
            "/worse", f"with a certified {certified:.3f} there is no chart: {error}"
        ) from None


def _shown(stored: StoredObject) -> dict[str, Any]:
    control = ControlSet(**stored.document)
    chart = control.chart
    return {
        "id": stored.id,
        "object": CONTROL,
        "created_at": shown_time(stored.created_ms),
        **{name: getattr(control, name) for name in SHOWN},
        "statistic": chart["sum"],
        "limit": chart["limit"],
        "cases": chart["cases"],
        "sets_to_false_alarm": chart["cases_to_false_alarm"] / control.rows,
        "sets_to_detection": chart["cases_to_detection"] / control.rows,
        "alarm": chart["alarm"],
        "since": _moment(control.since),
        "running": _moment(control.running),
        "runs": [{**run, "at": shown_time(run["at"])} for run in control.runs],
    }


def _moment(run: Mapping[str, Any] | None) -> dict[str, Any] | None:
    return None if run is None else {"batch": run["batch"], "at": shown_time(run["at"])}
