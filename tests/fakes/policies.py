"""Policies as the settings have them by default, with the changes that a test needs."""

from __future__ import annotations

from typing import Any

from assay.domain.policy import BreakerPolicy, RetryBudgetPolicy
from assay.settings import BreakerSettings, RetrySettings


def breaker_policy(**changes: Any) -> BreakerPolicy:
    return BreakerPolicy(**{**BreakerSettings().model_dump(), **changes})


def retry_budget_policy(**changes: Any) -> RetryBudgetPolicy:
    return RetryBudgetPolicy(**{**RetrySettings().model_dump(), **changes})
