"""How assay.toml and the environment become settings."""

import contextlib
import datetime as dt
import json
import re
import socket
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest

from assay.bootstrap.from_settings import provider_config
from assay.settings import ProviderSettings, Secret, SettingsError, load, misspelt_variables
from assay.settings.providers import BASE_URLS

MINIMAL = """
[providers.openai]
dialect = "openai"
api_key_env = "OPENAI_API_KEY"

[models."openai/gpt-6-luna"]
provider = "openai"
name = "gpt-6-luna"
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "assay.toml"
    path.write_text(MINIMAL)
    return path


def test_a_file_is_read_and_the_default_judge_is_all_its_models(file: Path):
    """Without [judges], the default judge asks the configured models in their order."""
    settings = load(file, {})
    assert settings.judges["default"].models == ("openai/gpt-6-luna",)
    assert settings.providers["openai"].url == "https://api.openai.com/v1"


def test_the_environment_overrides_the_file(file: Path):
    """Names in a path match whatever their case and punctuation."""
    settings = load(
        file,
        {
            "ASSAY_SERVER__PORT": "9000",
            "ASSAY_MODELS__OPENAI_GPT_6_LUNA__NAME": "gpt-6.1-terra",
            "ASSAY_JUDGES__STRICT__MODELS": '["openai/gpt-6-luna"]',
        },
    )
    assert settings.server.port == 9000
    assert settings.models["openai/gpt-6-luna"].name == "gpt-6.1-terra"
    assert settings.judges["strict"].models == ("openai/gpt-6-luna",)


def test_the_command_line_overrides_the_environment(file: Path):
    """Options override environment variables."""
    settings = load(file, {"ASSAY_SERVER__PORT": "9000"}, {"server": {"port": 9001}})
    assert settings.server.port == 9001


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[server]\nprot = 1", "server.prot: unknown key; did you mean 'port'?"),
        (
            "[server]\ninflight_bytes_max = 2_000_000",
            "server.inflight_bytes_max: must be at least 1.5 times server.max_body_bytes",
        ),
        ("[servers]\nport = 1", "servers: unknown key; did you mean 'server'?"),
        (
            MINIMAL + "tokens_per_min = 1",
            "tokens_per_min: unknown key; did you mean 'tokens_per_minute'?",
        ),
        ("[server]\nport = 70000", "server.port: Input should be less than or equal to 65535"),
        ('[judges.a]\nmodels = ["x"]', "judges.a.models: 'x' is not configured"),
        (
            MINIMAL + '[judges.a]\nmodels = ["openai/gpt-6-lunna"]',
            "'openai/gpt-6-lunna' is not configured; did you mean 'openai/gpt-6-luna'?",
        ),
        ('[models.x]\nprovider = "y"\nname = "z"', "models.x.provider: 'y' is not configured"),
        (
            MINIMAL + 'profile = "prometheus"',
            "profile: 'prometheus' is not known; did you mean 'prometheus-2'?",
        ),
        (MINIMAL + 'profile = "lynx"\nreading = "stars"', "profile: has a reading of its own"),
        ('[providers.x]\ndialect = "systemone"', "providers.x: base_url: must be set"),
        ('[server]\nhost = "0.0.0.0"', "auth.keys_file: is not set, but callers need an API key."),
        (
            '[server]\nhost = "0.0.0.0"\n[auth]\nrequired = false',
            "auth.required: can be false only on a loopback host",
        ),
        ('[server]\ncors_origins = ["https://app.example/"]', "server.cors_origins.0: "),
        ("[server", "assay.toml"),
    ],
)
def test_each_mistake_is_named(tmp_path: Path, text: str, message: str):
    """A wrong key or value is an error that names the key, and the nearest valid one."""
    path = tmp_path / "assay.toml"
    path.write_text(text)
    with pytest.raises(SettingsError) as raised:
        load(path, {})
    assert message in str(raised.value)


def test_unknown_variables_are_errors(file: Path):
    """A mistyped override does not pass silently."""
    with pytest.raises(SettingsError, match="did you mean 'port'"):
        load(file, {"ASSAY_SERVER__PORTS": "1"})


def test_a_missing_file_is_an_error_only_where_it_was_named(tmp_path: Path, monkeypatch):
    """The default file may be absent; a named one may not."""
    monkeypatch.chdir(tmp_path)
    load(None, {})
    with pytest.raises(SettingsError, match="file not found"):
        load(tmp_path / "other.toml", {})


def test_keys_in_the_environment_make_a_default_judge(tmp_path: Path, monkeypatch):
    """Each vendor's key adds a model, in a fixed order."""
    monkeypatch.chdir(tmp_path)
    listing = Listing([{"id": "gpt-6-luna"}, {"id": "claude-haiku-5-5"}])
    for vendor in ("openai", "anthropic"):
        monkeypatch.setitem(BASE_URLS, vendor, listing.url)
    settings = load(None, {"ANTHROPIC_API_KEY": "a", "OPENAI_API_KEY": "b"})
    assert [model.split("/")[0] for model in settings.judges["default"].models] == [
        "openai",
        "anthropic",
    ]


