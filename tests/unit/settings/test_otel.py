"""When OpenTelemetry is on, where it sends to, and which providers are told the trace."""

from __future__ import annotations

import pytest

from assay.bootstrap.otel import otel_endpoints
from assay.domain.targets import is_private_host
from assay.settings import ProviderSettings, Settings, SettingsError, load
from assay.settings.schema import OtelSettings

ENDPOINT = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://collector:4318"}


def endpoints(environ: dict[str, str], endpoint: str = "") -> dict[str, str | None]:
    settings = Settings.model_construct(otel=OtelSettings(endpoint=endpoint))
    return dict(otel_endpoints(settings, environ))


@pytest.mark.parametrize(
    ("environ", "signals"),
    [
        ({}, ""),
        (ENDPOINT, "traces logs metrics"),
        ({"OTEL_EXPORTER_OTLP_LOGS_ENDPOINT": "http://c/v1/logs"}, "logs"),
        (ENDPOINT | {"OTEL_METRICS_EXPORTER": "none"}, "traces logs"),
        (ENDPOINT | {"OTEL_TRACES_EXPORTER": "console"}, "logs metrics"),
        (ENDPOINT | {"OTEL_SDK_DISABLED": "TRUE"}, ""),
        ({"OTEL_SERVICE_NAME": "assay"}, ""),
    ],
)
def test_the_standard_variables_turn_each_signal_on_and_off(environ, signals):
    """The exporters read the addresses themselves."""
    assert endpoints(environ) == dict.fromkeys(signals.split())


def test_the_setting_is_the_base_of_all_signals_and_wins():
    """Variables can still turn a signal off."""
    environ = ENDPOINT | {"OTEL_LOGS_EXPORTER": "none"}
    assert endpoints(environ, "https://mine/otlp/") == {
        "traces": "https://mine/otlp/v1/traces",
        "metrics": "https://mine/otlp/v1/metrics",
    }
    assert endpoints({"OTEL_SDK_DISABLED": "true"}, "https://mine") == {}


@pytest.mark.parametrize("endpoint", ["collector:4318", "grpc://c:4317", "https://u:p@c", "a b"])
def test_an_endpoint_is_a_plain_url(tmp_path, endpoint):
    """Without a password: that belongs into `OTEL_EXPORTER_OTLP_HEADERS`, which no log shows."""
    file = tmp_path / "assay.toml"
    file.write_text(f'[otel]\nendpoint = "{endpoint}"\n')
    with pytest.raises(SettingsError, match=r"otel\.endpoint"):
        load(file, {})


@pytest.mark.parametrize(
    ("url", "passes"),
    [
        ("https://api.openai.com/v1", False),
        ("http://127.0.0.1:8000/v1", True),
        ("http://10.1.2.3/v1", True),
        ("http://8.8.8.8/v1", False),
        ("http://gateway/v1", True),
        ("http://litellm.llm.svc:4000/v1", True),
        ("http://litellm.llm.svc.cluster.local/v1", True),
        ("http://[fd00::1]/v1", True),
    ],
)
def test_the_trace_is_passed_on_inside_the_own_network_only(url, passes):
    """Unless the setting says otherwise: a vendor has no use for it."""
    assert ProviderSettings(dialect="openai", base_url=url).passes_trace is passes
    for said in (True, False):
        provider = ProviderSettings(dialect="openai", base_url=url, trace_context=said)
        assert provider.passes_trace is said


def test_a_name_that_only_ends_like_a_local_one_is_public():
    """Only whole labels count."""
    assert not is_private_host("example.mysvc")
    assert not is_private_host("api.notlocal")
    assert is_private_host("LITELLM.LLM.SVC.")
