"""What callers send about batches: the request for one, and its rows."""

from __future__ import annotations

import base64
import binascii
import secrets
from typing import Annotated, Any

from pydantic import (
    AfterValidator,
    AliasChoices,
    Field,
    StrictBool,
    StringConstraints,
    WrapValidator,
)
from pydantic_core import PydanticCustomError

from assay.api.requests import Metadata, OutputField, Passages, ReferenceField, TextField, Tools
from assay.criteria import CriteriaField
from assay.criteria.base import Frozen, JudgeField

ITEMS_MAX = 1_000
"""Rows in the request itself; more are uploaded."""
ITEM_ID_CHARS_MAX = 256
GROUP_CHARS_MAX = 200
SECRET_PREFIX = "whsec_"  # noqa: S105  # what a secret starts with, by the specification
SECRET_BYTES = range(24, 65)
"""Length of a webhook's secret, by the specification."""


def _identifier(value: Any) -> Any:
    """A whole number may be an id as well as a text."""
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else value


def _secret(value: str) -> str:
    try:
        raw = base64.b64decode(value.removeprefix(SECRET_PREFIX), validate=True)
    except (binascii.Error, ValueError):
        raw = b""
    if not value.startswith(SECRET_PREFIX) or len(raw) not in SECRET_BYTES:
        raise PydanticCustomError("secret", "must be whsec_ and 24 to 64 bytes in base64")
    return value


def new_secret() -> str:
    return SECRET_PREFIX + base64.b64encode(secrets.token_bytes(32)).decode()


ItemId = Annotated[
    str,
    StringConstraints(min_length=1, max_length=ITEM_ID_CHARS_MAX),
    WrapValidator(lambda value, check: check(_identifier(value))),
]


class WebhookField(Frozen):
    """Who is told of the end of a batch, after the Standard Webhooks specification."""

    url: Annotated[str, StringConstraints(min_length=1, max_length=2_048)]
    secret: Annotated[str, AfterValidator(_secret)] | None = Field(
        default=None,
        repr=False,
        description="Signs the messages: `whsec_` and base64. Without it one is made, told once.",
    )


class BatchRequest(Frozen):
    """What to judge the rows by, whom to tell, and the rows where there are few."""

    criteria: CriteriaField = Field(description="What to judge each row by.")
    judge: JudgeField | None = Field(
        default=None, description="Who judges, unless a criterion says."
    )
    webhook: WebhookField | None = Field(default=None, description="Told of the batch's end.")
    metadata: Metadata = Field(default={}, description="Returned as it came, at most 16 KB.")
    items: Annotated[list[dict[str, Any]], Field(max_length=ITEMS_MAX)] = Field(
        default=[], description="Rows; with them the batch starts at once."
    )
    start: StrictBool = Field(
        default=True, description="With `items`: false leaves the batch open for more rows."
    )


class BatchRow(Frozen):
    """One row: a case with its id."""

    id: ItemId
    output: OutputField = Field(
        validation_alias=AliasChoices("output", "actual_output", "response")
    )
    input: TextField | None = None
    reference: ReferenceField = Field(
        default=None,
        validation_alias=AliasChoices("reference", "expected", "expected_output", "ground_truth"),
    )
    context: Passages = Field(
        default=[],
        validation_alias=AliasChoices("context", "retrieval_context", "retrieved_contexts"),
    )
    tools: Tools = Field(default=[])
    expected_tools: Tools = Field(default=[])
    metadata: Metadata = Field(default={})
    group: Annotated[str, StringConstraints(min_length=1, max_length=GROUP_CHARS_MAX)] | None = (
        Field(
            default=None,
            description="Rows that are alike, such as answers to one question: the summary's "
            "confidence intervals allow for it.",
        )
    )

    def document(self) -> dict[str, Any]:
        """The row as it is kept: its fields by their own names, the empty ones left out."""
        fields = {name: getattr(self, name) for name in type(self).model_fields if name != "id"}
        return {name: value for name, value in fields.items() if value or name == "output"}
