"""Settings: assay.toml and the environment, read into frozen, typed values."""

from assay.settings.load import SettingsError, load
from assay.settings.schema import (
    AuthSettings,
    BatchSettings,
    BreakerSettings,
    JudgeSettings,
    ModelSettings,
    ProviderSettings,
    QueueSettings,
    RedisSettings,
    RetrySettings,
    ServerSettings,
    Settings,
    TelemetrySettings,
)
from assay.settings.secret import Secret

__all__ = [
    "AuthSettings",
    "BatchSettings",
    "BreakerSettings",
    "JudgeSettings",
    "ModelSettings",
    "ProviderSettings",
    "QueueSettings",
    "RedisSettings",
    "RetrySettings",
    "Secret",
    "ServerSettings",
    "Settings",
    "SettingsError",
    "TelemetrySettings",
    "load",
]
