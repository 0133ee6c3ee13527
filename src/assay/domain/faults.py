"""Unexpected errors as events that contain none of the caller's text."""

from __future__ import annotations

import traceback

from assay.domain.events import InternalFault

FAULT_PLACES = (
    "audit",
    "batch_claim",
    "batch_gates",
    "batch_leases",
    "batch_row",
    "batch_worker",
    "breaker_fleet",
    "check",
    "comparison",
    "control_sets",
    "event_loop_lag",
    "grouped_calls",
    "idempotency_release",
    "idempotency_renewal",
    "judge_call",
    "judging",
    "live_traffic",
    "memory_trimming",
    "model_ends",
    "records_upkeep",
    "private_redis",
    "provider_jobs",
    "reading",
    "redis_probe",
    "refusals",
    "request",
    "sandbox_worker",
    "scraped_gauges",
    "settlements",
    "shared_call",
    "store_watch",
    "usage",
    "webhook",
)
"""The places that report faults: the labels of a metric, which counts any other as `other`."""


def internal_fault(where: str, error: BaseException, request_id: str = "") -> InternalFault:
    """The event for an unexpected error; `where` is a short constant that names the place.

    The error's message may quote the caller's text, so only its type and its traceback are kept.
    """
    trace = "".join(traceback.format_tb(error.__traceback__))
    return InternalFault(where, type(error).__name__, trace, request_id)
