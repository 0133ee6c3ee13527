"""The shape of the configuration: one class per section of assay.toml."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from assay.domain.models import ModelKind
from assay.domain.suggestions import did_you_mean
from assay.domain.targets import is_loopback
from assay.domain.tenants import JUDGE_CALLS_MAX
from assay.settings.hosts import HttpCriteriaSettings, ImageSettings
from assay.settings.judges import EmbeddingSettings, JudgeSettings, ModelSettings
from assay.settings.providers import UNASKED, ProviderSettings
from assay.settings.section import Section
from assay.settings.tenants import AuthSettings, TenantSettings


class ServerSettings(Section):
    """`[server]`: where the service listens, and how much it accepts."""

    host: str = Field("127.0.0.1", description="Address to listen on.")
    port: int = Field(8080, ge=0, le=65_535, description="Port of the API; 0 picks a free port.")
    metrics_port: int = Field(
        9090, ge=0, le=65_535, description="Port of health checks and metrics; 0 picks a free port."
    )
    data_dir: Path = Field(
        Path(".data"), description="Directory for the files of the private Redis."
    )
    max_body_bytes: int = Field(
        2_097_152, ge=1_024, le=67_108_864, description="Largest request body, in bytes."
    )
    body_timeout_s: float = Field(
        10.0, gt=0, le=300, description="Longest time for a request body to arrive."
    )
    request_timeout_ms: int = Field(
        30_000, ge=100, le=600_000, description="Largest `timeout_ms` that a request may have."
    )
    default_timeout_ms: int = Field(
        20_000,
        ge=100,
        le=600_000,
        description="`timeout_ms` of a request that names none, up to `request_timeout_ms`.",
    )
    judge_calls_max: int = Field(
        JUDGE_CALLS_MAX,
        ge=1,
        le=16_384,
        description="Judge calls that one request or one row may make, without retries.",
    )
    inflight_requests_max: int = Field(
        1_000, ge=1, description="Requests in flight; further ones are refused with 503."
    )
    inflight_bytes_max: int = Field(
        402_653_184,
        ge=1_048_576,
        description="Bytes of memory for request bodies in flight; each body counts 1.5 times.",
    )
    console: bool = Field(True, description="Whether there is a console at `/console`.")
    cors_origins: tuple[Annotated[str, Field(pattern=r"^(\*|https?://[^/?#@\s]+)$")], ...] = Field(
        (),
        description="Origins whose pages may call the API from a browser, such as "
        "`https://app.example`; `*` allows all.",
    )
    drain_delay_s: float = Field(
        0.0,
        ge=0,
        le=60,
        description="On SIGTERM, time between failing readiness and refusing new requests.",
    )


class RedisSettings(Section):
    """`[redis]`: where the shared state is."""

    url: str = Field(
        "",
        repr=False,
        description="A redis://, rediss:// or unix:// URL. Empty: start a private Redis.",
    )
    url_file: Path | None = Field(None, description="File that contains the URL.")
    private_memory_mb: int = Field(
        1_024, ge=16, description="Memory of the private Redis; when it is full, writes fail."
    )

    @property
    def is_shared(self) -> bool:
        """Whether there is a Redis that other processes can use as well."""
        return bool(self.url) or self.url_file is not None


class RecordsSettings(Section):
    """`[records]`: the database of what must outlive Redis."""

    url: str = Field(
        "",
        repr=False,
        description="A postgresql:// URL. Empty: a SQLite file in `server.data_dir`.",
    )
    url_file: Path | None = Field(None, description="File that contains the URL.")
    upload_mb_max: int = Field(
        2_048, ge=1, description="Largest upload of a dataset, which is held in a temporary file."
    )
    results_retention_d: float | None = Field(
        None,
        gt=0,
        description="How long a batch and its results are kept in the records, in days from its "
        "creation. Unset: until it is deleted.",
    )


class TelemetrySettings(Section):
    """`[telemetry]`: logs."""

    log_level: Literal["debug", "info", "warning", "error"] = Field(
        "info", description="Lowest level that is logged."
    )
    log_format: Literal["auto", "json", "text"] = Field(
        "auto", description="`auto` is text on a terminal, else JSON lines."
    )


class OtelSettings(Section):
    """`[otel]`: traces, evaluation events and metrics for OpenTelemetry; off by default."""

    endpoint: Annotated[str, Field(pattern=r"^(https?://[^\s?#@]+)?$")] = Field(
        "",
        description="Base URL of an OTLP/HTTP receiver, such as `http://collector:4318`. Empty: "
        "as the standard `OTEL_*` variables say.",
    )
    explanations: bool = Field(
        False,
        description="Whether evaluation events have the judge's explanation, which may quote what "
        "callers sent.",
    )


class BatchSettings(Section):
    """`[batches]`: batches of rows, and the workers that evaluate them."""

    worker_in_serve: bool | None = Field(
        None,
        description="Whether `assay serve` also works on rows. Unset: yes, if its Redis is the "
        "private one.",
    )
    worker_rows: int = Field(
        16, ge=1, le=1_000, description="Rows that a worker evaluates at the same time."
    )
    rows_max: int = Field(1_000_000, ge=1, le=5_000_000, description="Rows of one batch.")
    row_timeout_s: float = Field(
        120.0, gt=0, le=3_600, description="Longest time for one attempt at a row."
    )
    attempts_max: int = Field(
        8, ge=1, le=100, description="Attempts at a row that fails for a transient reason."
    )
    lease_s: float = Field(
        12.0,
        ge=2,
        le=25,
        description="A row goes to another worker after this long without renewal.",
    )
    grace_s: float = Field(
        20.0,
        ge=0,
        le=600,
        description="On SIGTERM, time to finish rows; the others go back to the queue.",
    )
    retention_h: float = Field(
        720.0, gt=0, le=8_760, description="How long a batch and its results are stored, in hours."
    )
    jobs_poll_s: float = Field(
        15.0,
        gt=0,
        le=3_600,
        description="How often jobs of providers' batch APIs are looked after "
        '(`judge.service` `"batch"`).',
    )
    jobs_gather_s: float = Field(
        60.0,
        ge=0,
        le=3_600,
        description="How long calls are gathered for a job while rows of the batch are not "
        "evaluated yet.",
    )
    jobs_lost_after_s: float = Field(
        120.0,
        gt=0,
        le=3_600,
        description="How long a job whose submission was cut short may take to appear in the "
        "provider's list; then it is sent again.",
    )
    jobs_wait_h: float = Field(
        26.0,
        gt=0,
        le=168,
        description="How long a job may take, in hours; then its calls are made directly.",
    )
    webhooks_to_private_hosts: bool = Field(
        False, description="Allow webhooks to private addresses and over plain HTTP."
    )


class QuotaSettings(Section):
    """`[quota]`: how processes share the providers' quotas."""

    pods_max: int = Field(
        1,
        ge=1,
        le=10_000,
        description="Largest number of processes. Without Redis, quotas are divided by it.",
    )
    oversize: Literal["debt", "refuse"] = Field(
        "debt",
        description="What happens to a call larger than a quota bucket: `debt` sends it once "
        "the bucket is full, `refuse` refuses it.",
    )


