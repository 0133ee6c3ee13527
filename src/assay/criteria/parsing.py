"""Reads the `criteria` of a request: texts and objects become criteria, with exact error places."""

from __future__ import annotations

import difflib
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any, Union

from pydantic import Field, ValidationError, ValidatorFunctionWrapHandler, WrapValidator
from pydantic_core import InitErrorDetails, PydanticCustomError

from assay.criteria.base import TEXT_CHARS_MAX, Criterion
from assay.criteria.registry import CRITERIA

CRITERIA_MAX = 64
UNKNOWN_CRITERION = "unknown_criterion"
"""Type of the validation error that the HTTP layer answers with the code of the same name."""

Location = tuple[int | str, ...]


def parse_criteria(value: Any) -> tuple[Criterion, ...]:
    """The criteria of a request, each with its unique name.

    Raises `ValidationError` with a place for each fault, such as (0, "type").
    """
    items = [value] if isinstance(value, str) else value
    if not isinstance(items, Sequence) or isinstance(items, bytes):
        raise _fault((), PydanticCustomError("criteria_type", "must be a text or a list"), value)
    if not 1 <= len(items) <= CRITERIA_MAX:
        wrong = PydanticCustomError(
            "criteria_length", "must have 1 to {most} criteria", {"most": CRITERIA_MAX}
        )
        raise _fault((), wrong, value)
    parsed: list[Criterion] = []
    errors: list[InitErrorDetails] = []
    for index, item in enumerate(items):
        try:
            parsed.append(parse_criterion(item))
        except ValidationError as error:
            errors += _placed(error, item, () if isinstance(value, str) else (index,))
    if errors:
        raise ValidationError.from_exception_data("criteria", errors)
    return _named(parsed)


def parse_criterion(value: Any) -> Criterion:
    """One criterion; a plain text is a rubric judged pass or fail."""
    if isinstance(value, Criterion):
        return value
    if isinstance(value, str):
        value = {"type": "rubric", "rubric": value}
    if not isinstance(value, Mapping):
        raise _fault(
            (), PydanticCustomError("criterion_type", "must be a text or an object"), value
        )
    name = value.get("type")
    if name is None:
        raise _fault(("type",), PydanticCustomError("missing", "Field required"), value)
    if not isinstance(name, str) or name not in CRITERIA:
        raise _fault(("type",), _unknown(name), name)
    return CRITERIA[name].model_validate(value)


def _unknown(name: Any) -> PydanticCustomError:
    near = difflib.get_close_matches(name[:100], CRITERIA, n=1) if isinstance(name, str) else []
    hint = f"; did you mean {near[0]!r}?" if near else ""
    return PydanticCustomError(
        UNKNOWN_CRITERION, "unknown criterion{hint}", {"hint": hint, "nearest": near}
    )


def _named(criteria: Sequence[Criterion]) -> tuple[Criterion, ...]:
    """Give the nameless a name made from their type, distinct from all others."""
    given = Counter(each.name for each in criteria if each.name is not None)
    faults: list[InitErrorDetails] = []
    seen: set[str] = set()
    for index, each in enumerate(criteria):
        if each.name is None:
            continue
        if each.name in seen:
            wrong = PydanticCustomError("duplicate_name", "another criterion has this name")
            faults.append(InitErrorDetails(type=wrong, loc=(index, "name"), input=each.name))
        seen.add(each.name)
    if faults:
        raise ValidationError.from_exception_data("criteria", faults)
    named: list[Criterion] = []
    taken = set(given)
    for each in criteria:
        name = each.name or _free_name(each.type, taken)
        taken.add(name)
        named.append(each if each.name else each.model_copy(update={"name": name}))
    return tuple(named)


def _free_name(stem: str, taken: set[str]) -> str:
    if stem not in taken:
        return stem
    return next(
        name for count in range(2, CRITERIA_MAX + 2) if (name := f"{stem}_{count}") not in taken
    )


def _fault(place: Location, wrong: PydanticCustomError, value: Any) -> ValidationError:
    details = InitErrorDetails(type=wrong, loc=place, input=value)
    return ValidationError.from_exception_data("criteria", [details])


def place_in(value: Any, place: Location, kind: str) -> Location:
    """The place of a fault in the value as it was sent.

    Pydantic puts the name of a union's member into the place (judge, Judge, samples); what the
    value does not have is left out, except a last step that is missing.
    """
    real: list[int | str] = []
    for number, step in enumerate(place, 1):
        found, inner = _step(value, step)
        if found:
            value = inner
        elif kind != "missing" or number < len(place):
            continue
        real.append(step)
    return tuple(real)


def _step(value: Any, step: int | str) -> tuple[bool, Any]:
    """Whether the value has the member or item, and what it is."""
    if isinstance(value, Mapping):
        return step in value, value.get(step)
    if isinstance(value, list | tuple) and isinstance(step, int) and step < len(value):
        return True, value[step]
    return False, None


def _placed(error: ValidationError, item: Any, place: Location) -> list[InitErrorDetails]:
    """The faults of one criterion, with their places as seen from the whole request."""
    return [
        InitErrorDetails(
            type=PydanticCustomError(
                each["type"], "{message}", {**each.get("ctx", {}), "message": each["msg"]}
            ),
            loc=place + place_in(item, each["loc"], each["type"]),
            input=each["input"],
        )
        for each in error.errors(include_url=False)
    ]


def _one(value: Any, _schema: ValidatorFunctionWrapHandler) -> Criterion:
    return parse_criterion(value)


def _all(value: Any, _schema: ValidatorFunctionWrapHandler) -> tuple[Criterion, ...]:
    return parse_criteria(value)


if TYPE_CHECKING:
    AnyCriterion = Criterion
    CriteriaField = tuple[Criterion, ...]
else:
    # The union gives the JSON Schema with its discriminator; parsing goes through the functions
    # above, because the union's own error places would name the type between index and field.
    _union = Annotated[Union[tuple(dict.fromkeys(CRITERIA.values()))], Field(discriminator="type")]  # noqa: UP007
    AnyCriterion = Annotated[_union, WrapValidator(_one)]
    _text = Annotated[str, Field(min_length=1, max_length=TEXT_CHARS_MAX)]
    CriteriaField = Annotated[
        _text | Annotated[tuple[_text | _union, ...], Field(min_length=1, max_length=CRITERIA_MAX)],
        WrapValidator(_all),
    ]
