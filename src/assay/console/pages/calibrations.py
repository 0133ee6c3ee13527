"""Calibration: how far a judge agrees with people."""

from __future__ import annotations

import asyncio
from http import HTTPStatus
from typing import Any

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from assay.console.api_calls import Api
from assay.console.views import page

BATCHES_SHOWN = 50
WORDS = {
    "accuracy": "Share of cases on which judge and people say the same.",
    "kappa": "Agreement beyond chance: 0 is none, 1 is full.",
    "alpha": "Agreement beyond chance, as Krippendorff counts it.",
    "precision": "Share of the judge's passes that people pass too.",
    "recall": "Share of people's passes that the judge passes too.",
    "bias": "How much more the judge gives than people, on average.",
    "pearson": "Whether scores rise together in a straight line.",
    "spearman": "Whether judge and people put cases in the same order.",
    "kendall": "Share of pairs in the same order, less those that are not.",
    "mean_absolute_error": "How far a score lies from people's, on average.",
    "alpha_ordinal": "Agreement beyond chance on the order of scores.",
    "alpha_interval": "Agreement beyond chance on the distance of scores.",
}
"""What each figure means, in a sentence."""


async def calibrations(request: Request, api: Api) -> Response:
    """Reports so far, and a form for a new one."""
    batches, found = await asyncio.gather(
        api.get("/v1/batches", limit=BATCHES_SHOWN),
        api.get("/v1/calibrations", cursor=request.query_params.get("cursor")),
    )
    ended = [one for one in batches["data"] if one["finished_at"]]
    return page(request, "calibrations.html", batches=ended, found=found)


async def calibrate(request: Request, api: Api) -> Response:
    """Compare a batch with its labels, and show the report."""
    form = {name: str(value) for name, value in (await request.form()).items() if value}
    wanted: dict[str, Any] = {"batch": form.get("batch", "")}
    if "draw" in form:
        wanted["labels"] = {"draw": form["draw"]}
    if "precision_min" in form:
        wanted["precision_min"] = _number(form["precision_min"])
    if "alpha" in form:
        wanted["cascade"] = {
            "alpha": _number(form["alpha"]), "delta": _number(form.get("delta", "0.1")),
        }  # fmt: skip
    made = await api.post("/v1/calibrations", wanted)
    root = request.scope.get("root_path", "")
    return RedirectResponse(f"{root}/calibrations/{made['id']}", HTTPStatus.SEE_OTHER)


async def calibration(request: Request, api: Api) -> Response:
    """One report, with the control set that watches the evaluator since."""
    found = await api.get(f"/v1/calibrations/{request.path_params['calibration']}")
    control = None
    if found["evaluator"]:
        control = await api.get_or_problem(_control(found["evaluator"]))
    return page(request, "calibration.html", found=found, meanings=WORDS, control=control)


async def watch(request: Request, api: Api) -> Response:
    """Have the evaluator judge the labelled cases again and again, and watch for a change."""
    form = {name: str(value) for name, value in (await request.form()).items()}
    id_ = request.path_params["calibration"]
    found = await api.get(f"/v1/calibrations/{id_}")
    wanted = {
        "calibration": id_, "criterion": form.get("criterion", ""),
        "every_h": _number(form.get("every_h", "24")),
    }  # fmt: skip
    await api.call("PUT", _control(found["evaluator"] or ""), wanted)
    root = request.scope.get("root_path", "")
    return RedirectResponse(f"{root}/calibrations/{id_}#drift", HTTPStatus.SEE_OTHER)


def _control(evaluator: str) -> str:
    return f"/v1/evaluators/{evaluator.partition('@')[0]}/control"


async def delete(request: Request, api: Api) -> Response:
    """Remove a report."""
    await api.call("DELETE", f"/v1/calibrations/{request.path_params['calibration']}")
    root = request.scope.get("root_path", "")
    return RedirectResponse(f"{root}/calibrations", HTTPStatus.SEE_OTHER)


def _number(text: str) -> float | str:
    """The number, or the text as it is: the API then says what is wrong with it."""
    try:
        return float(text)
    except ValueError:
        return text


PAGES = (
    ("/calibrations", calibrations, "GET"),
    ("/calibrations", calibrate, "POST"),
    ("/calibrations/{calibration}", calibration, "GET"),
    ("/calibrations/{calibration}/control", watch, "POST"),
    ("/calibrations/{calibration}/delete", delete, "POST"),
)
