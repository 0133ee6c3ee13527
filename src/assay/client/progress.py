"""The progress of a batch or of a comparison, on stderr."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any

WIDTH = 78


def show_progress(batch: Mapping[str, Any], *, ended: bool) -> None:
    """Write the line over the one before; the last one stays."""
    counts = batch["counts"]
    parts = [f"{counts['total'] - counts['pending']} of {counts['total']} rows"]
    parts += [f"{n} {name}" for name in ("unscored", "failed", "cancelled") if (n := counts[name])]
    if (rate := batch.get("rows_per_s")) is not None:
        parts.append(f"{rate:.1f} rows/s")
    if ended:
        parts.append(f"{batch['cost_usd']:.4f} USD, {batch['status']}")
    sys.stderr.write("\r" + ", ".join(parts).ljust(WIDTH) + ("\n" if ended else ""))
    sys.stderr.flush()


def show_rows_read(comparison: Mapping[str, Any]) -> None:
    """Write how far the results of two batches are read."""
    sys.stderr.write(f"assay: {comparison['rows_read']} of {comparison['rows']} rows are read\n")
