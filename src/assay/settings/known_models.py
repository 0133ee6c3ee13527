"""What is known of models besides what is configured: from the dated file beside this module."""

from __future__ import annotations

import datetime as dt
import re
import tomllib
from functools import cache
from pathlib import Path

from pydantic import BaseModel, ConfigDict

ENDS_SOON = dt.timedelta(days=30)
SNAPSHOT = re.compile(r"-(\d{4}-\d{2}-\d{2}|\d{8})$")
"""The date at the end of the name of a fixed version of a model."""


class KnownModel(BaseModel):
    """One model; its source and the day on which that was read are for who renews the file."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    source: str = ""
    date: dt.date | None = None
    reasoning: bool | None = None
    vision: bool | None = None
    max_output_tokens: int | None = None
    end_of_life: dt.date | None = None


class PriceList(BaseModel):
    """The package of prices, and how old its locked version is."""

    package: str
    version: str
    date: dt.date


class Choice(BaseModel):
    """The models that may be chosen without a configuration, by dialect, in order of preference."""

    openai: tuple[str, ...]
    anthropic: tuple[str, ...]
    gemini: tuple[str, ...]
    unfit: tuple[str, ...]


class KnownModels(BaseModel):
    """The whole file."""

    prices: PriceList
    choice: Choice
    models: dict[str, KnownModel]


@cache
def known_models() -> KnownModels:
    """The file's content, read once."""
    text = (Path(__file__).parent / "known_models.toml").read_text(encoding="utf-8")
    return KnownModels.model_validate(tomllib.loads(text))


def family(name: str) -> str:
    """The name of a model without a prefix and without the date of a fixed version."""
    return SNAPSHOT.sub("", name.rpartition("/")[2].lower())


def known_model(name: str) -> KnownModel:
    """What is known of the model; nothing, if it is not in the file."""
    return known_models().models.get(family(name)) or KnownModel()
