"""What a caller says of a webhook."""

from __future__ import annotations

import base64
import secrets
from typing import Annotated

from pydantic import AfterValidator, Field, StringConstraints
from pydantic_core import PydanticCustomError

from assay.criteria.frozen import Frozen
from assay.domain.signing import SECRET_FORM, SECRET_PREFIX, is_secret
from assay.domain.targets import target_fault
from assay.http.problems import invalid_request


def _secret(value: str) -> str:
    if not is_secret(value):
        raise PydanticCustomError("secret", SECRET_FORM)
    return value


class WebhookField(Frozen):
    """The webhook that is called when a batch ends, after the Standard Webhooks specification."""

    url: Annotated[str, StringConstraints(min_length=1, max_length=2_048)] = Field(
        json_schema_extra={"format": "uri", "pattern": "^https?://"}
    )
    secret: Annotated[str, AfterValidator(_secret)] | None = Field(
        default=None,
        repr=False,
        description="Signs the messages: `whsec_` and base64. Without it one is generated, and "
        "returned once.",
    )

    def to_webhook(self, *, allow_private: bool) -> dict[str, str]:
        """The webhook with a secret; raises `RequestError` for a target that is not allowed."""
        fault = target_fault(self.url, allow_private=allow_private)
        if fault is not None:
            raise invalid_request("/webhook/url", fault)
        generated = SECRET_PREFIX + base64.b64encode(secrets.token_bytes(32)).decode()
        return {"url": self.url, "secret": self.secret or generated}