class QueueSettings(Section):
    """`[queue]`: how much may wait for one model, in one process."""

    calls_max: int = Field(10_000, ge=1, description="Waiting calls.")
    bytes_max: int = Field(268_435_456, ge=1_048_576, description="Bytes of waiting prompts.")


class BreakerSettings(Section):
    """`[breaker]`: when calls to a model stop, and how the model is probed."""

    window_s: float = Field(30.0, gt=0, description="Length of the sliding window.")
    calls_min: int = Field(
        20, ge=1, description="Fewest calls in the window before the breaker can open."
    )
    failed_share: float = Field(
        0.5, gt=0, le=1, description="Share of failed calls that opens the breaker."
    )
    slow_share: float = Field(
        0.5, gt=0, le=1, description="Share of slow calls that opens the breaker."
    )
    slow_s: float = Field(
        5.0,
        gt=0,
        description="A call is slow if its first byte takes longer, or if the caller's deadline "
        "passes after half of it without a byte.",
    )
    open_s: float = Field(
        5.0, gt=0, description="First open interval; doubles each time it reopens."
    )
    open_max_s: float = Field(60.0, gt=0, description="Longest open interval.")
    probes: int = Field(
        3,
        ge=1,
        le=100,
        description="Calls that probe the model before the breaker closes, over all processes.",
    )


class RetrySettings(Section):
    """`[retry]`: how much a process retries, over all models."""

    budget_share: float = Field(
        0.1, ge=0, le=1, description="Retries allowed, as a share of requests."
    )
    budget_per_s: float = Field(1.0, ge=0, description="Retries allowed per second, in addition.")
    backoff_s: float = Field(
        0.25, ge=0, le=10, description="Longest pause before a retry; the pause is random up to it."
    )


