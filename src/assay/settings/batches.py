"""The section of the configuration for batches."""

from __future__ import annotations

from pydantic import Field

from assay.settings.section import Section


class BatchSettings(Section):
    """`[batches]`: rows in bulk, and the workers that do them."""

    worker_in_serve: bool | None = Field(
        None,
        description="Whether `assay serve` works on rows too. Unset: yes, where its Redis is the "
        "private one.",
    )
    worker_rows: int = Field(16, ge=1, le=1_000, description="Rows that a worker does at a time.")
    rows_max: int = Field(1_000_000, ge=1, le=5_000_000, description="Most rows of one batch.")
    row_timeout_s: float = Field(120.0, gt=0, le=3_600, description="Longest time for one try.")
    attempts_max: int = Field(
        8, ge=1, le=100, description="Tries of a row that fails for a passing reason."
    )
    lease_s: float = Field(
        12.0, ge=2, le=25, description="A row whose worker is silent so long goes to another."
    )
    grace_s: float = Field(
        20.0, ge=0, le=600, description="On SIGTERM, time to finish rows; the rest is handed back."
    )
    retention_h: float = Field(
        720.0, gt=0, le=8_760, description="A batch and its results are kept so long."
    )
    webhooks_to_private_hosts: bool = Field(
        False, description="Let webhooks go to private addresses, and over plain HTTP."
    )