def test_with_nothing_at_all_the_judge_is_simulated(tmp_path: Path, monkeypatch):
    """The service starts on an empty machine, with a judge that is marked as simulated."""
    monkeypatch.chdir(tmp_path)
    settings = load(None, {})
    assert settings.providers["simulated"].dialect == "simulated"


def _openai_server(reply: bytes) -> Iterator[str]:
    class Models(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(reply)

        def log_message(self, *_: object) -> None:
            """Nothing on stderr."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Models) as server:
        thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/v1"
        server.shutdown()
        thread.join()


def test_a_named_openai_server_judges_with_its_first_model(tmp_path: Path, monkeypatch):
    """`OPENAI_BASE_URL` stands in for the configuration of one provider and one model."""
    monkeypatch.chdir(tmp_path)
    for url in _openai_server(b'{"data": [{"id": "qwen"}]}'):
        settings = load(None, {"OPENAI_BASE_URL": url})
    assert settings.judges["default"].models == ("local/qwen",)


@pytest.mark.parametrize(
    ("name", "profile"), [("flowaicom/Flow-Judge-v0.1", "flow-judge"), ("qwen", None)]
)
def test_a_discovered_model_has_the_profile_of_its_name(
    tmp_path: Path, monkeypatch, name: str, profile: str | None
):
    """A configured one has the profile that it is given."""
    monkeypatch.chdir(tmp_path)
    for url in _openai_server(json.dumps({"data": [{"id": name}]}).encode()):
        settings = load(None, {"OPENAI_BASE_URL": url})
    assert settings.models[f"local/{name}"].profile == profile


@pytest.mark.parametrize(
    ("url", "fault"),
    [
        ("localhost:11434/v1", "must be an http(s) URL"),
        ("ftp://host/v1", "must be an http(s) URL"),
        ("https://user:hush@host/v1?api-version=1", "must have no query"),
        ("https://user:hush@host/v1", "must have no user and no password"),
        ("http://127.0.0.1:9/v1", "cannot be reached"),
        ("http://no-such-host.invalid/v1", "cannot be reached"),
    ],
)
@pytest.mark.parametrize("other", [{}, {"ANTHROPIC_API_KEY": "a"}])
def test_a_named_server_that_cannot_judge_is_an_error(
    tmp_path: Path, monkeypatch, url: str, fault: str, other: dict[str, str]
):
    """Never a simulated judge, or another vendor's, in place of the one that was named."""
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SettingsError) as raised:
        load(None, {"OPENAI_BASE_URL": url, **other})
    assert str(raised.value).startswith("OPENAI_BASE_URL: ")
    assert fault in str(raised.value)
    assert "hush" not in str(raised.value)


@pytest.mark.parametrize("reply", [b'{"data": []}', b"<html>", b"[]"])
def test_a_named_server_without_models_is_an_error(tmp_path: Path, monkeypatch, reply: bytes):
    """Something else may listen there."""
    monkeypatch.chdir(tmp_path)
    for url in _openai_server(reply):
        with pytest.raises(SettingsError, match="OPENAI_BASE_URL: its server lists no model"):
            load(None, {"OPENAI_BASE_URL": url})


@pytest.mark.parametrize(
    ("url", "fault"),
    [
        ("nonsense", "must be an http(s) URL with a host"),
        ("http://", "must be an http(s) URL with a host"),
        ("ftp://host/v1", "must be an http(s) URL with a host"),
        ("http://[x", "must be an http(s) URL with a host"),
        ("http://host:port/v1", "must be an http(s) URL with a host"),
        ("http://ho st/v1", "must be an http(s) URL with a host"),
        (
            "https://acme.openai.azure.com/openai?api-version=2024-10-21",
            "classic endpoint",
        ),
        ("https://host/v1#x", "must have no query and no fragment"),
        ("https://user:hush@host/v1", "must have no user and no password"),
    ],
)
def test_a_base_url_that_paths_cannot_be_added_to_is_named(tmp_path: Path, url: str, fault: str):
    """The error names the setting, and does not repeat the URL: it may hold a key."""
    path = tmp_path / "assay.toml"
    path.write_text(MINIMAL.replace("[models", f'base_url = "{url}"\n\n[models', 1))
    with pytest.raises(SettingsError) as raised:
        load(path, {})
    assert str(raised.value).startswith("providers.openai.base_url: ")
    assert fault in str(raised.value)
    assert "2024-10-21" not in str(raised.value)
    assert "hush" not in str(raised.value)


