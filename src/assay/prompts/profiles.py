"""Profiles of trained judges: the frames they are asked in, from the file beside this module."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from functools import cache
from importlib import resources
from typing import Any, get_args

from assay.domain.completion import Role
from assay.domain.models import Frame, Profile


@cache
def profiles() -> Mapping[str, Profile]:
    """Every profile by its name; the file is read once."""
    text = (resources.files("assay.prompts") / "profiles.toml").read_text("utf-8")
    return {name: _profile(name, entry) for name, entry in tomllib.loads(text).items()}


def _profile(name: str, entry: Mapping[str, Any]) -> Profile:
    frames = tuple(
        Frame(
            serves=tuple(frame["serves"]),
            needs=tuple(frame["needs"]),
            turns=tuple((role, frame[role]) for role in get_args(Role) if role in frame),
            scales=tuple((low, high) for low, high in frame.get("scales", ())),
        )
        for frame in entry["frames"]
    )
    return Profile(name, entry["reading"], frames, tuple(entry["models"]))


def profile_named_like(model: str) -> str | None:
    """The profile of the model with this name at its provider; None where none or several fit."""
    name = model.rpartition("/")[2].lower()
    fitting = [profile.name for profile in profiles().values() if name.startswith(profile.models)]
    return fitting[0] if len(fitting) == 1 else None
