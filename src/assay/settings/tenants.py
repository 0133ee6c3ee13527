"""Who may call, and how much each tenant may have."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field

from assay.settings.section import Section


class AuthSettings(Section):
    """`[auth]`: who may call."""

    required: bool | None = Field(
        None,
        description="Whether callers need an API key. Unset: yes, except on a loopback host "
        "without a keys file. Can be false only on a loopback host.",
    )
    keys_file: Path | None = Field(
        None, description="File with one key per line, as `assay keys create` prints them."
    )
    hosts: tuple[str, ...] = Field(
        (),
        description="Names, besides those of the loopback, by which callers without an API key may "
        "address the service: those of a proxy on the same machine.",
    )


class TenantSettings(Section):
    """`[tenants.NAME]`: a tenant's share of the quotas, and its budget."""

    quota_share: float | None = Field(
        None,
        gt=0,
        le=0.9,
        description="Guaranteed share of each model's quota; while idle, others use it.",
    )
    usd_per_day: float | None = Field(
        None, gt=0, description="Largest cost of its judges per day (UTC)."
    )
    requests_per_minute: float | None = Field(
        None, gt=0, description="Requests of any kind in any minute. Unset: unlimited."
    )
    judge_calls_per_minute: float | None = Field(
        None, gt=0, description="Judge calls in any minute, without retries. Unset: unlimited."
    )
    judge_calls_per_request: int | None = Field(
        None, ge=1, description="In place of `server.judge_calls_max`."
    )
    inflight_max: int | None = Field(
        None, ge=1, description="Evaluations and comparisons at the same time. Unset: unlimited."
    )
    batches_open_max: int | None = Field(
        None, ge=1, description="Batches that have not ended. Unset: unlimited."
    )
    stored_bytes_max: int | None = Field(
        None,
        ge=1,
        description="Bytes of uploaded rows in batches that are stored. Unset: unlimited.",
    )
    idempotency_keys_max: int | None = Field(
        None, ge=1, description="Idempotency keys of the last 24 hours. Unset: unlimited."
    )
