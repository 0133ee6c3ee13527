"""Parses the `criteria` of a request into criterion models, with the location of every fault."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any, Union

from pydantic import Field, ValidationError, ValidatorFunctionWrapHandler, WrapValidator
from pydantic_core import InitErrorDetails, PydanticCustomError

from assay.criteria.base import TEXT_CHARS_MAX, Criterion
from assay.criteria.composite.compound import condition_faults
from assay.criteria.locations import Location, fault_at, location_as_sent
from assay.criteria.registry import CRITERIA
from assay.domain.suggestions import did_you_mean

CRITERIA_MAX = 64
FAULTS_MAX = 100
"""The criteria after so many faults are not looked at."""
UNKNOWN_CRITERION = "unknown_criterion"
"""Type of the validation error for a `type` that does not exist; also the API's error code."""


def parse_criteria(value: Any) -> tuple[Criterion, ...]:
    """The criteria of a request, each with a unique name.

    `value` is one text or a list of 1 to `CRITERIA_MAX` texts and objects. Raises
    `ValidationError` with every fault and its location, such as (0, "type").
    """
    items = [value] if isinstance(value, str) else value
    if not isinstance(items, Sequence) or isinstance(items, bytes):
        raise fault_at((), PydanticCustomError("criteria_type", "must be a text or a list"), value)
    if items == ():  # what is left out, and not an empty list
        fault = PydanticCustomError("criteria_missing", "is required, unless there is an evaluator")
        raise fault_at((), fault, value)
    if not 1 <= len(items) <= CRITERIA_MAX:
        fault = PydanticCustomError(
            "criteria_length", "must have 1 to {most} criteria", {"most": CRITERIA_MAX}
        )
        raise fault_at((), fault, value)
    parsed: list[Criterion] = []
    faults: list[InitErrorDetails] = []
    for index, item in enumerate(items):
        try:
            parsed.append(parse_criterion(item))
        except ValidationError as error:
            faults += _faults_of_item(error, item, () if isinstance(value, str) else (index,))
            if len(faults) >= FAULTS_MAX:
                break
    faults = faults or _duplicate_names(parsed)
    if faults:
        raise ValidationError.from_exception_data("criteria", faults)
    named = _with_names(parsed)
    if any(criterion.when for criterion in named):
        _check_conditions(named)
    return named


def parse_criterion(value: Any) -> Criterion:
    """One criterion, from an object or from a text, which is a rubric judged pass or fail.

    Raises `ValidationError`.
    """
    if isinstance(value, Criterion):
        return value
    if isinstance(value, str):
        value = {"type": "rubric", "rubric": value}
    if not isinstance(value, Mapping):
        fault = PydanticCustomError("criterion_type", "must be a text or an object")
        raise fault_at((), fault, value)
    name = value.get("type")
    if name is None:
        raise fault_at(("type",), PydanticCustomError("missing", "Field required"), value)
    if not isinstance(name, str) or name not in CRITERIA:
        fault = PydanticCustomError(
            UNKNOWN_CRITERION, "unknown criterion{hint}", {"hint": did_you_mean(name, CRITERIA)}
        )
        raise fault_at(("type",), fault, name)
    return CRITERIA[name].model_validate(value)


def _faults_of_item(
    error: ValidationError, item: Any, location: Location
) -> list[InitErrorDetails]:
    """The faults of one criterion, with their locations as seen from the whole request."""
    return [
        InitErrorDetails(
            type=PydanticCustomError(
                fault["type"], "{message}", {**fault.get("ctx", {}), "message": fault["msg"]}
            ),
            loc=location + location_as_sent(item, fault["loc"], fault["type"]),
            input=fault["input"],
        )
        for fault in error.errors(include_url=False)[:FAULTS_MAX]
    ]


def _duplicate_names(criteria: Sequence[Criterion]) -> list[InitErrorDetails]:
    faults: list[InitErrorDetails] = []
    seen: set[str] = set()
    for index, criterion in enumerate(criteria):
        if criterion.name is None:
            continue
        if criterion.name in seen:
            fault = PydanticCustomError(
                "duplicate_name", "must be unique; another criterion has this name"
            )
            faults.append(InitErrorDetails(type=fault, loc=(index, "name"), input=criterion.name))
        seen.add(criterion.name)
    return faults


def _check_conditions(criteria: Sequence[Criterion]) -> None:
    by_name = {criterion.name or "": criterion for criterion in criteria}
    places = {name: index for index, name in enumerate(by_name)}
    faults = [
        InitErrorDetails(type=fault, loc=(places[name], "when"), input=by_name[name].when)
        for name, fault in condition_faults(by_name).items()
    ]
    if faults:
        raise ValidationError.from_exception_data("criteria", faults)


def _with_names(criteria: Sequence[Criterion]) -> tuple[Criterion, ...]:
    """The criteria, where those without a name get a unique one made from their type."""
    named: list[Criterion] = []
    taken = {criterion.name for criterion in criteria}
    for criterion in criteria:
        name = criterion.name or _free_name(criterion.type, taken)
        taken.add(name)
        named.append(criterion if criterion.name else criterion.model_copy(update={"name": name}))
    return tuple(named)


def _free_name(stem: str, taken: set[str | None]) -> str:
    if stem not in taken:
        return stem
    return next(
        name for count in range(2, CRITERIA_MAX + 2) if (name := f"{stem}_{count}") not in taken
    )


def _parse_one(value: Any, _schema: ValidatorFunctionWrapHandler) -> Criterion:
    return parse_criterion(value)


def _parse_all(value: Any, _schema: ValidatorFunctionWrapHandler) -> tuple[Criterion, ...]:
    return parse_criteria(value)


if TYPE_CHECKING:
    AnyCriterion = Criterion
    CriteriaField = tuple[Criterion, ...]
else:
    # The union only provides the JSON Schema with its discriminator. The functions above parse,
    # because the union's error locations would name the type between index and field.
    _union = Annotated[Union[tuple(dict.fromkeys(CRITERIA.values()))], Field(discriminator="type")]  # noqa: UP007 - built at run time
    AnyCriterion = Annotated[_union, WrapValidator(_parse_one)]
    _text = Annotated[str, Field(min_length=1, max_length=TEXT_CHARS_MAX)]
    CriteriaField = Annotated[
        _text | Annotated[tuple[_text | _union, ...], Field(min_length=1, max_length=CRITERIA_MAX)],
        WrapValidator(_parse_all),
    ]
