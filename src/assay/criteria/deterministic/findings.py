"""How checks report: findings that are 0 or 1, the best of several, and texts cut to fit."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from assay.criteria.base import Finding

SHOWN_CHARS_MAX = 200
"""Longest excerpt of a text, or message of a parser, in an explanation."""


def binary_finding(holds: bool, explanation: str, value: Any = None) -> Finding:
    """The finding of a check that scores 1 or 0; without a `value`, that is the verdict."""
    return Finding(
        score=1.0 if holds else 0.0,
        value=holds if value is None else value,
        explanation=explanation,
    )


def best_finding(findings: Iterable[Finding]) -> Finding:
    """The one with the highest score; the first of equals. There must be at least one."""
    return max(findings, key=lambda finding: finding.score)


def shortened(text: str, chars_max: int = SHOWN_CHARS_MAX) -> str:
    """The text, cut after `chars_max` characters and marked with an ellipsis."""
    return text if len(text) <= chars_max else text[:chars_max] + "…"


def quoted(text: str) -> str:
    """The text in quotes and shortened."""
    return repr(shortened(text))
