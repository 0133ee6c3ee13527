"""The limits of a process as the settings have them by default."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from assay.bootstrap.from_settings import limits_from_settings
from assay.http.limits import Limits
from assay.settings import Settings


def limits_with(**changes: Any) -> Limits:
    """The default limits, with some of them changed."""
    return replace(limits_from_settings(Settings()), **changes)
