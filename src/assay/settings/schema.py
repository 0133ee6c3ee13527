"""The shape of the configuration: one class per section of assay.toml."""

from __future__ import annotations

import ipaddress
from pathlib import Path
from typing import Literal, Self

from pydantic import Field, model_validator

from assay.domain.evaluation import Strategy
from assay.settings.batches import BatchSettings
from assay.settings.section import Section

Dialect = Literal["openai", "anthropic", "gemini", "simulated"]

BASE_URLS: dict[Dialect, str] = {
    "openai": "https://api.openai.com/v1",
    "anthropic": "https://api.anthropic.com/v1",
    "gemini": "https://generativelanguage.googleapis.com/v1beta",
    "simulated": "",
}


class ServerSettings(Section):
    """`[server]`: where the service listens and what it takes on at most."""

    host: str = Field("127.0.0.1", description="Address to listen on.")
    port: int = Field(8080, ge=0, le=65_535, description="Port of the API; 0 picks a free one.")
    metrics_port: int = Field(
        9090, ge=0, le=65_535, description="Port of health and metrics; 0 picks a free one."
    )
    data_dir: Path = Field(Path(".data"), description="Where the private Redis keeps its files.")
    max_body_bytes: int = Field(
        2_097_152, ge=1_024, le=67_108_864, description="Largest request body."
    )
    body_timeout_s: float = Field(
        10.0, gt=0, le=300, description="A body that has not arrived by then is dropped."
    )
    request_timeout_ms: int = Field(
        30_000, ge=100, le=600_000, description="Longest `timeout_ms` that a caller may ask for."
    )
    default_timeout_ms: int = Field(
        20_000,
        ge=100,
        le=600_000,
        description="`timeout_ms` of a request that names none, up to `request_timeout_ms`.",
    )
    inflight_requests_max: int = Field(
        1_000, ge=1, description="More requests at once are refused with 503."
    )
    inflight_bytes_max: int = Field(
        402_653_184,
        ge=1_048_576,
        description="Memory for bodies in this process at once; each counts 1.5 times its length.",
    )
    drain_delay_s: float = Field(
        0.0, ge=0, le=60, description="Between failing readiness and refusing work, on SIGTERM."
    )


class RedisSettings(Section):
    """`[redis]`: the shared state."""

    url: str = Field(
        "",
        repr=False,
        description="redis://, rediss:// or unix:// address; empty starts a private server.",
    )
    url_file: Path | None = Field(None, description="A file that holds the URL instead.")


class AuthSettings(Section):
    """`[auth]`: who may call."""

    required: bool | None = Field(
        None,
        description="Whether callers need a key. Unset: yes, except on a loopback host without a "
        "keys file. May be false only on a loopback host.",
    )
    keys_file: Path | None = Field(None, description="Lines of: sha256-hex tenant [name=value …].")


class TelemetrySettings(Section):
    """`[telemetry]`: what the service says about itself."""

    log_level: Literal["debug", "info", "warning", "error"] = Field(
        "info", description="Least severe level that is written."
    )
    log_format: Literal["auto", "json", "text"] = Field(
        "auto", description="auto is text on a terminal, else JSON lines."
    )


class ProviderSettings(Section):
    """`[providers.NAME]`: an endpoint and the key for it."""

    dialect: Dialect = Field(description="The wire protocol it speaks.")
    base_url: str = Field("", description="Empty: the vendor's own address.")
    api_key_env: str = Field("", description="Environment variable that holds the key.")
    api_key_file: Path | None = Field(None, description="File that holds it; read when it changes.")
    silence_timeout_s: float = Field(
        5.0, gt=0, le=600, description="To the first byte of the answer, and between two."
    )
    connections_max: int = Field(200, ge=1, le=10_000, description="Pooled connections.")
    stream: bool = Field(
        True, description="Stream answers; false gives the silence timeout as the whole time."
    )

    output_limit_field: str | None = Field(
        None,
        description="What an OpenAI-compatible server calls the output limit. Unset: "
        "`max_completion_tokens` at OpenAI and Azure, else `max_tokens`.",
    )

    @property
    def url(self) -> str:
        return self.base_url or BASE_URLS[self.dialect]


class ModelSettings(Section):
    """`[models."ID"]`: a model that can judge, its limits and its price."""

    provider: str = Field(description="A name from [providers].")
    name: str = Field(min_length=1, description="The model's name as sent on the wire.")
    requests_per_minute: float | None = Field(None, gt=0, description="Unset: unlimited.")
    tokens_per_minute: float | None = Field(None, gt=0, description="Unset: unlimited.")
    burst_share: float = Field(
        0.05, gt=0, le=0.5, description="Part of a minute's limit that may be sent at once."
    )
    context_tokens: int | None = Field(None, ge=1, description="Window; unset: not checked.")
    max_output_tokens: int = Field(2_048, ge=16, description="Longest answer to ask for.")
    input_usd_per_mtok: float | None = Field(None, ge=0, description="Price of a million tokens.")
    output_usd_per_mtok: float | None = Field(None, ge=0, description="Price of a million tokens.")
    slots: int = Field(64, ge=1, le=10_000, description="Calls under way at once, in one process.")
    weight: float = Field(1.0, gt=0, description="Share under the strategy `weighted`.")
    structured_output: bool = Field(True, description="Whether it can be held to a JSON Schema.")
    logprobs: bool = Field(False, description="Whether it gives token log-probabilities.")
    seed: bool = Field(False, description="Whether it takes a seed.")
    temperature: bool = Field(True, description="Whether it takes a temperature.")


