"""Translates settings into the values of the domain and the adapters."""

from __future__ import annotations

import dataclasses
import math
import ssl
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from assay.bootstrap.prices import Published, published
from assay.domain.models import DECISION, Capabilities, LongPrice, Model
from assay.domain.signing import SECRET_FORM, is_secret
from assay.domain.targets import AllowedHosts, origin
from assay.domain.tenants import TenantLimits
from assay.domain.trace_context import outgoing_headers
from assay.http.limits import Limits
from assay.prompts.profiles import profiles
from assay.providers import (
    CLOUD_CREDENTIALS,
    Credentials,
    ProviderConfig,
    PublicResolver,
    Signature,
    Tls,
)
from assay.settings import (
    UNASKED,
    ModelSettings,
    ProviderSettings,
    Secret,
    Settings,
    Template,
    check_proxy,
    environment_proxy,
    known_model,
    known_models,
)

OUTPUT_TOKENS, REASONING_OUTPUT_TOKENS = 4_096, 32_768
"""Largest output of a model for which none is configured; a thought may be long."""

TOOL_PROTOCOLS = ("openai", "openai_responses", "azure")
"""The protocols over which the tools of a run are sent."""


def models_from_settings(settings: Settings) -> list[Model]:
    """The configured models; raises `ValueError` for one without a price under a cost cap."""
    unknown = {
        model_id: (settings.providers[model.provider].url, model.name)
        for model_id, model in settings.models.items()
        if _is_looked_up(model, settings.providers[model.provider])
    }
    found = dict(zip(unknown, published(tuple(unknown.values())), strict=True))
    models = [
        _model(model_id, model, settings.providers[model.provider], found.get(model_id))
        for model_id, model in settings.models.items()
    ]
    for name, tenant in settings.tenants.items():
        for model in models:
            if tenant.usd_per_day is not None and not model.is_priced:
                raise ValueError(
                    f"tenants.{name}.usd_per_day: cannot be kept, since models.{model.id} has no "
                    "known price; set its input_usd_per_mtok and output_usd_per_mtok, or free"
                )
    return models


def _is_looked_up(model: ModelSettings, provider: ProviderSettings) -> bool:
    """Whether something is not configured that may be published."""
    set_here = (*_prices_set(model), model.context_tokens)
    return None in set_here and not provider.is_local


def _prices_set(model: ModelSettings) -> tuple[float | None, float | None]:
    """The configured prices of input and output; an embedding has no output to pay for."""
    if model.free:
        return 0.0, 0.0
    return model.input_usd_per_mtok, 0.0 if model.kind == "embedding" else model.output_usd_per_mtok


def _model(
    model_id: str, model: ModelSettings, provider: ProviderSettings, found: Published | None
) -> Model:
    """One configured model, with what is known of it where the configuration does not say."""
    known, simulated = known_model(model.name), provider.dialect in UNASKED
    decides = provider.dialect == "systemone"
    profile = None if model.profile is None else profiles()[model.profile]
    reading = DECISION if decides else profile.reading if profile else model.reading
    thinks = model.reasoning_effort is not None or model.thinking_budget_tokens is not None
    reasoning = thinks or bool(known.reasoning) if model.reasoning is None else model.reasoning
    usual_limit = REASONING_OUTPUT_TOKENS if reasoning else OUTPUT_TOKENS
    usual_limit = min(usual_limit, known.max_output_tokens or usual_limit)
    output_limit = model.max_output_tokens or usual_limit
    return Model(
        id=model_id,
        provider=model.provider,
        name=model.name,
        kind=model.kind,
        dimensions=model.dimensions,
        host=urlsplit(provider.url).hostname or "",
        context_tokens=model.context_tokens or (found.context_tokens if found else None),
        max_output_tokens=0 if decides or model.kind == "embedding" else output_limit,
        **_price(model, found),
        end_of_life=model.end_of_life or known.end_of_life,
        reading=() if reading is None else (reading,),
        profile=profile,
        capabilities=Capabilities(
            schema=model.structured_output and not decides,
            logprobs=model.logprobs,
            seed=model.seed,
            temperature=model.temperature and not decides,
            vision=simulated or bool(known.vision) if model.vision is None else model.vision,
        ),
        takes_tools=provider.protocol in TOOL_PROTOCOLS,
        simulated=simulated,
        reasoning=reasoning,
        reasoning_effort=model.reasoning_effort,
        thinking_budget_tokens=model.thinking_budget_tokens,
        thinking_timeout_s=model.thinking_timeout_s or math.inf,
    )


def _price(model: ModelSettings, found: Published | None) -> dict[str, Any]:
    """The fields of the model's price: the configured one, else the published one, else none."""
    usual_output_usd = 0.0 if model.kind == "embedding" else None
    own_read_usd, own_write_usd = model.cached_input_usd_per_mtok, model.cache_write_usd_per_mtok
    prices = [
        LongPrice(
            over_tokens,
            input_usd,
            output_usd,
            read_usd if own_read_usd is None else own_read_usd,
            write_usd if own_write_usd is None else own_write_usd,
        )
        for over_tokens, input_usd, listed_usd, read_usd, write_usd in (
            found.prices if found else ()
        )
        if (output_usd := usual_output_usd if listed_usd is None else listed_usd) is not None
    ]
    is_set = (model.input_usd_per_mtok, model.output_usd_per_mtok) != (None, None)
    if prices and not (is_set or model.free):
        price, *longer = prices
        listed = known_models().prices
        fields = dataclasses.asdict(price) | {"long_prices": tuple(longer)}
        del fields["over_tokens"]
        source = f"{listed.package} {listed.version}"
        return fields | {"price_source": source, "price_date": listed.date}
    configured = _prices_set(model)
    return {
        "input_usd_per_mtok": configured[0],
        "output_usd_per_mtok": configured[1],
        "cached_input_usd_per_mtok": own_read_usd,
        "cache_write_usd_per_mtok": own_write_usd,
        "price_source": None if None in configured else "configuration",
    }


