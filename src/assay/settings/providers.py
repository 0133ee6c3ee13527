"""Where models are served: the section of a provider."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, Literal, Self
from urllib.parse import urlsplit

from pydantic import Field, field_validator, model_validator

from assay.domain.targets import is_loopback, is_private_host
from assay.settings.addresses import checked_base_url
from assay.settings.secret import VariableName
from assay.settings.section import Section

Dialect = Literal[
    "openai",
    "openai_chat",
    "openai_responses",
    "anthropic",
    "gemini",
    "azure",
    "bedrock",
    "vertex",
    "systemone",
    "simulated",
    "recorded",
]
UNASKED: tuple[Dialect, ...] = ("simulated", "recorded")
"""Dialects that ask no model."""
OPENAI_HOST = "api.openai.com"
OPENAI_DIALECTS: tuple[Dialect, ...] = ("openai", "openai_chat", "openai_responses")
SECRETS = "`${env:NAME}` and `${file:PATH}` in it stand for secrets."

BASE_URLS: dict[Dialect, str] = {
    **dict.fromkeys(OPENAI_DIALECTS, f"https://{OPENAI_HOST}/v1"),
    "anthropic": "https://api.anthropic.com/v1",
    "gemini": "https://generativelanguage.googleapis.com/v1beta",
    "bedrock": "https://bedrock-runtime.{region}.{domain}",
    "vertex": "https://{region}-aiplatform.googleapis.com/v1",
}
"""Of the vendors; the other dialects have no host of their own."""
JOB_DIALECTS = (*OPENAI_DIALECTS, "anthropic", "gemini")
"""Dialects whose vendors have batch APIs that are spoken here."""
OWN_FIELDS: dict[str, tuple[Dialect, ...]] = {
    "region": ("bedrock", "vertex"),
    "project": ("vertex",),
    "api_version": ("azure",),
}
"""Settings that some dialects alone have."""
AWS_DOMAINS = {"cn": "amazonaws.com.cn", "eusc": "amazonaws.eu"}
VERTEX_GLOBAL = "https://aiplatform.googleapis.com/v1"
VERTEX_MULTI_REGION = "https://aiplatform.{region}.rep.googleapis.com/v1"
VERTEX_MULTI_REGIONS = ("us", "eu")
HEADER_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
FRAMING_HEADERS = ("content-length", "transfer-encoding", "connection")
AZURE_API_VERSION = "2024-10-21"
"""The last one of the classic endpoint that is generally available."""


class ProviderSettings(Section):
    """`[providers.NAME]`: an endpoint and its API key."""

    dialect: Dialect = Field(
        description="Wire protocol of the endpoint. `openai` is the Responses API at OpenAI's own "
        "host and chat completions elsewhere; `openai_chat` and `openai_responses` name one. "
        "`systemone` is that of models that decide."
    )
    base_url: str = Field(
        "",
        description="http(s) URL of the API, without a query, user or password. Empty: the "
        "vendor's. `azure` has none, and needs the resource's endpoint; `systemone` has none.",
    )
    region: str = Field(
        "",
        pattern=r"^([a-z0-9-]{2,32})?$",
        description="Region of AWS (`bedrock`) or location of Google Cloud (`vertex`), such as "
        "`global`.",
    )
    project: str = Field(
        "",
        pattern=r"^([a-z0-9.:-]{2,128})?$",
        description="Project of Google Cloud (`vertex`).",
    )
    api_version: str = Field(
        AZURE_API_VERSION,
        pattern=r"^\d{4}-\d{2}-\d{2}(-preview)?$",
        description="Version of the API (`azure`).",
    )
    api_key_env: VariableName = Field(
        "", description="Environment variable that contains the API key."
    )
    api_key_file: Path | None = Field(
        None,
        description="File that contains the API key; read again when it changes. Without a key, "
        "`azure`, `bedrock` and `vertex` use the credentials of their cloud.",
    )
    headers: dict[str, str] = Field(
        {}, repr=False, description=f"More headers for each request. {SECRETS}"
    )
    query: dict[str, str] = Field(
        {}, repr=False, description=f"More parameters for each URL. {SECRETS}"
    )
    body: dict[str, Any] = Field(
        {},
        repr=False,
        description=f"More fields for each body; those that Assay writes win. {SECRETS}",
    )
    proxy: str = Field(
        "",
        repr=False,
        description=f"URL of an HTTP proxy, with `user:password@` if it needs them. {SECRETS}",
    )
    trust_env: bool = Field(
        False,
        description="Use the proxy of `HTTPS_PROXY` or `HTTP_PROXY`, except for hosts in "
        "`NO_PROXY`. `proxy` wins.",
    )
    trace_context: bool | None = Field(
        None,
        description="Whether calls carry the `traceparent` and `tracestate` of their request. "
        "Unset: only where the host is in the private network. Calls for a rule that scores live "
        "traffic always do.",
    )
    ca_file: Path | None = Field(
        None,
        description="File with the certificates of the authorities to trust, in place of the "
        "system's; read again when it changes.",
    )
    client_cert_file: Path | None = Field(
        None, description="File with a client certificate; read again when it changes."
    )
    client_key_file: Path | None = Field(
        None, description="File with its key. Unset: it is in the file of the certificate."
    )
    silence_timeout_s: float = Field(
        5.0,
        gt=0,
        le=600,
        description="Longest wait for the first byte of a response, and between two bytes.",
    )
    connections_max: int = Field(200, ge=1, le=10_000, description="Pooled connections.")
    stream: bool = Field(
        True,
        description="Stream responses. If false, `silence_timeout_s` bounds the whole response.",
    )
    output_limit_field: str | None = Field(
        None,
        description="Name of the output limit in requests to an OpenAI-compatible server. Unset: "
        "`max_completion_tokens` at OpenAI and Azure, else `max_tokens`.",
    )

    batch_api: bool | None = Field(
        None,
        description="Whether the endpoint has the vendor's batch API, for `judge.service` "
        '`"batch"` (`openai`, `anthropic`, `gemini`). Unset: at the vendors\' own hosts.',
    )
    batch_discount: float = Field(
        0.5, ge=0, lt=1, description="What the batch API takes off the prices, as a share."
    )

    @field_validator("base_url")
    @classmethod
    def _is_base_url(cls, url: str) -> str:
        return url and checked_base_url(url)

    @field_validator("headers")
    @classmethod
    def _are_headers(cls, headers: dict[str, str]) -> dict[str, str]:
        for name, value in headers.items():
            if not HEADER_NAME.fullmatch(name) or name.lower() in FRAMING_HEADERS:
                raise ValueError(f"{name!r} is not the name of a header that can be set")
            if not (value.isascii() and value.isprintable()):
                raise ValueError(f"{name}: the value cannot be sent in a header")
        return headers

    @model_validator(mode="after")
    def _is_complete(self) -> Self:
        needed = {
            "azure": ("base_url",),
            "systemone": ("base_url",),
            "bedrock": ("region",),
            "vertex": ("region", "project"),
        }.get(self.dialect, ())
        missing = [name for name in needed if not getattr(self, name)]
        if missing:
            raise ValueError(f"{' and '.join(missing)}: must be set for {self.dialect}")
        for name, dialects in OWN_FIELDS.items():
            if name in self.model_fields_set and self.dialect not in dialects:
                raise ValueError(f"{name}: is of no use for {self.dialect}")
        if self.dialect == "azure" and re.search(r"/openai/(v1|deployments)\b", self.base_url):
            raise ValueError(
                "base_url: must be the resource's endpoint, such as https://NAME.openai.azure.com; "
                'for the v1 endpoint, use dialect = "openai"'
            )
        if self.batch_api and self.dialect not in JOB_DIALECTS:
            raise ValueError(f"batch_api: is not supported for {self.dialect}")
        if self.client_key_file is not None and self.client_cert_file is None:
            raise ValueError("client_key_file: needs client_cert_file")
        return self

    @property
    def has_batch_api(self) -> bool:
        """Whether calls can be sent as jobs."""
        if self.batch_api is None and self.dialect in JOB_DIALECTS:
            return urlsplit(self.url).hostname == urlsplit(BASE_URLS[self.dialect]).hostname
        return bool(self.batch_api)

    @property
    def has_key(self) -> bool:
        return bool(self.api_key_env) or self.api_key_file is not None

    @property
    def url(self) -> str:
        """The URL to which the adapter of the dialect adds its paths."""
        base_url = (self.base_url or self._vendor_url).rstrip("/")
        match self.dialect:
            case "azure":
                return f"{base_url.removesuffix('/openai')}/openai/deployments"
            case "systemone":
                return f"{base_url.removesuffix('/v1')}/v1"
            case "vertex":
                return f"{base_url}/projects/{self.project}/locations/{self.region}/publishers"
            case _:
                return base_url

    @property
    def _vendor_url(self) -> str:
        url = BASE_URLS.get(self.dialect, "")
        if self.dialect == "vertex" and self.region == "global":
            url = VERTEX_GLOBAL
        elif self.dialect == "vertex" and self.region in VERTEX_MULTI_REGIONS:
            url = VERTEX_MULTI_REGION
        domain = AWS_DOMAINS.get(self.region.partition("-")[0], "amazonaws.com")
        return url.format(region=self.region, domain=domain)

    @property
    def is_local(self) -> bool:
        """Whether its models are on this machine."""
        return is_loopback(urlsplit(self.url).hostname or "localhost")

    @property
    def passes_trace(self) -> bool:
        """Whether calls carry the trace of their request: a vendor has no use for it."""
        if self.trace_context is not None:
            return self.trace_context
        return is_private_host(urlsplit(self.url).hostname or "localhost")

    @property
    def protocol(self) -> str:
        """The dialect with the choice made that `openai` leaves to the host."""
        match self.dialect:
            case "openai" if urlsplit(self.url).hostname == OPENAI_HOST:
                return "openai_responses"
            case "openai_chat":
                return "openai"
            case dialect:
                return dialect
