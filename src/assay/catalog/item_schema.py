"""The JSON Schema of a dataset, applied to many items at once where checks run."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, ClassVar, Literal

import orjson
from pydantic import ValidationError

from assay.criteria.base import Finding
from assay.criteria.deterministic.json_schema import JsonSchema
from assay.criteria.deterministic.schema_validation import SchemaValidator
from assay.criteria.judge import judge_spec
from assay.domain.case_text import output_text
from assay.domain.completion import Caller
from assay.domain.errors import RequestError
from assay.domain.evaluation import Case
from assay.domain.exact_json import dumps
from assay.domain.policy import Deadline
from assay.evaluation.ports import Evaluates
from assay.http.problems import invalid_request


class ItemSchema(JsonSchema):
    """Checks each line of the output, which is one item as JSON.

    It is no criterion of its own: `value` has the index of each faulty line with its first fault.
    """

    family: ClassVar[str] = "format"

    type: Literal["item_schema"] = "item_schema"  # type: ignore[assignment]

    def work(self, size: int, case: Case) -> float:
        return math.inf if self.compiles_late else super().work(size, case)

    def check(self, case: Case) -> Finding:
        validator = SchemaValidator(self.schema_, at=("schema",))
        faults: list[tuple[int, str]] = []
        for index, line in enumerate(output_text(case).split("\n")):
            document: Any = orjson.loads(line)
            if found := validator.faults(document):
                faults.append((index, found[0]))
        return Finding(1.0 if not faults else 0.0, value=faults)


async def check_schema(
    evaluator: Evaluates,
    schema: Mapping[str, Any],
    pointer: str,
    caller: Caller,
    deadline: Deadline,
) -> None:
    """Raises `RequestError` with the fault of a schema that was sent at the pointer."""
    try:
        check = ItemSchema(name="schema", schema=schema)
        await evaluator.compile([check], caller=caller, deadline=deadline)
    except ValidationError as error:
        raise invalid_request(pointer, str(error.errors()[0]["msg"])) from None
    except RequestError as error:
        message = error.errors[0].message if error.errors else error.message
        raise invalid_request(pointer, message) from None


async def schema_faults(
    evaluator: Evaluates,
    schema: Mapping[str, Any],
    items: Iterable[Any],
    caller: Caller,
    deadline: Deadline,
) -> Sequence[tuple[int, str]]:
    """The index and the first fault of each item that does not conform.

    Raises `RequestError` if the schema could not be applied.
    """
    outcome = await evaluator.evaluate(
        Case(b"\n".join(map(dumps, items)).decode()),
        [ItemSchema(name="schema", schema=schema)],
        judge=judge_spec(None),
        caller=caller,
        deadline=deadline,
        metadata={},
    )
    (result,) = outcome.evaluation.results
    if result.status != "scored":
        message = f"The items' schema could not be applied: {result.explanation}"
        raise RequestError("invalid_request", message)
    faults: Sequence[tuple[int, str]] = result.value
    return faults
