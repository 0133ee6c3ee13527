"""Evaluators: named, versioned criteria with their judge, which stand in for inline ones."""

from __future__ import annotations

from typing import Any

from assay.catalog.certificates import with_newest_certificate
from assay.catalog.names import find_version
from assay.catalog.stores import OpenStores
from assay.domain.evaluation import NamedVersion
from assay.domain.records import EvaluatorVersion
from assay.http.problems import invalid_request

_EVALUATOR = "evaluator"


async def with_criteria(
    open_stores: OpenStores, tenant: str, document: dict[str, Any]
) -> tuple[dict[str, Any], NamedVersion | None]:
    """A request whose evaluator has been replaced by its criteria and judge, and which that is.

    `evaluator` then names the version, too. A judge in the request replaces the evaluator's.
    A request that names no evaluator is returned as it is. Raises `RequestError` with the place
    of the fault, and `RecordsUnavailable`.
    """
    if document.get(_EVALUATOR) is None:
        return document, None
    if document.get("criteria") is not None:
        raise invalid_request("/criteria", "must not be given beside an evaluator")
    found = await find_evaluator(open_stores, tenant, document[_EVALUATOR])
    judge = document.get("judge") or found.spec.get("judge")
    named = await with_newest_certificate(await open_stores(), tenant, found, judge)
    criteria = found.spec["criteria"]
    return {**document, "criteria": criteria, "judge": judge, _EVALUATOR: str(named)}, named


async def find_evaluator(
    open_stores: OpenStores, tenant: str, reference: object
) -> EvaluatorVersion:
    """The version that a request names; raises `RequestError` with the place of the fault."""
    store = (await open_stores()).evaluators
    found = await find_version(store, tenant, reference, f"/{_EVALUATOR}")
    if found is None:
        raise invalid_request(f"/{_EVALUATOR}", f"there is no evaluator {reference}")
    return found
