"""Made from `assay.client.asynchronous` by bin/sync-client: change it there."""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from functools import partial
from typing import Any, Self

from assay.client.cases import (
    REQUEST_FIELDS,
    Criteria,
    Judge,
    Rows,
    named,
    records,
    to_case,
)
from assay.client.local import LocalService
from assay.client.ordered import call, in_order
from assay.client.results import EvaluationResult
from assay.client.synchronous.batches import BatchesResource
from assay.client.synchronous.connection import Connection
from assay.client.synchronous.resources import (
    CalibrationsResource,
    DatasetsResource,
    EvaluatorsResource,
    LabelsResource,
)
from assay.client.wire import DEFAULT_URL, given
from assay.errors import ServiceError


class Assay(Connection):
    """Calls a service.

    A call that fails for a reason that passes is repeated: after a 429, a 503 or a lost
    connection, when the service says so or with exponential backoff. Every call raises
    `assay.errors.ServiceError` if it fails. Use the client as a context manager, or `close` it.
    """

    _local: LocalService | None = None

    @classmethod
    def local(cls, *, options: Sequence[str] = (), **settings: Any) -> Self:
        """A client of a private service, which ends with the client or with this process.

        It needs the extra `assay-judge[server]`. It reads `assay.toml` of the current folder, keeps
        its data in a temporary one, and takes further `options` of `assay serve`, such as
        `["--demo"]`. `settings` are those of the client. Raises `LocalServiceError`.
        """
        # Before the service: wrong settings start none. The key in the environment is another's.
        client = cls(DEFAULT_URL, **{"api_key": "", **settings})
        client._local = call(partial(LocalService, options))
        client.url = client._local.url
        return client

    def close(self) -> None:
        """Close the connections, and end a private service."""
        super().close()
        if self._local is not None:
            call(self._local.close)

    @property
    def evaluators(self) -> EvaluatorsResource:
        """Criteria with a judge, a name and versions."""
        return EvaluatorsResource(self)

    @property
    def datasets(self) -> DatasetsResource:
        """Cases with a name and versions."""
        return DatasetsResource(self)

    @property
    def batches(self) -> BatchesResource:
        """Rows that are judged together, and outlast this process."""
        return BatchesResource(self)

    @property
    def labels(self) -> LabelsResource:
        """What people say of cases."""
        return LabelsResource(self)

    @property
    def calibrations(self) -> CalibrationsResource:
        """How far judges agree with labels."""
        return CalibrationsResource(self)

    def evaluate(
        self,
        *,
        output: Any,
        criteria: Criteria | None = None,
        input: Any = None,  # noqa: A002  # the name of the API
        reference: Any = None,
        context: Any = None,
        judge: Judge | None = None,
        evaluator: str | None = None,
        timeout_ms: int | None = None,
        metadata: Mapping[str, Any] | None = None,
        **fields: Any,
    ) -> EvaluationResult:
        """Judge an output by criteria, or by a stored `evaluator`.

        A text as a criterion is a rubric, and gets a name from its words: "Polite." is `polite`
        in the result. `fields` are further fields of the request, such as `tools`.
        """
        body = given(
            output=output,
            input=input,
            reference=reference,
            context=context,
            criteria=named(criteria),
            judge=judge,
            evaluator=evaluator,
            timeout_ms=timeout_ms,
            metadata=metadata,
            **fields,
        )
        return EvaluationResult.from_document(self.request("POST", "/v1/evaluations", body))

    def evaluate_many(
        self,
        rows: Rows,
        criteria: Criteria | None = None,
        *,
        judge: Judge | None = None,
        evaluator: str | None = None,
        concurrency: int = 16,
    ) -> Generator[EvaluationResult, None]:
        """Judge each row, some at a time, and yield the results in the order of the rows.

        The columns are the fields of a case, and the criteria and judge of a row count before
        those of all. A column that is no such field is in the case's `fields`; `id` becomes the
        result's `item_id`. A row that fails has a result with the `error`.
        """
        common = given(criteria=named(criteria), judge=judge, evaluator=evaluator)
        work = partial(self._evaluate_row, common)
        return in_order(records(rows), work, concurrency)

    def _evaluate_row(self, common: Mapping[str, Any], row: Mapping[str, Any]) -> EvaluationResult:
        shown_id: str | None = None
        try:
            body = {**common, **to_case(row, REQUEST_FIELDS | {"id"})}
            item_id = body.pop("id", None)
            shown_id = None if item_id is None else str(item_id)
            document = self.request("POST", "/v1/evaluations", body)
        except ServiceError as error:
            return EvaluationResult.from_error(error, shown_id)
        return EvaluationResult.from_document(document, shown_id)

    def compare(
        self, *, output_a: Any, output_b: Any, criteria: str, **fields: Any
    ) -> dict[str, Any]:
        """Judge which of two outputs is better, in both orders; docs/api.md has the fields."""
        body = given(output_a=output_a, output_b=output_b, criteria=criteria, **fields)
        return self.request("POST", "/v1/comparisons", body)

    def models(self) -> list[dict[str, Any]]:
        """The models that may judge, with their prices and how they fare."""
        models: list[dict[str, Any]] = (self.request("GET", "/v1/models"))["data"]
        return models
