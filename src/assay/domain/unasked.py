"""What to call verdicts for which no model was asked."""

from __future__ import annotations

from collections.abc import Collection

RECORDED = "recorded"
"""The provider of recordings, by convention."""


def unasked(providers: Collection[str]) -> str:
    """The word for verdicts of these providers, in capitals."""
    kinds = {RECORDED if one == RECORDED else "simulated" for one in providers}
    return " or ".join(sorted(kinds or {"simulated"})).upper()
