"""Turns a document into a request model, and pydantic's errors into errors of the contract."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Any, TypeVar

from pydantic import AliasChoices, BaseModel, ValidationError
from pydantic_core import ErrorDetails

from assay.criteria import CRITERIA
from assay.criteria.locations import Location, location_as_sent
from assay.domain.errors import FieldError, RequestError
from assay.domain.json_pointer import json_pointer
from assay.domain.suggestions import did_you_mean
from assay.domain.targets import NO_HOSTS, AllowedHosts
from assay.http.problems import ERRORS_MAX, fault_sentence

Model = TypeVar("Model", bound=BaseModel)

MESSAGE_CHARS_MAX = 300
UNKNOWN_CRITERION = "unknown_criterion"
_SECONDARY = frozenset(
    {"string_type", "model_type", "dict_type", "list_type", "none_required", "too_short"}
)
"""Errors that say nothing where another one lies within: of a union's branch, that the value is of
another kind; of a list, that it is too short without its faulty entries."""
_IN_JSON = {
    "model_type": "must be an object",
    "dict_type": "must be an object",
    "list_type": "must be a list",
    "tuple_type": "must be a list",
    "float_type": "must be a number",
    "bool_type": "must be a boolean",
}
"""Messages of ours where pydantic's speak of Python, and not of JSON."""
_SUBJECT = re.compile(r"\A[A-Z]\w+ should (?=\w)")
"""How most of pydantic's messages begin; in ours the pointer is the subject."""


def validate(
    model: type[Model], document: dict[str, Any], image_hosts: AllowedHosts = NO_HOSTS
) -> Model:
    """The request in a document; raises `RequestError` with a pointer to each fault."""
    try:
        return model.model_validate(document, context=image_hosts)
    except ValidationError as error:
        raise _request_error(error, model, document) from None


def first_fault(error: RequestError) -> str:
    """The first fault of a request with its place, in words."""
    if not error.errors:
        return error.message
    first = error.errors[0]
    return f"{first.pointer}: {first.message}" if first.pointer else first.message


def field_names(model: type[BaseModel]) -> list[str]:
    """Every name by which a field of `model` may be sent."""
    names: list[str] = []
    for name, field in model.model_fields.items():
        alias = field.validation_alias
        choices = alias.choices if isinstance(alias, AliasChoices) else [alias or name]
        names += [choice for choice in choices if isinstance(choice, str)]
    return names


def _request_error(
    error: ValidationError, model: type[BaseModel], document: dict[str, Any]
) -> RequestError:
    details = error.errors(include_url=False, include_input=False)
    unknown = any(detail["type"] == UNKNOWN_CRITERION for detail in details)
    faults = tuple(_faults(details, model, document))
    message = fault_sentence(faults[0].pointer or "The body", faults[0].message)
    return RequestError("unknown_criterion" if unknown else "invalid_request", message, faults)


def _faults(
    details: Sequence[ErrorDetails], model: type[BaseModel], document: dict[str, Any]
) -> Iterator[FieldError]:
    """The faults, without those of a union's branches that do not fit the value's kind."""
    locations = [
        location_as_sent(document, detail["loc"], detail["type"])
        for detail in details[: ERRORS_MAX * 4]
    ]
    listed: set[tuple[Location, str]] = set()
    named: set[Location] = set()
    for location, detail in zip(locations, details, strict=False):
        if detail["type"] in _SECONDARY and (
            location in named or any(_is_inside(other, location) for other in locations)
        ):
            continue
        named.add(location)
        message = _message(detail, location, model, document)
        if (location, message) not in listed and len(listed) < ERRORS_MAX:
            listed.add((location, message))
            yield FieldError(json_pointer(location), message)


def _is_inside(location: Location, other: Location) -> bool:
    return len(location) > len(other) and location[: len(other)] == other


def _message(
    error: ErrorDetails,
    location: Location,
    model: type[BaseModel],
    document: dict[str, Any],
) -> str:
    if error["type"] == "missing":
        return "is required"
    if error["type"] == "extra_forbidden":
        name, names = str(location[-1]), _names_at(location, model, document)
        if name in names:  # pydantic has read the field under another of its names
            return "is given twice, under two names"
        return "unknown field" + did_you_mean(name, names)
    message = _IN_JSON.get(error["type"]) or _SUBJECT.sub(
        "must ", error["msg"].removeprefix("Value error, ")
    )
    message = message.replace(" after validation, not ", ", not ")
    return message if len(message) <= MESSAGE_CHARS_MAX else message[:MESSAGE_CHARS_MAX] + "…"


def _names_at(location: Location, model: type[BaseModel], document: dict[str, Any]) -> list[str]:
    """The names that are known where an unknown one was found."""
    match location:
        case (_,):
            return field_names(model)
        case ("criteria", int(index), _):
            criterion = CRITERIA.get(str(document["criteria"][index].get("type")))
            return [] if criterion is None else field_names(criterion)
        case _:
            return []
