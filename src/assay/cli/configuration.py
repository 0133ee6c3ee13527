"""The settings of a command."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from assay.cli.app import notice, usage_error
from assay.settings import Settings, SettingsError, load, misspelt_variables


def read_settings(
    config: Path | None,
    *,
    log_level: str = "",
    judge: Mapping[str, Mapping[str, Any]] | None = None,
    **server: Any,
) -> Settings:
    """The settings, with `[server]` options of the command line; None keeps the configured value.

    `log_level` replaces the configured one. `judge` has the sections of a judge that is to be used
    in place of the default one. Exits if the configuration is invalid.
    """
    given = {name: value for name, value in server.items() if value is not None}
    overrides: dict[str, Mapping[str, Any]] = {**(judge or {}), "server": given}
    if log_level:
        overrides["telemetry"] = {"log_level": log_level}
    for sentence in misspelt_variables(os.environ):
        notice(f"assay: {sentence}")
    try:
        return load(config, os.environ, overrides)
    except SettingsError as error:
        usage_error("invalid configuration: " + "; ".join(str(error).splitlines()))
