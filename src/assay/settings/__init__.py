"""Settings: assay.toml and the environment, read into frozen, typed values."""

from assay.settings.batches import BatchSettings
from assay.settings.load import SettingsError, load
from assay.settings.schema import (
    AuthSettings,
    JudgeSettings,
    ModelSettings,
    ProviderSettings,
    RedisSettings,
    ServerSettings,
    Settings,
    TelemetrySettings,
)
from assay.settings.secret import Secret

__all__ = [
    "AuthSettings",
    "BatchSettings",
    "JudgeSettings",
    "ModelSettings",
    "ProviderSettings",
    "RedisSettings",
    "Secret",
    "ServerSettings",
    "Settings",
    "SettingsError",
    "TelemetrySettings",
    "load",
]
