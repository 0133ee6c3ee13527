"""The base of all values that a request holds."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, ConfigDict, GetCoreSchemaHandler, model_validator
from pydantic_core import PydanticCustomError
from pydantic_core.core_schema import no_info_before_validator_function

FIELDS_MAX = 100
"""An object with more fields is refused unread: each would be an error of its own."""


def _without_coercion(schema: Any) -> Any:
    """The schema with the types of JSON: "5" is no number, 1 is no boolean, and 5.0 is whole.

    pydantic's own strict mode would also refuse a list for a tuple.
    """
    if isinstance(schema, list | tuple):
        return type(schema)(map(_without_coercion, schema))
    if not isinstance(schema, dict):
        return schema
    kept = {"default", "expected", "metadata"}
    plain = {k: v if k in kept else _without_coercion(v) for k, v in schema.items()}
    if plain.get("type") in ("bool", "float"):
        return plain | {"strict": True}
    if plain.get("type") == "int":
        return no_info_before_validator_function(_whole, plain | {"strict": True})
    return plain


def _whole(value: Any) -> Any:
    """5.0 as 5, up to where a floating-point number still has all its digits."""
    exact = isinstance(value, float) and value.is_integer() and abs(value) < 1 << 53
    return int(value) if exact else value


class Frozen(BaseModel):
    """A value that a request holds: unknown fields are errors, and parsing ends all changes."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> Any:
        return _without_coercion(handler(source))

    @model_validator(mode="before")
    @classmethod
    def _limit_fields(cls, value: Any) -> Any:
        if isinstance(value, Mapping) and len(value) > FIELDS_MAX:
            raise PydanticCustomError(
                "too_many_fields", "must have at most {most} fields", {"most": FIELDS_MAX}
            )
        return value
