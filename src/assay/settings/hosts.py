"""Hosts that Assay calls for a case: for its images, and to have it graded."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Self

from pydantic import Field, model_validator

from assay.settings.secret import VariableName
from assay.settings.section import Section

HOST_PATTERN = r"^(https?://)?([a-z0-9._-]+|\[[0-9a-f:.]+\])(:[1-9][0-9]{0,4})?$"


class ImageSettings(Section):
    """`[images]`: images that requests name by a URL."""

    hosts: tuple[Annotated[str, Field(pattern=HOST_PATTERN)], ...] = Field(
        (),
        description="Hosts from which images are fetched: `host` over https and at a public "
        "address; `host:port` or `http://host:port`, which may also be in the private network. "
        "Empty: only images in the request itself.",
    )


class HttpCriteriaSettings(Section):
    """`[http_criteria]`: services to which the criterion `http` posts cases."""

    hosts: tuple[Annotated[str, Field(pattern=HOST_PATTERN)], ...] = Field(
        (),
        description="Hosts that may be called, written as for `images.hosts`. Empty: none.",
    )
    secret_env: VariableName = Field(
        "", description="Environment variable with the secret that signs requests: `whsec_…`."
    )
    secret_file: Path | None = Field(
        None, description="File with that secret; read again when it changes."
    )
    timeout_s: float = Field(
        10.0, gt=0, le=600, description="Longest wait for one answer, within the deadline."
    )
    slots: int = Field(
        16, ge=1, le=10_000, description="Concurrent calls of one host, in one process."
    )
    ca_file: Path | None = Field(
        None, description="File with the certificates of the authorities to trust."
    )

    @model_validator(mode="after")
    def _has_a_secret(self) -> Self:
        if self.hosts and not self.secret_env and self.secret_file is None:
            raise ValueError(
                "secret_env: or secret_file must be set, to sign requests to the hosts"
            )
        return self
