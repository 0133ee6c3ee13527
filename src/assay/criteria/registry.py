"""All criteria by type name."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import TypeVar, get_args

from assay.criteria.base import Criterion

_types: dict[str, type[Criterion]] = {}
CRITERIA: Mapping[str, type[Criterion]] = MappingProxyType(_types)
"""Every registered criterion by its type name, in the order of registration."""

Registered = TypeVar("Registered", bound=Criterion)


def criterion(cls: type[Registered]) -> type[Registered]:
    """Class decorator: register a criterion under each value of its `type` literal.

    Raises `ValueError` where the name is taken.
    """
    for name in get_args(cls.model_fields["type"].annotation):
        if name in _types:
            raise ValueError(f"two criteria are called {name!r}")
        _types[name] = cls
    return cls
