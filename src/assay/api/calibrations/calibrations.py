"""/v1/calibrations: how far a batch's judge agrees with people, and what follows from it."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from functools import partial
from typing import Any

from fastapi import APIRouter, Request, Response

from assay.api.calibrations.requests import CalibrationRequest, chosen_criteria, results_of
from assay.api.calibrations.responses import CalibrationListResponse, CalibrationResponse
from assay.api.problem_codes import JSON_BODY, RECORD
from assay.api.routes import add_route, json_response, list_document
from assay.api.services import Services
from assay.api.validation import validate
from assay.batches.calibrating import calibrated
from assay.batches.labelled import JudgedResults, LabelledBatches
from assay.calibration.options import CascadeGoal, ReportOptions
from assay.catalog.certificates import StoredCertificate, count_attempt, save_certificate
from assay.catalog.evaluators import find_evaluator
from assay.catalog.judged_labels import WantedLabels
from assay.domain.errors import RequestError
from assay.domain.ids import new_id, now_ms, shown_time
from assay.domain.records import CALIBRATION_ID_KIND, DRAW_ID_KIND, StoredObject
from assay.http.body import read_json
from assay.http.pagination import Paging
from assay.http.problems import CLOSE, Problem, ProblemError, invalid_request

PAGE = Paging(largest=100, default=20, cursor_pattern=CALIBRATION_ID_KIND + "_[0-9a-f]{32}")
NO_PLACE = "No certificate is kept: the batch needs a named evaluator, and one revision of it."
AT_ONCE = 2
"""Calibrations that one process computes at a time: each holds the columns of a batch."""


class Calibrations:
    """The resource of calibrations."""

    def __init__(self, services: Services, labelled: LabelledBatches) -> None:
        self._services = services
        self._labelled = labelled
        self._slots = asyncio.Semaphore(AT_ONCE)

    def router(self) -> APIRouter:
        """Its routes."""
        router = APIRouter(tags=["calibrations"])
        route = partial(add_route, router)
        path, one = "/v1/calibrations", "/v1/calibrations/{calibration_id}"
        codes, listed = (*JSON_BODY, *RECORD, "store_unavailable"), (*RECORD, "invalid_request")
        route("POST", path, self.create_calibration, CalibrationResponse, codes,
              body=CalibrationRequest, status=201)  # fmt: skip
        route("GET", path, self.list_calibrations, CalibrationListResponse, listed, page=PAGE)
        route("GET", one, self.get_calibration, CalibrationResponse,
              (*RECORD, "store_unavailable"))  # fmt: skip
        route("DELETE", one, self.delete_calibration, None, (*RECORD, "forbidden"), status=204)
        return router

    async def create_calibration(self, request: Request) -> Response:
        """Compare the results of a batch with the labels of its cases, and keep the report."""
        tenant = await self._services.admit(request)
        wanted = validate(CalibrationRequest, (await read_json(request)).document)
        if self._slots.locked():
            detail = f"This process computes {AT_ONCE} calibrations at a time. Retry later."
            raise ProblemError(Problem("overloaded", detail, headers=CLOSE))
        async with self._slots:
            document = await self._calibrate(tenant, wanted)
        id_ = new_id(CALIBRATION_ID_KIND)
        document["certificate"] = await self._issue(tenant, id_, document)
        objects = (await self._services.open_stores()).objects
        kept = await objects.add(tenant, StoredObject(id_, CALIBRATION_ID_KIND, document))
        return json_response(await self._shown(tenant, kept), 201)

    async def list_calibrations(self, request: Request) -> Response:
        """List calibrations, newest first, without their disagreements."""
        tenant, limit = await self._services.admit(request), PAGE.limit(request)
        stores = await self._services.open_stores()
        found = await stores.objects.page(
            tenant, CALIBRATION_ID_KIND, after=PAGE.cursor(request), limit=limit + 1
        )
        return json_response(list_document([_document(one) for one in found], limit))

    async def get_calibration(self, request: Request, calibration_id: str) -> Response:
        """A calibration; items of disagreements that were erased are null."""
        tenant = await self._services.admit(request)
        objects = (await self._services.open_stores()).objects
        found = await objects.find(tenant, CALIBRATION_ID_KIND, calibration_id)
        if found is None:
            raise RequestError("not_found", "No calibration has this id.")
        return json_response(await self._shown(tenant, found))

    async def delete_calibration(self, request: Request, calibration_id: str) -> Response:
        """Remove a calibration."""
        tenant = await self._services.admit(request)
        objects = (await self._services.open_stores()).objects
        if not await objects.delete(tenant, CALIBRATION_ID_KIND, calibration_id):
            raise RequestError("not_found", "No calibration has this id.")
        return Response(status_code=204)

    async def _calibrate(self, tenant: str, wanted: CalibrationRequest) -> dict[str, Any]:
        results = await results_of(self._labelled, tenant, wanted)
        criteria = chosen_criteria(results, wanted.criteria)
        drawn = await self._drawn(tenant, wanted.labels.draw, results)
        goal = None
        if wanted.cascade is not None:
            # Versions of a dataset share their items, and so the labels.
            tried = results.batch.id if results.dataset is None else results.dataset.id
            goal = CascadeGoal(
                wanted.cascade.alpha, wanted.cascade.delta, wanted.cascade.unsure_cost_usd,
                await count_attempt(await self._services.open_stores(), tenant, tried),
            )  # fmt: skip
        labels = wanted.labels.model_dump()
        judged = await self._labelled.read(results, criteria, WantedLabels.from_json(labels))
        options = ReportOptions(wanted.precision_min, wanted.confidence, wanted.seed, drawn)
        return {
            "batch": results.batch.id,
            "evaluator": results.evaluator,
            "dataset": results.dataset_name,
            "labels": labels,
            "confidence": wanted.confidence,
            "seed": wanted.seed,
            "cascade": wanted.cascade and wanted.cascade.model_dump(),
            **await asyncio.to_thread(calibrated, judged, options, goal),
        }

    async def _issue(self, tenant: str, id_: str, document: dict[str, Any]) -> str | None:
        """Keep what was certified beside the evaluator; the id of the certificate."""
        found = {
            criterion["criterion"]: report["certificate"]
            for criterion in document["criteria"]
            for report in criterion["reports"]
            if report["certificate"] and report["certificate"]["thresholds"]
        }
        if not found:
            return None
        if document["evaluator"] is None or len(document["revisions"]) != 1:
            document["statements"].append(NO_PLACE)
            return None
        evaluator = await find_evaluator(self._services.open_stores, tenant, document["evaluator"])
        (revision,) = document["revisions"]
        issued = {name: document[name] for name in ("batch", "dataset", "labels", "cascade")}
        issued |= {"calibration": id_, "at": shown_time(now_ms())}
        kept = await save_certificate(
            await self._services.open_stores(), tenant, evaluator.id,
            StoredCertificate(evaluator.version, revision, found, issued),
        )  # fmt: skip
        return kept.id

    async def _drawn(
        self, tenant: str, draw_id: str | None, results: JudgedResults
    ) -> Mapping[int, float] | None:
        """The probabilities of the rows of a draw from these results."""
        if draw_id is None:
            return None
        objects = (await self._services.open_stores()).objects
        draw = await objects.find(tenant, DRAW_ID_KIND, draw_id)
        if draw is None or draw.document["batch"] != results.batch.id:
            raise invalid_request("/labels/draw", "there is no such draw from this batch")
        return dict(draw.document["drawn"])

    async def _shown(self, tenant: str, found: StoredObject) -> dict[str, Any]:
        """The calibration, with the items of its disagreements."""
        document = _document(found)
        batch = found.document["batch"]
        for criterion in found.document["criteria"]:
            for report in criterion["reports"]:
                for one in report["disagreements"]:
                    one["item_id"] = await self._labelled.item_id(tenant, batch, one["row"])
        return document


def _document(found: StoredObject) -> dict[str, Any]:
    return {
        "id": found.id,
        "object": "calibration",
        "created_at": shown_time(found.created_ms),
        **found.document,
    }
