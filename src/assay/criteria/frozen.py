"""The base of all values that a request holds."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, ConfigDict, GetCoreSchemaHandler, model_validator
from pydantic_core import PydanticCustomError
from pydantic_core.core_schema import no_info_before_validator_function

FIELDS_MAX = 100
"""An object with more fields is refused unread: each would be an error of its own."""


_KEPT = frozenset({"default", "expected", "metadata", "cls"})


def _without_coercion(schema: Any, of: type) -> Any:
    """The schema `of` a class with the types of JSON: "5" is no number, 1 is no boolean, and 5.0
    is whole.

    pydantic's own strict mode would also refuse a list for a tuple. Nested values of a request have
    been through here themselves.
    """
    if isinstance(schema, list | tuple):
        return type(schema)(_without_coercion(one, of) for one in schema)
    if not isinstance(schema, dict):
        return schema
    model = schema["cls"] if schema.get("type") == "model" else of
    if model is not of and issubclass(model, Frozen):
        return schema
    plain = {k: v if k in _KEPT else _without_coercion(v, of) for k, v in schema.items()}
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
        schema = handler(source)
        return schema if cls.__pydantic_complete__ else _without_coercion(schema, cls)

    @model_validator(mode="before")
    @classmethod
    def _limit_fields(cls, value: Any) -> Any:
        if isinstance(value, Mapping) and len(value) > FIELDS_MAX:
            raise PydanticCustomError(
                "too_many_fields", "must have at most {most} fields", {"most": FIELDS_MAX}
            )
        return value
