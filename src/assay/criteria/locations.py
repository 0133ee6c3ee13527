"""Where a fault lies in the value that the caller sent."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, ValidationError
from pydantic_core import InitErrorDetails, PydanticCustomError

Location = tuple[int | str, ...]
"""Keys and indices that lead from the value to the fault, such as ("judge", "models", 0)."""
ABSENT = frozenset({"missing", "criteria_missing", "one_of"})
"""Types of faults whose last step may name a field that should be there."""


def fault_at(location: Location, fault: PydanticCustomError, value: Any) -> ValidationError:
    """The validation error for one fault of `value`, which lies at `location`."""
    details = InitErrorDetails(type=fault, loc=location, input=value)
    return ValidationError.from_exception_data("criteria", [details])


def require_one(value: BaseModel, *names: str) -> None:
    """Raises `ValidationError` unless one of the fields is given: at the second one, or the first.

    A model's own validator has to say which of the fields is at fault: pydantic does not know.
    """
    given = [name for name in names if getattr(value, name) is not None]
    if len(given) != 1:
        listed = {"names": f"{', '.join(names[:-1])} and {names[-1]}"}
        fault = PydanticCustomError("one_of", "exactly one of {names} is required", listed)
        raise fault_at((given[1] if given else names[0],), fault, value)


def location_as_sent(value: Any, location: Location, error_type: str) -> Location:
    """Pydantic's location of a fault, without the steps that `value` does not have.

    Pydantic adds the names of union members (judge, Judge, samples). The last step stays where
    `error_type` is one of `ABSENT`.
    """
    kept: list[int | str] = []
    for number, step in enumerate(location, 1):
        found, inner = _step(value, step)
        if found:
            value = inner
        elif error_type not in ABSENT or number < len(location):
            continue
        kept.append(step)
    return tuple(kept)


def _step(value: Any, step: int | str) -> tuple[bool, Any]:
    """Whether `value` has the member or item, and what it is."""
    if isinstance(value, Mapping):
        return step in value, value.get(step)
    if isinstance(value, list | tuple) and isinstance(step, int) and step < len(value):
        return True, value[step]
    return False, None