class CacheSettings(Section):
    """`[cache]`: stored answers of judges, for requests with `judge.cache`."""

    ttl_s: float = Field(86_400.0, ge=0, description="How long an answer is stored. 0: never.")


class Settings(Section):
    """The whole configuration."""

    server: ServerSettings = ServerSettings()
    redis: RedisSettings = RedisSettings()
    records: RecordsSettings = RecordsSettings()
    auth: AuthSettings = AuthSettings()
    telemetry: TelemetrySettings = TelemetrySettings()
    otel: OtelSettings = OtelSettings()
    batches: BatchSettings = BatchSettings()
    quota: QuotaSettings = QuotaSettings()
    queue: QueueSettings = QueueSettings()
    breaker: BreakerSettings = BreakerSettings()
    retry: RetrySettings = RetrySettings()
    cache: CacheSettings = CacheSettings()
    images: ImageSettings = ImageSettings()
    http_criteria: HttpCriteriaSettings = HttpCriteriaSettings()
    tenants: dict[str, TenantSettings] = Field(default_factory=dict)
    providers: dict[str, ProviderSettings] = Field(default_factory=dict)
    models: dict[str, ModelSettings] = Field(default_factory=dict)
    judges: dict[str, JudgeSettings] = Field(default_factory=dict)
    embeddings: EmbeddingSettings = EmbeddingSettings()

    @property
    def auth_required(self) -> bool:
        if self.auth.required is not None:
            return self.auth.required
        return self.auth.keys_file is not None or not is_loopback(self.server.host)

    @property
    def worker_in_serve(self) -> bool:
        if self.batches.worker_in_serve is not None:
            return self.batches.worker_in_serve
        return not self.redis.is_shared

    @property
    def simulated(self) -> bool:
        """Whether no provider asks a model."""
        return all(provider.dialect in UNASKED for provider in self.providers.values())

    @model_validator(mode="after")
    def _refers_to_what_exists(self) -> Self:
        for model_id, model in self.models.items():
            if model.provider not in self.providers:
                hint = did_you_mean(model.provider, self.providers)
                raise ValueError(
                    f"models.{model_id}.provider: {model.provider!r} is not configured{hint}"
                )
            if model.dimensions is not None and model.kind != "embedding":
                raise ValueError(f'models.{model_id}.dimensions: needs kind = "embedding"')
        for name, judge in self.judges.items():
            self._check_models(f"judges.{name}.models", judge.models, "chat")
        self._check_models("embeddings.models", self.embeddings.models, "embedding")
        return self

    def _check_models(self, field: str, ids: tuple[str, ...], kind: ModelKind) -> None:
        for model_id in ids:
            if model_id not in self.models:
                hint = did_you_mean(model_id, self.models)
                raise ValueError(f"{field}: {model_id!r} is not configured{hint}")
            if self.models[model_id].kind != kind:
                raise ValueError(
                    f"{field}: {model_id!r} has the kind {self.models[model_id].kind!r}, "
                    f"and only the kind {kind!r} can be used here"
                )

    @model_validator(mode="after")
    def _has_prices_that_caps_can_keep(self) -> Self:
        for model_id, model in self.models.items():
            prices = (model.input_usd_per_mtok, model.output_usd_per_mtok)
            if model.free and any(prices):
                raise ValueError(f"models.{model_id}.free: cannot be true beside a price")
            if prices[0] == 0 and not (model.free or self.providers[model.provider].is_local):
                raise ValueError(
                    f"models.{model_id}.input_usd_per_mtok: is 0, and a cost cap over it would "
                    "never be reached. Set the price, leave it out for the published one, or set "
                    "free = true if calls cost nothing"
                )
        return self

    @model_validator(mode="after")
    def _has_room_for_one(self) -> Self:
        if self.server.inflight_bytes_max < 1.5 * self.server.max_body_bytes:
            raise ValueError(
                "server.inflight_bytes_max: must be at least 1.5 times server.max_body_bytes"
            )
        return self

    @model_validator(mode="after")
    def _is_guarded(self) -> Self:
        if self.auth_required and self.auth.keys_file is None:
            raise ValueError(
                "auth.keys_file: is not set, but callers need an API key. "
                "Create one with `assay keys create --tenant NAME --keys-file FILE`."
            )
        if not self.auth_required and not is_loopback(self.server.host):
            raise ValueError("auth.required: can be false only on a loopback host")
        return self
