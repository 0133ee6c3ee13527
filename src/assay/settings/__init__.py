"""Settings: assay.toml and the environment, read into frozen, typed values."""

from assay.settings.addresses import check_proxy, environment_proxy
from assay.settings.discovery import Way, list_models
from assay.settings.judges import ModelSettings
from assay.settings.known_models import ENDS_SOON, known_model, known_models
from assay.settings.load import SettingsError, load, misspelt_variables
from assay.settings.providers import UNASKED, ProviderSettings
from assay.settings.schema import BatchSettings, BreakerSettings, RetrySettings, Settings
from assay.settings.secret import Secret, Template
from assay.settings.tenants import AuthSettings

__all__ = [
    "ENDS_SOON",
    "UNASKED",
    "AuthSettings",
    "BatchSettings",
    "BreakerSettings",
    "ModelSettings",
    "ProviderSettings",
    "RetrySettings",
    "Secret",
    "Settings",
    "SettingsError",
    "Template",
    "Way",
    "check_proxy",
    "environment_proxy",
    "known_model",
    "known_models",
    "list_models",
    "load",
    "misspelt_variables",
]