def test_a_key_is_asked_for_except_on_loopback_without_a_keys_file(tmp_path: Path, monkeypatch):
    """The default is open only where other machines cannot reach it."""
    monkeypatch.chdir(tmp_path)
    assert not load(None, {}).auth_required
    assert load(None, {"ASSAY_AUTH__KEYS_FILE": "keys"}).auth_required


def test_a_secret_file_is_read_again_when_it_changes(tmp_path: Path, caplog):
    """A rotated key is picked up; a file that goes is reported once, and the last value stays."""
    path = tmp_path / "key"
    path.write_text("one\n")
    secret = Secret(file=path)
    assert secret() == "one"
    path.write_text("two\n")
    secret._next_check_s = 0
    assert secret() == "two"
    path.unlink()
    for _ in range(2):
        secret._next_check_s = 0
        assert secret() == "two"
    assert "two" not in repr(secret)
    (warning,) = caplog.records
    assert warning.levelname == "WARNING"


@pytest.mark.parametrize("section", ["server", "models", "judges"])
def test_a_value_in_the_place_of_a_section_is_named(tmp_path: Path, section: str):
    """The error is a sentence, not a traceback."""
    path = tmp_path / "assay.toml"
    path.write_text(f"{section} = 5")
    with pytest.raises(SettingsError, match=f"{section} must be a section, not a value"):
        load(path, {})


def test_our_own_messages_have_no_prefix_of_the_library(tmp_path: Path):
    """The message of one of our validators is shown as it is."""
    path = tmp_path / "assay.toml"
    path.write_text('[models.x]\nprovider = "nope"\nname = "x"')
    with pytest.raises(SettingsError) as raised:
        load(path, {})
    assert str(raised.value) == "models.x.provider: 'nope' is not configured"


@pytest.mark.parametrize(
    ("variable", "meant"),
    [
        ("ASSAY_PORT", "ASSAY_SERVER__PORT"),
        ("ASSAY_SERVER_PORT", "ASSAY_SERVER__PORT"),
        ("assay_server__port", "ASSAY_SERVER__PORT"),
        ("ASSAY_REDIS_URL", "ASSAY_REDIS__URL"),
        ("ASSAY_LOGLEVEL", "ASSAY_TELEMETRY__LOG_LEVEL"),
        ("ASSAY_KEYS_FILE", "ASSAY_AUTH__KEYS_FILE"),
        ("ASSAY_METRIC_PORT", "ASSAY_SERVER__METRICS_PORT"),
    ],
)
def test_a_variable_near_to_a_setting_is_told(variable: str, meant: str):
    """It would be ignored in silence, and the service would run with the default."""
    assert misspelt_variables({variable: "1"}) == [
        f"{variable} sets nothing; did you mean {meant}?"
    ]


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("ASSAY_SERVER__PORT", "9000"),
        ("ASSAY_API_KEY", "k"),
        ("ASSAY_URL", "http://127.0.0.1:8080"),
        ("ASSAY_PORT", "tcp://10.0.0.1:80"),
        ("ASSAY_SERVICE_PORT", "80"),
        ("ASSAY_REDIS_PORT_6379_TCP", "tcp://10.0.0.1:6379"),
        ("ASSAY_HOME", "/opt/assay"),
        ("ASSAY_GRADER_SECRET", "whsec_"),
        ("SERVER_PORT", "80"),
    ],
)
def test_other_variables_are_not_told(variable: str, value: str):
    """Settings, what the command line reads, and what Kubernetes sets for a service `assay`."""
    assert misspelt_variables({variable: value}) == []


