"""The settings of a command, or a plain word on why they cannot be used."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from assay.cli.app import refuse
from assay.settings import Settings, SettingsError, load


def read_settings(config: Path | None, *, log_level: str = "", **server: Any) -> Settings:
    """The settings, under what the command line says of `[server]`; None there says nothing.

    `log_level` replaces the one configured.
    """
    said = {name: value for name, value in server.items() if value is not None}
    overrides: dict[str, dict[str, Any]] = {"server": said}
    if log_level:
        overrides["telemetry"] = {"log_level": log_level}
    try:
        return load(config, os.environ, overrides)
    except SettingsError as error:
        refuse("the configuration cannot be used: " + "; ".join(str(error).splitlines()))