class JudgeSettings(Section):
    """`[judges.NAME]`: models that judge, in order of preference."""

    models: tuple[str, ...] = Field(min_length=1, description="Ids from [models].")
    strategy: Strategy = Field("ordered", description="How the next model is chosen.")


class QuotaSettings(Section):
    """`[quota]`: how the providers' budgets are kept."""

    pods_max: int = Field(
        1,
        ge=1,
        le=10_000,
        description="Most processes there can be: each one's share without Redis.",
    )
    oversize: Literal["debt", "refuse"] = Field(
        "debt", description="A call above a bucket's capacity: sent when it is full, or refused."
    )


class QueueSettings(Section):
    """`[queue]`: who may wait in one process, for each model."""

    calls_max: int = Field(10_000, ge=1, description="Calls that wait at most.")
    bytes_max: int = Field(268_435_456, ge=1_048_576, description="Bytes of what waits at most.")


class BreakerSettings(Section):
    """`[breaker]`: when a model is left alone, and how it is tried again."""

    window_s: float = Field(30.0, gt=0, description="Calls of this long are weighed.")
    calls_min: int = Field(20, ge=1, description="Fewer calls in the window trip nothing.")
    failed_share: float = Field(0.5, gt=0, le=1, description="Trips at this share of failures.")
    slow_share: float = Field(0.5, gt=0, le=1, description="Trips at this share of slow calls.")
    slow_s: float = Field(
        5.0,
        gt=0,
        description="A first byte later than this is slow; so is none after half of it, where the "
        "caller's deadline is over.",
    )
    open_s: float = Field(5.0, gt=0, description="Open for so long at first; then doubling.")
    open_max_s: float = Field(60.0, gt=0, description="Open for so long at the most.")
    probes: int = Field(3, ge=1, le=100, description="Calls that try it again, over all processes.")


class RetrySettings(Section):
    """`[retry]`: how much may be repeated, over all models of a process."""

    budget_share: float = Field(0.1, ge=0, le=1, description="Retries per request at the most,")
    budget_per_s: float = Field(1.0, ge=0, description="and so many a second on top.")
    backoff_s: float = Field(0.25, ge=0, le=10, description="Longest pause, fully jittered.")


class CacheSettings(Section):
    """`[cache]`: answers kept for callers who ask for them with `judge.cache`."""

    ttl_s: float = Field(86_400.0, ge=0, description="How long an answer is kept; 0: never.")


class TenantSettings(Section):
    """`[tenants.NAME]`: what one tenant is guaranteed, and what it may spend."""

    quota_share: float | None = Field(
        None, gt=0, le=0.9, description="Guaranteed part of each model's rate; idle, others use it."
    )
    usd_per_day: float | None = Field(
        None, gt=0, description="Most that its judges may cost in a day (UTC)."
    )


class Settings(Section):
    """The whole configuration."""

    server: ServerSettings = ServerSettings()
    redis: RedisSettings = RedisSettings()
    auth: AuthSettings = AuthSettings()
    telemetry: TelemetrySettings = TelemetrySettings()
    batches: BatchSettings = BatchSettings()
    quota: QuotaSettings = QuotaSettings()
    queue: QueueSettings = QueueSettings()
    breaker: BreakerSettings = BreakerSettings()
    retry: RetrySettings = RetrySettings()
    cache: CacheSettings = CacheSettings()
    tenants: dict[str, TenantSettings] = Field(default_factory=dict)
    providers: dict[str, ProviderSettings] = Field(default_factory=dict)
    models: dict[str, ModelSettings] = Field(default_factory=dict)
    judges: dict[str, JudgeSettings] = Field(default_factory=dict)

    @property
    def auth_required(self) -> bool:
        if self.auth.required is not None:
            return self.auth.required
        return self.auth.keys_file is not None or not is_loopback(self.server.host)

    @property
    def worker_in_serve(self) -> bool:
        if self.batches.worker_in_serve is not None:
            return self.batches.worker_in_serve
        return not self.redis.url and self.redis.url_file is None

    @property
    def simulated(self) -> bool:
        """Whether no provider is a real one."""
        return all(provider.dialect == "simulated" for provider in self.providers.values())

    @model_validator(mode="after")
    def _refers_to_what_exists(self) -> Self:
        for model_id, model in self.models.items():
            if model.provider not in self.providers:
                raise ValueError(f"models.{model_id}.provider: no provider {model.provider!r}")
        for name, judge in self.judges.items():
            for model_id in judge.models:
                if model_id not in self.models:
                    raise ValueError(f"judges.{name}.models: no model {model_id!r}")
        return self

    @model_validator(mode="after")
    def _has_room_for_one(self) -> Self:
        if self.server.inflight_bytes_max < 1.5 * self.server.max_body_bytes:
            raise ValueError(
                "server.inflight_bytes_max: a body of server.max_body_bytes counts 1.5 times that"
            )
        return self

    @model_validator(mode="after")
    def _is_guarded(self) -> Self:
        if self.auth_required and self.auth.keys_file is None:
            raise ValueError(
                "auth.keys_file: callers need a key here, and none can have one; "
                "make one with `assay keys create --tenant NAME --keys-file FILE`"
            )
        if not self.auth_required and not is_loopback(self.server.host):
            raise ValueError("auth.required: may be false only on a loopback host")
        return self


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach `host`."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
