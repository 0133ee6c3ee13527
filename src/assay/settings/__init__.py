"""Settings: assay.toml and the environment, read into frozen, typed values."""

from assay.settings.addresses import is_loopback
from assay.settings.judges import ModelSettings, ProviderSettings
from assay.settings.load import SettingsError, load, misspelt_variables
from assay.settings.schema import (
    BatchSettings,
    BreakerSettings,
    RetrySettings,
    Settings,
)
from assay.settings.secret import Secret
from assay.settings.tenants import AuthSettings

__all__ = [
    "AuthSettings",
    "BatchSettings",
    "BreakerSettings",
    "ModelSettings",
    "ProviderSettings",
    "RetrySettings",
    "Secret",
    "Settings",
    "SettingsError",
    "is_loopback",
    "load",
    "misspelt_variables",
]
