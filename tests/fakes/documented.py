"""Whether a response has exactly the documented shape."""

from __future__ import annotations

from typing import Any

import jsonschema_rs
from pydantic import TypeAdapter


def faults(model: type, body: Any) -> list[str]:
    """What in the body does not fit the schema that the OpenAPI document has of `model`."""
    schema = TypeAdapter(model).json_schema(mode="serialization")
    return [error.message for error in jsonschema_rs.validator_for(schema).iter_errors(body)]
