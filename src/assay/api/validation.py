"""Turns a document into a request model, and pydantic's errors into faults of the contract."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Sequence
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from assay.api.requests import field_names
from assay.criteria import CRITERIA
from assay.domain.errors import FieldError
from assay.http.body import escape
from assay.http.problems import ERRORS_MAX, Problem, ProblemError

Model = TypeVar("Model", bound=BaseModel)
Location = tuple[str | int, ...]

MESSAGE_CHARS_MAX = 300
POINTER_CHARS_MAX = 256
NAME_CHARS_MAX = 100
FIELDS_MAX = 100
"""More top-level fields than this are refused unread: each would be an error of its own."""
UNKNOWN_CRITERION = "unknown_criterion"
_WRONG_KIND = frozenset({"string_type", "model_type", "dict_type", "list_type", "none_required"})
"""Errors by which a branch of a union only says that the value is not of its kind."""


def validate(model: type[Model], document: dict[str, Any]) -> Model:
    """The request in a document; raises `ProblemError` with a pointer to each fault."""
    if len(document) > FIELDS_MAX:
        fault = FieldError("", f"has more than {FIELDS_MAX} fields")
        raise ProblemError(Problem("invalid_request", "The request has too many fields.", (fault,)))
    try:
        return model.model_validate(document)
    except ValidationError as error:
        raise ProblemError(_problem(error, model, document)) from None


def invalid(pointer: str, message: str) -> ProblemError:
    """A fault that only the server's limits or configuration show."""
    fault = FieldError(pointer, message)
    return ProblemError(Problem("invalid_request", _sentence(pointer, message), (fault,)))


def _problem(error: ValidationError, model: type[BaseModel], document: dict[str, Any]) -> Problem:
    details = error.errors(include_url=False, include_input=False)
    unknown = any(each["type"] == UNKNOWN_CRITERION for each in details)
    faults = tuple(_faults(details, model, document))
    detail = _sentence(faults[0].pointer or "The body", faults[0].message)
    return Problem(UNKNOWN_CRITERION if unknown else "invalid_request", detail, faults)


def _faults(
    details: Sequence[ErrorDetails], model: type[BaseModel], document: dict[str, Any]
) -> Iterator[FieldError]:
    """The faults, without those by which the branches of a union disown a value."""
    places = [_place(each, document) for each in details[: ERRORS_MAX * 4]]
    told: set[tuple[Location, str]] = set()
    named: set[Location] = set()
    for place, each in zip(places, details, strict=False):
        disowns = each["type"] in _WRONG_KIND
        if disowns and (place in named or any(_below(other, place) for other in places)):
            continue
        named.add(place)
        message = _message(each, place, model, document)
        if (place, message) not in told and len(told) < ERRORS_MAX:
            told.add((place, message))
            yield FieldError(_pointer(place), message)


def _place(error: ErrorDetails, document: dict[str, Any]) -> Location:
    """The way to the fault through the caller's own document; pydantic's also names the branches
    of unions, which are no part of it."""
    place: list[str | int] = []
    here: Any = document
    missing = len(error["loc"]) - 1 if error["type"] == "missing" else -1
    for index, step in enumerate(error["loc"]):
        if isinstance(here, dict) and (step in here or index == missing):
            here = here.get(step)
        elif isinstance(here, list) and isinstance(step, int) and step < len(here):
            here = here[step]
        else:
            continue
        place.append(step)
    return tuple(place)


def _below(place: Location, other: Location) -> bool:
    return len(place) > len(other) and place[: len(other)] == other


def _message(
    error: ErrorDetails,
    place: Location,
    model: type[BaseModel],
    document: dict[str, Any],
) -> str:
    if error["type"] == "missing":
        return "is required"
    if error["type"] == "extra_forbidden":
        name, names = str(place[-1]), _names_at(place, model, document)
        # The name of a field that was taken from another of its names.
        return "is given twice, under two names" if name in names else _unknown_field(name, names)
    message = error["msg"].removeprefix("Value error, ")
    return message if len(message) <= MESSAGE_CHARS_MAX else message[:MESSAGE_CHARS_MAX] + "…"


def _names_at(place: Location, model: type[BaseModel], document: dict[str, Any]) -> Sequence[str]:
    """The names that would have been right beside an unknown one."""
    match place:
        case (_,):
            return field_names(model)
        case ("criteria", int(index), _):
            criterion = CRITERIA.get(str(document["criteria"][index].get("type")))
            return [] if criterion is None else field_names(criterion)
        case _:
            return []


def _unknown_field(name: str, names: Sequence[str]) -> str:
    near = difflib.get_close_matches(name[:NAME_CHARS_MAX], names, n=1)
    return f"unknown field; did you mean '{near[0]}'?" if near else "unknown field"


def _pointer(place: Location) -> str:
    pointer = "".join(f"/{escape(str(step))}" for step in place)
    return pointer if len(pointer) <= POINTER_CHARS_MAX else pointer[:POINTER_CHARS_MAX] + "…"


def _sentence(place: str, message: str) -> str:
    return f"{place}: {message}" + ("" if message.endswith(("?", ".")) else ".")
