"""/v1/evals: an eval is an evaluator, with the schema of its rows."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Request, Response
from pydantic import Field, StringConstraints, ValidationError

from assay.catalog.item_schema import check_schema
from assay.catalog.stores import Stores
from assay.criteria import parse_criteria
from assay.criteria.base import NAME_CHARS_MAX
from assay.criteria.frozen import Frozen
from assay.domain.ids import new_id, random_hex
from assay.domain.records import StoredObject
from assay.http.problems import invalid_request
from assay.openai_evals.backend import (
    EVAL,
    PAGE_MAX,
    RUN,
    Backend,
    Page,
    answer,
    caller_of,
    list_answer,
    page_of,
    page_of_objects,
    read_body,
    request_error,
    router_of,
    seconds,
)
from assay.openai_evals.errors import not_found
from assay.openai_evals.graders import check_criteria

CRITERIA_MAX = 64
NAME_MAX = 500

MetadataField = (
    Annotated[
        dict[
            Annotated[str, StringConstraints(max_length=64)],
            Annotated[str, StringConstraints(max_length=512)],
        ],
        Field(max_length=16),
    ]
    | None
)
NameField = Annotated[str, StringConstraints(max_length=NAME_MAX)] | None


class CustomSource(Frozen):
    """Rows by a schema."""

    type: Literal["custom"]
    item_schema: dict[str, Any]
    include_sample_schema: bool | None = None


class LoggedSource(Frozen):
    """Rows from logged completions, which Assay does not store: its runs bring rows."""

    type: Literal["logs", "stored_completions"]
    metadata: dict[str, Any] | None = None


class CreateEval(Frozen):
    """A new eval."""

    data_source_config: Annotated[CustomSource | LoggedSource, Field(discriminator="type")]
    testing_criteria: Annotated[list[dict[str, Any]], Field(min_length=1, max_length=CRITERIA_MAX)]
    name: NameField = None
    metadata: MetadataField = None


class UpdateEval(Frozen):
    """What of an eval may change."""

    name: NameField = None
    metadata: MetadataField = None


class Evals:
    """The resource of evals."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend

    def router(self) -> APIRouter:
        """Its routes."""
        one = "/{eval_id}"
        return router_of(
            "/v1/evals",
            ("POST", "", self.create), ("GET", "", self.list), ("GET", one, self.get),
            ("POST", one, self.update), ("DELETE", one, self.delete),
        )  # fmt: skip

    async def create(self, request: Request) -> Response:
        """Save an eval, if all of its criteria could be used."""
        tenant, stores = await self._backend.opened(request)
        wanted = await read_body(request, CreateEval)
        named = [_named(criterion) for criterion in wanted.testing_criteria]
        if any(criterion.get("type") == "multi" for criterion in named):
            raise invalid_request("/testing_criteria", "must not have multi graders")
        sent = [_as_ours(criterion) for criterion in named]
        at = ("testing_criteria",)
        try:
            criteria = parse_criteria(sent)
        except ValidationError as error:
            raise request_error(error, sent, at=at) from None
        await check_criteria(self._backend, request, tenant, criteria, at)
        config = wanted.data_source_config
        schema = await self._row_schema(request, config)
        id_ = new_id(EVAL)
        document = {
            "name": wanted.name or id_,
            "data_source_config": schema,
            "testing_criteria": named,
            "metadata": wanted.metadata,
        }
        spec: dict[str, Any] = {"criteria": sent, "judge": None, "examples": [], "metadata": {}}
        await stores.evaluators.create(tenant, id_, wanted.name or "", spec)
        made = await stores.objects.add(tenant, StoredObject(id_, EVAL, document))
        return answer(shown(made), 201)

    async def list(self, request: Request) -> Response:
        """List evals."""
        tenant, stores = await self._backend.opened(request)
        page = page_of(request)
        found = await page_of_objects(stores, tenant, EVAL, page)
        return list_answer([shown(one) for one in found], page.limit)

    async def get(self, request: Request, eval_id: str) -> Response:
        """Read an eval."""
        tenant, stores = await self._backend.opened(request)
        return answer(shown(await find_eval(stores, tenant, eval_id)))

    async def update(self, request: Request, eval_id: str) -> Response:
        """Change the name or the metadata; the evaluator stays as it is."""
        tenant, stores = await self._backend.opened(request)
        wanted = await read_body(request, UpdateEval)
        found = await find_eval(stores, tenant, eval_id)
        changes = wanted.model_dump(exclude_unset=True)
        if "name" in changes and not changes["name"]:
            del changes["name"]
        changed = await stores.objects.change(tenant, eval_id, {**found.document, **changes})
        if changed is None:
            raise not_found(EVAL, eval_id)
        return answer(shown(changed))

    async def delete(self, request: Request, eval_id: str) -> Response:
        """Delete an eval with its runs."""
        tenant, stores = await self._backend.opened(request)
        await find_eval(stores, tenant, eval_id)
        page = Page("", PAGE_MAX, descending=False, by_update=False, status="")
        while runs := await page_of_objects(stores, tenant, RUN, page, eval_id):
            for run in runs:
                await self._backend.remove_run(stores, tenant, run)
        await stores.evaluators.delete(tenant, eval_id, erase=False)
        await stores.objects.delete(tenant, EVAL, eval_id)
        return answer({"object": "eval.deleted", "deleted": True, "eval_id": eval_id})

    async def _row_schema(
        self, request: Request, config: CustomSource | LoggedSource
    ) -> dict[str, Any]:
        """The configuration as it is answered: with the schema of the whole row."""
        anything = {"type": "object"}
        if isinstance(config, LoggedSource):
            schema = row_schema(anything, anything)
            return {"type": config.type, "metadata": config.metadata, "schema": schema}
        terms = caller_of(request), self._backend.deadline()
        at = "/data_source_config/item_schema"
        await check_schema(self._backend.evaluator, config.item_schema, at, *terms)
        sample = anything if config.include_sample_schema else None
        return {"type": "custom", "schema": row_schema(config.item_schema, sample)}


async def find_eval(stores: Stores, tenant: str, eval_id: str) -> StoredObject:
    """An eval; raises `RequestError`."""
    found = await stores.objects.find(tenant, EVAL, eval_id)
    if found is None:
        raise not_found(EVAL, eval_id)
    return found


def row_schema(item: Mapping[str, Any], sample: Mapping[str, Any] | None) -> dict[str, Any]:
    """The JSON Schema of a row."""
    properties = {"item": item} | ({} if sample is None else {"sample": sample})
    return {"type": "object", "properties": properties, "required": list(properties)}


def shown(stored: StoredObject) -> dict[str, Any]:
    """An eval as callers read it."""
    return {
        "object": "eval",
        "id": stored.id,
        "created_at": seconds(stored.created_ms),
        **stored.document,
    }


def _named(criterion: Mapping[str, Any]) -> dict[str, Any]:
    """A criterion with an id that no other one has."""
    name = str(criterion.get("name") or criterion.get("type"))
    id_ = f"{name[: NAME_CHARS_MAX - 33]}-{random_hex(16)}"
    return {**criterion, "name": name, "id": id_}


def _as_ours(criterion: Mapping[str, Any]) -> dict[str, Any]:
    """The criterion of our own contract, whose name is the id."""
    kept = {name: value for name, value in criterion.items() if name != "id"}
    return {**kept, "name": criterion["id"]}