def provider_config(name: str, provider: ProviderSettings) -> ProviderConfig:
    """How to reach a provider; raises `ValueError` that names the setting which is of no use."""
    section = f"providers.{name}"
    secret = _secret(f"{section}.api_key", provider.api_key_env, provider.api_key_file)
    version = {"api-version": provider.api_version} if provider.dialect == "azure" else {}
    from_environment = environment_proxy(provider.url) if provider.trust_env else None
    headers = _template(name, "headers", provider.headers)
    query = _template(name, "query", provider.query | version)
    body = _template(name, "body", provider.body)
    proxy = _template(name, "proxy", provider.proxy or from_environment)
    templates = [part for part in (headers, query, body, proxy) if part.secrets()]
    passes_trace = provider.passes_trace
    files = (provider.ca_file, provider.client_cert_file, provider.client_key_file)
    return ProviderConfig(
        provider=name,
        base_url=provider.url,
        api_key=secret,
        silence_timeout_s=provider.silence_timeout_s,
        connections_max=provider.connections_max,
        stream=provider.stream,
        output_limit_field=provider.output_limit_field,
        credentials=_credentials(name, provider),
        tls=_tls(section, *files),
        secrets=lambda: [text for part in templates for text in part.secrets()],
        headers=lambda: {**outgoing_headers(passes=passes_trace), **headers()},
        query=query,
        body=body,
        proxy=proxy,
    )


def _secret(setting: str, variable: str, file: Path | None) -> Secret:
    """The secret of a setting; raises `ValueError` for a file that cannot be read."""
    try:
        return Secret(variable, file)
    except OSError as error:
        raise ValueError(f"{setting}_file: {file}: {error.strerror}") from None


def _tls(
    section: str, ca: Path | None, cert: Path | None = None, key: Path | None = None
) -> Callable[[], ssl.SSLContext | bool]:
    """What a client trusts and shows; raises `ValueError` for a file that is of no use."""
    try:
        return Tls(ca, cert, key) if ca or cert or key else lambda: True
    except ValueError as error:
        raise ValueError(f"{section}.{error}") from None


def _template(provider: str, key: str, value: Any) -> Template:
    try:
        template = Template(value)
        if key == "proxy" and value is not None:
            check_proxy(template())
    except ValueError as error:
        raise ValueError(f"providers.{provider}.{key}: {error}") from None
    return template


def _credentials(name: str, provider: ProviderSettings) -> Credentials | None:
    """What authorises calls to a cloud; None for an API key. They are looked for when needed."""
    # Bedrock needs its library for more than credentials.
    if provider.dialect not in CLOUD_CREDENTIALS or (
        provider.has_key and provider.dialect != "bedrock"
    ):
        return None
    try:
        found = CLOUD_CREDENTIALS[provider.dialect](name, provider.url, provider.region)
    except ValueError as error:
        raise ValueError(f"providers.{name}: {error}") from None
    return None if provider.has_key else found


def graders_from_settings(settings: Settings) -> list[tuple[Model, ProviderConfig]]:
    """The hosts of HTTP criteria, and how to reach them; raises `ValueError`."""
    section = settings.http_criteria
    if not section.hosts:
        return []
    secret = _secret("http_criteria.secret", section.secret_env, section.secret_file)
    if not is_secret(secret() or ""):
        name = "secret_file" if section.secret_file else "secret_env"
        raise ValueError(f"http_criteria.{name}: the secret {SECRET_FORM}")
    tls = _tls("http_criteria", section.ca_file)
    hosts = AllowedHosts(section.hosts)
    graders = []
    for url in dict.fromkeys(map(origin, section.hosts)):
        name = url.removeprefix("https://").removesuffix(":443")
        if (fault := hosts.fault(url)) is not None:
            raise ValueError(f"http_criteria.hosts: {name} {fault}")
        config = ProviderConfig(
            provider=name,
            base_url=url,
            silence_timeout_s=section.timeout_s,
            stream=False,
            credentials=Signature(secret),
            tls=tls,
            secrets=lambda: [secret() or ""],
            # A grader may be an application whose own spans come back as live traffic.
            headers=lambda: outgoing_headers(passes=False),
            resolver=PublicResolver(private=hosts.private),
        )
        model = Model(
            id=url,
            provider="http",
            name=name,
            kind="http",
            host=urlsplit(url).hostname or "",
            max_output_tokens=0,
            input_usd_per_mtok=0.0,
            output_usd_per_mtok=0.0,
        )
        graders.append((model, config))
    return graders


def limits_from_settings(settings: Settings) -> Limits:
    """The bounds of one process."""
    server = settings.server
    return Limits(
        max_body_bytes=server.max_body_bytes,
        body_timeout_s=server.body_timeout_s,
        request_timeout_ms=server.request_timeout_ms,
        default_timeout_ms=server.default_timeout_ms,
        inflight_max=server.inflight_requests_max,
        inflight_bytes_max=server.inflight_bytes_max,
        drain_delay_s=server.drain_delay_s,
        image_hosts=AllowedHosts(settings.images.hosts),
    )


def tenant_limits(settings: Settings) -> dict[str, TenantLimits]:
    """The limits of each configured tenant."""
    fields = {field.name for field in dataclasses.fields(TenantLimits)}
    return {
        name: TenantLimits(**tenant.model_dump(include=fields))
        for name, tenant in settings.tenants.items()
    }