class Listing(ThreadingHTTPServer):
    """A host that lists models as its vendor does, and records each path and header."""

    def __init__(self, models: list[dict[str, object]], section: str = "data", status: int = 200):
        self.seen: list[tuple[str, dict[str, str]]] = []
        listing = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                listing.seen.append((self.path, {k.lower(): v for k, v in self.headers.items()}))
                self.send_response(status)
                self.end_headers()
                self.wfile.write(json.dumps({section: models}).encode())

            def log_message(self, *_: object) -> None:
                """Nothing on stderr."""

        super().__init__(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server_port}"
        Thread(target=self.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()


TODAYS = [
    *({"id": name} for name in ("text-embedding-3-small", "gpt-realtime-2", "omni-moderation")),
    *({"id": name} for name in ("gpt-5-mini", "gpt-4o-mini", "gpt-image-2", "tts-1", "whisper-1")),
    {"id": "gpt-6.1-terra"},
    {"id": "gpt-6-luna-2026-09-22"},
    {"id": "gpt-6-luna", "shutdown_date": None},
]
"""What OpenAI lists; some of it ends, and most of it cannot chat."""


@pytest.fixture
def default_model(tmp_path: Path, monkeypatch):
    """The model that a vendor's key makes the default judge, from what a host lists."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("assay.settings.discovery.OLLAMA_URL", "http://127.0.0.1:9/v1")

    def found(vendor: str, listing: Listing) -> str:
        monkeypatch.setitem(BASE_URLS, vendor, listing.url)
        settings = load(None, {f"{vendor.upper()}_API_KEY": "key"})
        (model,) = settings.judges["default"].models
        return model

    return found


def test_the_default_judge_is_a_listed_chat_model(default_model, caplog):
    """The preferred one of those that stay; the warning names it and how to pin it."""
    listing = Listing(TODAYS)
    assert default_model("openai", listing) == "openai/gpt-6-luna"
    assert listing.seen[0][0] == "/models"
    assert listing.seen[0][1]["authorization"] == "Bearer key"
    (warning,) = caplog.messages
    assert "openai/gpt-6-luna judges" in warning
    assert '[models."openai/gpt-6-luna"]' in warning
    assert default_model("openai", Listing(TODAYS[:-1])) == "openai/gpt-6-luna-2026-09-22"


def test_a_model_that_its_provider_ends_is_not_chosen(default_model):
    """The provider's own date counts before ours."""
    soon = (dt.datetime.now(dt.UTC) + dt.timedelta(days=20)).date().isoformat()
    listing = Listing([{"id": "gpt-6-luna", "shutdown_date": soon}, {"id": "gpt-6.1-terra"}])
    assert default_model("openai", listing) == "openai/gpt-6.1-terra"


def test_an_end_that_a_provider_tells_in_another_form_counts(default_model):
    """A time is as good as a date; a model whose end cannot be read is not chosen, others are."""
    end = dt.datetime.now(dt.UTC) + dt.timedelta(days=20)
    for told in (end.isoformat(), int(end.timestamp()), "to be decided", {"day": 1}, 1e30):
        listing = Listing([{"id": "gpt-6-luna", "shutdown_date": told}, {"id": "gpt-6.1-terra"}])
        assert default_model("openai", listing) == "openai/gpt-6.1-terra"


def test_an_end_far_away_is_none(default_model):
    """Neither as a date, nor as a time."""
    later = dt.datetime.now(dt.UTC) + dt.timedelta(days=200)
    for told in (later.date().isoformat(), later.isoformat(), int(later.timestamp())):
        listing = Listing([{"id": "gpt-6-luna", "shutdown_date": told}, {"id": "gpt-6.1-terra"}])
        assert default_model("openai", listing) == "openai/gpt-6-luna"


def test_an_entry_without_a_name_takes_no_other_along(default_model):
    """A provider lists what it likes beside its models."""
    listing = Listing([None, "text", {"object": "model"}, {"id": None}, {"id": "gpt-6-luna"}])
    assert default_model("openai", listing) == "openai/gpt-6-luna"


def test_a_key_that_no_header_holds_is_told(tmp_path: Path, monkeypatch):
    """White space around a key is not its part; other signs are the fault of the variable."""
    monkeypatch.chdir(tmp_path)
    listing = Listing(TODAYS)
    monkeypatch.setitem(BASE_URLS, "openai", listing.url)
    load(None, {"OPENAI_API_KEY": " sk-key\n"})
    assert listing.seen[0][1]["authorization"] == "Bearer sk-key"
    with pytest.raises(SettingsError, match=r"OPENAI_API_KEY: .*key cannot be sent") as fault:
        load(None, {"OPENAI_API_KEY": "sk-kéy"})
    assert "sk-k" not in str(fault.value)


def test_each_vendor_is_asked_in_its_own_way(default_model):
    """Path, key and shape of the answer."""
    anthropic = Listing([{"id": "claude-opus-5-5"}, {"id": "claude-haiku-4-5-20251001"}])
    assert default_model("anthropic", anthropic) == "anthropic/claude-haiku-4-5-20251001"
    assert anthropic.seen[0][0] == "/models?limit=1000"
    assert anthropic.seen[0][1]["x-api-key"] == "key"
    assert anthropic.seen[0][1]["anthropic-version"]
    chat, other = ["generateContent"], ["embedContent"]
    gemini = Listing(
        [
            {"name": "models/gemini-3.5-flash-lite", "supportedGenerationMethods": other},
            {"name": "models/gemini-3.8-flash", "supportedGenerationMethods": chat},
        ],
        section="models",
    )
    assert default_model("gemini", gemini) == "gemini/gemini-3.8-flash"
    assert gemini.seen[0][0] == "/models?pageSize=1000"
    assert gemini.seen[0][1]["x-goog-api-key"] == "key"


@pytest.mark.parametrize(
    ("models", "status", "fault"),
    [
        ([], 200, "lists no model"),
        (TODAYS[:8], 200, "lists no model that judges by default"),
        (TODAYS, 401, "answered 401"),
        ([{"id": "gpt-6-luna", "shutdown_date": "soon"}], 200, "lists no model"),
    ],
)
def test_a_list_without_a_choice_is_an_error(default_model, models, status, fault):
    """No model is guessed; the error names the variable and a model to configure."""
    with pytest.raises(SettingsError, match=f"^OPENAI_API_KEY: .*{fault}.*'gpt-6-luna'"):
        default_model("openai", Listing(models, status=status))


def test_a_named_server_judges_with_a_chat_model(tmp_path: Path, monkeypatch):
    """Not with the embedding model that it happens to list first."""
    monkeypatch.chdir(tmp_path)
    unfit = ["bge-m3:latest", "all-minilm:latest", "multilingual-e5-large", "dall-e-3", "flux.1"]
    for names, chosen in (
        (["bge-embed", "qwen"], "qwen"),
        (["a", "openai/gpt-6-luna"], "openai/gpt-6-luna"),
        ([*unfit, "stable-diffusion-xl", "olive-7b"], "olive-7b"),
    ):
        listing = Listing([{"id": name} for name in names])
        settings = load(None, {"OPENAI_BASE_URL": listing.url})
        assert settings.judges["default"].models == (f"local/{chosen}",)
    with pytest.raises(SettingsError, match="lists no chat model"):
        load(None, {"OPENAI_BASE_URL": Listing([{"id": "bge-embed"}]).url})


class Recorded(ThreadingHTTPServer):
    """A model server that records the paths and the keys it is sent."""

    def __init__(self, status: int = 200, location: str = "") -> None:
        self.seen: list[tuple[str, str | None]] = []
        recorded = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                recorded.seen.append((self.path, self.headers["Authorization"]))
                self.send_response(status)
                self.send_header("Location", location)
                self.end_headers()
                self.wfile.write(b'{"data": [{"id": "qwen"}]}')

            def log_message(self, *_: object) -> None:
                """Nothing on stderr."""

        super().__init__(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server_port}"
        Thread(target=self.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()


@pytest.fixture
def local(monkeypatch, tmp_path: Path) -> Iterator[Recorded]:
    """A server where discovery looks for a local one."""
    monkeypatch.chdir(tmp_path)
    with Recorded() as server:
        monkeypatch.setattr("assay.settings.discovery.OLLAMA_URL", f"{server.url}/v1")
        yield server
        server.shutdown()


def test_a_guessed_server_gets_no_key(local: Recorded, monkeypatch):
    """Whatever listens on a well-known port is not the vendor that the key is for."""
    monkeypatch.setitem(BASE_URLS, "openai", Listing(TODAYS).url)
    settings = load(None, {"OPENAI_API_KEY": "sk-secret"})
    assert local.seen == [("/v1/models", None)]
    assert settings.providers["local"].api_key_env == ""
    assert settings.providers["openai"].api_key_env == "OPENAI_API_KEY"


def test_discovery_uses_no_proxy(local: Recorded, monkeypatch):
    """A proxy would read the key, and judges are called without one."""
    with Recorded() as proxy:
        monkeypatch.setenv("http_proxy", proxy.url)
        monkeypatch.delenv("no_proxy", raising=False)
        load(None, {"OPENAI_BASE_URL": f"{local.url}/v1", "OPENAI_API_KEY": "sk-secret"})
        proxy.shutdown()
    assert proxy.seen == []
    assert local.seen == [("/v1/models", "Bearer sk-secret")]


def test_a_redirect_of_discovery_is_not_followed(local: Recorded, monkeypatch):
    """It would take the key to another host."""
    with Recorded(307, f"{local.url}/v1/models") as named:
        with contextlib.suppress(SettingsError):
            load(None, {"OPENAI_BASE_URL": f"{named.url}/v1", "OPENAI_API_KEY": "sk-secret"})
        named.shutdown()
    assert len(named.seen) == 1
    assert local.seen == []


@pytest.mark.parametrize(
    "key", ["sk-proj-AbC123", "AIzaSyAbC123", "gsk_abc123", "0123ABC", "A" * 65]
)
def test_a_key_in_place_of_its_variable_is_refused_and_not_shown(tmp_path: Path, key: str):
    """The error names the setting and the mistake, and never the value."""
    path = tmp_path / "assay.toml"
    path.write_text(f'[providers.openai]\ndialect = "openai"\napi_key_env = "{key}"\n')
    with pytest.raises(SettingsError) as raised:
        load(path, {})
    assert "providers.openai.api_key_env: must be the name of an environment" in str(raised.value)
    assert key not in str(raised.value)


@pytest.mark.parametrize("name", ["missing", ""])
def test_a_missing_key_file_is_an_error_at_the_start(tmp_path: Path, name: str):
    """And not a rejected call later; a directory is no file either. The error names the setting."""
    provider = ProviderSettings(dialect="openai", api_key_file=tmp_path / name)
    with pytest.raises(ValueError, match=r"^providers\.acme\.api_key_file: .*/"):
        provider_config("acme", provider)


def test_a_server_that_does_not_speak_http_is_no_judge(tmp_path: Path, monkeypatch):
    """A named one is an error, and a guessed one is passed over."""
    monkeypatch.chdir(tmp_path)
    with socket.create_server(("127.0.0.1", 0)) as other:

        def greet() -> None:
            with contextlib.suppress(OSError):
                while True:
                    client, _ = other.accept()
                    with client:
                        client.recv(1_000)
                        client.sendall(b"SSH-2.0-OpenSSH\r\n")

        Thread(target=greet, daemon=True).start()
        url = f"http://127.0.0.1:{other.getsockname()[1]}/v1"
        monkeypatch.setattr("assay.settings.discovery.OLLAMA_URL", url)
        with pytest.raises(SettingsError, match=r"OPENAI_BASE_URL: .*does not answer in HTTP"):
            load(None, {"OPENAI_BASE_URL": url})
        assert load(None, {}).simulated


def test_a_configuration_without_a_chat_model_is_an_error(tmp_path: Path):
    """The error says what is missing, and not which list is empty."""
    path = tmp_path / "assay.toml"
    path.write_text('[providers.openai]\ndialect = "openai"\n' + EMBEDDER)
    with pytest.raises(SettingsError, match=r"^models: none has the kind 'chat'"):
        load(path, {})


EMBEDDER = """
[models."openai/embed"]
provider = "openai"
name = "text-embedding-3-small"
kind = "embedding"
"""


def test_an_embedding_model_is_no_default_judge(file: Path):
    """It can be configured beside the judges, and the first one embeds."""
    file.write_text(MINIMAL + EMBEDDER)
    assert load(file, {}).judges["default"].models == ("openai/gpt-6-luna",)


@pytest.mark.parametrize(
    ("more", "says"),
    [
        (
            '[judges.strict]\nmodels = ["openai/embed"]',
            "judges.strict.models: 'openai/embed' has the kind 'embedding'",
        ),
        (
            '[embeddings]\nmodels = ["openai/gpt-6-luna"]',
            "embeddings.models: 'openai/gpt-6-luna' has the kind 'chat'",
        ),
        ('[embeddings]\nmodels = ["openai/embd"]', "embeddings.models: 'openai/embd' is not"),
        (
            '[models.m]\nprovider = "openai"\nname = "m"\ndimensions = 3',
            'models.m.dimensions: needs kind = "embedding"',
        ),
    ],
)
def test_a_model_of_the_wrong_kind_is_an_error(file: Path, more: str, says: str):
    """The message names the field."""
    file.write_text(MINIMAL + EMBEDDER + more)
    with pytest.raises(SettingsError, match=re.escape(says)):
        load(file, {})
