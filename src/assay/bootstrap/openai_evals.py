"""Builds OpenAI's surface over the same use cases as our own."""

from __future__ import annotations

from fastapi import APIRouter

from assay.api.batches.services import Batches
from assay.openai_evals.backend import Backend
from assay.openai_evals.batch_runs import BatchRuns
from assay.openai_evals.evals import Evals
from assay.openai_evals.files import Files
from assay.openai_evals.graders import Graders
from assay.openai_evals.output_items import OutputItems
from assay.openai_evals.runs import EvalRuns


def openai_routers(batches: Batches) -> list[APIRouter]:
    """The resources of OpenAI's surface."""
    services = batches.services
    backend = Backend(
        services.admit,
        services.access,
        services.evaluator,
        services.judges,
        services.gate,
        services.open_stores,
        batches.limits,
        BatchRuns(batches.store, batches.lasting, batches.creator, services.open_stores),
        batches.private_webhooks,
    )
    runs = EvalRuns(backend)
    resources = (Evals(backend), runs, OutputItems(backend, runs), Files(backend), Graders(backend))
    return [resource.router() for resource in resources]
