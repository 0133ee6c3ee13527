"""What a provider's settings say about the way to it: TLS, proxies, and more of each request."""

from __future__ import annotations

import os
import ssl
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
import trustme

from assay.bootstrap.from_settings import provider_config
from assay.domain.completion import Completion
from assay.domain.errors import (
    ConnectionRefused,
    KeyRejected,
    ModelError,
    ProviderDown,
    RequestRejected,
    TlsFailed,
)
from assay.domain.models import Model
from assay.providers import ProviderClient, build_model
from assay.providers import tls as tls_module
from assay.settings import ProviderSettings
from fakes.calls import call
from fakes.http_proxy import HttpProxy
from fakes.providers.play import TEXT
from fakes.providers.server import FaultServer
from fakes.providers.subject import PROMPT

SECRET = "transport-0123456789-secret"
Ask = Callable[..., Any]


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def files(tmp_path: Path, authority: trustme.CA) -> Path:
    """A folder with the authority, a certificate of a client and its key, and another key."""
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    client, other = authority.issue_cert("client"), authority.issue_cert("client")
    client.cert_chain_pems[0].write_to_path(str(tmp_path / "client.pem"))
    client.private_key_pem.write_to_path(str(tmp_path / "client.key"))
    other.private_key_pem.write_to_path(str(tmp_path / "other.key"))
    (tmp_path / "empty.pem").write_text("no certificate")
    return tmp_path


@pytest.fixture
async def ask() -> AsyncIterator[Ask]:
    """Asks a model at an OpenAI-compatible server once, as the settings say."""
    clients: list[ProviderClient] = []

    async def ask(server: FaultServer, **fields: Any) -> Completion:
        fields = {"dialect": "openai", "base_url": server.base_url("openai"), **fields}
        settings = ProviderSettings.model_validate(fields)
        clients.append(ProviderClient(provider_config("far", settings)))
        model = Model(id="far/judge", provider="far", name="judge")
        chat = build_model(settings.protocol, model, clients[-1])
        return await chat.complete(PROMPT.for_model(model), call(5))

    yield ask
    for client in clients:
        await client.aclose()


def serving(
    authority: trustme.CA, host: str = "127.0.0.1", client_ca: Path | None = None
) -> FaultServer:
    """A server with a certificate for `host`, which may ask for that of its clients."""
    server = FaultServer()
    server.tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(host).configure_cert(server.tls)
    if client_ca is not None:
        server.tls.load_verify_locations(client_ca)
        server.tls.verify_mode = ssl.CERT_REQUIRED
    return server


async def test_an_authority_of_our_own_is_trusted(
    files: Path, authority: trustme.CA, ask: Ask
) -> None:
    """Where it is configured, and nowhere else."""
    async with serving(authority) as server:
        assert (await ask(server, ca_file=files / "ca.pem")).text == TEXT
        with pytest.raises(TlsFailed, match="certificate verify failed"):
            await ask(server)


async def test_a_certificate_for_another_host_is_refused(
    files: Path, authority: trustme.CA, ask: Ask
) -> None:
    """The authority alone proves nothing about who answers."""
    async with serving(authority, "elsewhere.example") as server:
        with pytest.raises(TlsFailed, match="far: TLS: certificate verify failed"):
            await ask(server, ca_file=files / "ca.pem")
        assert server.count == 0


async def test_a_client_certificate_is_shown(files: Path, authority: trustme.CA, ask: Ask) -> None:
    """A server that asks for one answers with it, and refuses the connection without it."""
    certificate = {
        "client_cert_file": files / "client.pem",
        "client_key_file": files / "client.key",
    }
    async with serving(authority, client_ca=files / "ca.pem") as server:
        assert (await ask(server, ca_file=files / "ca.pem", **certificate)).text == TEXT
        with pytest.raises(ProviderDown):
            await ask(server, ca_file=files / "ca.pem")
        assert server.count == 1


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"ca_file": "none.pem"}, r"providers\.far\.ca_file: .*none\.pem: No such file"),
        ({"ca_file": "empty.pem"}, r"providers\.far\.ca_file: .*empty\.pem: holds no certificate"),
        (
            {"client_cert_file": "client.pem", "client_key_file": "other.key"},
            r"providers\.far\.client_cert_file: .*: the certificate does not match the key",
        ),
        (
            {"client_cert_file": "client.pem", "client_key_file": "none.key"},
            r"providers\.far\.client_key_file: .*none\.key: No such file",
        ),
        (
            {"client_cert_file": "empty.pem", "client_key_file": "client.key"},
            r"providers\.far\.client_cert_file: .*: cannot be used",
        ),
    ],
)
def test_certificates_of_no_use_are_configuration_errors(
    files: Path, fields: dict[str, str], said: str
) -> None:
    """Each names the setting, the file and the reason."""
    paths = {name: files / file for name, file in fields.items()}
    settings = ProviderSettings.model_validate({"dialect": "openai", **paths})
    with pytest.raises(ValueError, match=said):
        provider_config("far", settings)


async def test_changed_certificates_are_used_without_a_restart(
    files: Path, authority: trustme.CA, monkeypatch: pytest.MonkeyPatch, caplog: Any
) -> None:
    """New connections get them; files that do not fit together leave the last ones in place."""
    monkeypatch.setattr(tls_module, "CHECK_EVERY_S", 0.0)
    tls = tls_module.Tls(files / "ca.pem", None, None)
    first = tls()
    assert tls() is first
    trustme.CA().cert_pem.write_to_path(str(files / "ca.pem"))
    _touch(files / "ca.pem")
    second = tls()
    assert second is not first
    (files / "ca.pem").write_text("half a fi")
    _touch(files / "ca.pem", later_s=2)
    assert tls() is second
    assert "ca_file" in caplog.text


def _touch(file: Path, later_s: int = 1) -> None:
    at_ns = time.time_ns() + later_s * 1_000_000_000
    os.utime(file, ns=(at_ns, at_ns))


@pytest.mark.parametrize("credentials", ["", "user:p%40ss"])
async def test_a_proxy_takes_plain_requests(ask: Ask, credentials: str) -> None:
    """With its credentials where it wants them."""
    async with FaultServer() as server, HttpProxy(credentials.replace("%40", "@")) as proxy:
        address = f"127.0.0.1:{proxy.port}"
        url = f"http://{credentials}@{address}" if credentials else f"http://{address}"
        assert (await ask(server, proxy=url)).text == TEXT
        assert proxy.asked[0].startswith(f"POST {server.base_url('openai')}/")


async def test_a_proxy_tunnels_tls(
    files: Path, authority: trustme.CA, ask: Ask, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It learns the host, and none of the keys; its password comes from the environment."""
    monkeypatch.setenv("PROXY_PASSWORD", SECRET)
    async with serving(authority) as server, HttpProxy(f"user:{SECRET}") as proxy:
        url = f"http://user:${{env:PROXY_PASSWORD}}@127.0.0.1:{proxy.port}"
        assert (await ask(server, proxy=url, ca_file=files / "ca.pem")).text == TEXT
        assert proxy.asked == [f"CONNECT 127.0.0.1:{server.port} HTTP/1.1"]


@pytest.mark.parametrize("tls", [False, True], ids=["plain", "tunnel"])
async def test_a_proxy_that_wants_other_credentials(
    files: Path, authority: trustme.CA, ask: Ask, tls: bool
) -> None:
    """It counts as a rejected key, and the message does not show the password."""
    async with serving(authority) if tls else FaultServer() as server, HttpProxy("user:x") as proxy:
        url = f"http://user:{SECRET}@127.0.0.1:{proxy.port}"
        with pytest.raises(KeyRejected, match="407") as caught:
            await ask(server, proxy=url, ca_file=files / "ca.pem")
        assert SECRET not in f"{caught.value!r} {caught.value.log_message}"
        assert server.count == 0


async def test_a_proxy_that_refuses_the_host(files: Path, authority: trustme.CA, ask: Ask) -> None:
    """Its status is told apart from one of the provider."""
    async with serving(authority) as server, HttpProxy(refuses_with=403) as proxy:
        with pytest.raises(ProviderDown, match="far: its proxy answered 403"):
            await ask(server, proxy=f"http://127.0.0.1:{proxy.port}", ca_file=files / "ca.pem")


async def test_a_proxy_that_is_not_there(ask: Ask) -> None:
    """A refused connection is said to be the proxy's."""
    async with FaultServer() as server:
        with pytest.raises(ConnectionRefused, match="its proxy refused the connection"):
            await ask(server, proxy="http://127.0.0.1:9")


async def test_the_environments_proxy_is_used_where_it_is_trusted(
    ask: Ask, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not otherwise, and not for a host in `NO_PROXY`."""
    async with FaultServer() as server, HttpProxy() as proxy:
        monkeypatch.setenv("HTTP_PROXY", f"http://127.0.0.1:{proxy.port}")
        monkeypatch.delenv("NO_PROXY", raising=False)
        monkeypatch.delenv("no_proxy", raising=False)
        await ask(server)
        assert proxy.asked == []
        await ask(server, trust_env=True)
        assert len(proxy.asked) == 1
        monkeypatch.setenv("NO_PROXY", "127.0.0.1")
        await ask(server, trust_env=True)
        assert len(proxy.asked) == 1


@pytest.mark.parametrize("url", ["socks5://a:b@inside:1", "inside:1", "http://inside/path"])
def test_a_proxy_of_another_kind_is_a_configuration_error(url: str) -> None:
    """The message does not repeat the URL, which may hold a password."""
    settings = ProviderSettings.model_validate({"dialect": "openai", "proxy": url})
    with pytest.raises(ValueError, match=r"providers\.far\.proxy: must be the URL") as caught:
        provider_config("far", settings)
    assert "inside" not in str(caught.value)


async def test_more_of_each_request(
    ask: Ask, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Headers, parameters and fields are added, with their secrets; Assay's own fields win."""
    monkeypatch.setenv("TEAM_KEY", SECRET)
    (tmp_path / "route").write_text("cheapest\n")
    async with FaultServer() as server:
        await ask(
            server,
            headers={"X-Team": "Key ${env:TEAM_KEY}"},
            query={"route": f"${{file:{tmp_path / 'route'}}}", "q": "a b&c"},
            body={
                "provider": {"order": ["one", "${env:TEAM_KEY}"], "allow_fallbacks": False},
                "stream_options": {"extra": 1, "include_usage": False},
                "model": "another",
            },
        )
    received = server.requests[-1]
    assert received.headers["X-Team"] == f"Key {SECRET}"
    assert received.path.endswith("/chat/completions?route=cheapest&q=a%20b%26c")
    assert received.body["provider"] == {"order": ["one", SECRET], "allow_fallbacks": False}
    assert received.body["stream_options"] == {"extra": 1, "include_usage": True}
    assert received.body["model"] == "judge"


async def test_a_secret_that_the_provider_repeats_is_masked(
    ask: Ask, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As keys are, wherever it was sent."""
    monkeypatch.setenv("TEAM_KEY", SECRET)
    async with FaultServer() as server:
        server.echo = f" from {SECRET}"
        await server.play("400")
        with pytest.raises(RequestRejected, match=r"refused for 400 from \[key\]"):
            await ask(server, query={"key": "${env:TEAM_KEY}"})


@pytest.mark.parametrize("field", ["headers", "query", "body", "proxy"])
@pytest.mark.parametrize(
    ("reference", "said"),
    [
        ("${env:NOT_SET_ANYWHERE}", r"\$\{env:NOT_SET_ANYWHERE\}: is empty or not set"),
        ("${file:/none/such}", r"\$\{file:/none/such\}: No such file"),
        ("${KEY}", r"\$\{ begins a secret: write \$\{env:NAME\} or \$\{file:PATH\}"),
        ("${env:KEY", r"\$\{ begins a secret: write \$\{env:NAME\} or \$\{file:PATH\}"),
    ],
)
def test_a_secret_that_is_not_there_is_a_configuration_error(
    field: str, reference: str, said: str
) -> None:
    """It names the setting and the reference."""
    value: Any = reference if field == "proxy" else {"name": reference}
    settings = ProviderSettings.model_validate({"dialect": "openai", field: value})
    with pytest.raises(ValueError, match=rf"providers\.far\.{field}: {said}"):
        provider_config("far", settings)


async def test_nothing_shows_a_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither the settings nor what is made of them."""
    monkeypatch.setenv("TEAM_KEY", SECRET)
    fields = {"headers": {"X-Team": "${env:TEAM_KEY}"}, "proxy": f"http://user:{SECRET}@host:1"}
    settings = ProviderSettings.model_validate({"dialect": "openai", **fields})
    config = provider_config("far", settings)
    shown = (
        f"{settings!r} {config!r} {config.headers!r} {config.proxy!r} {ProviderClient(config)!r}"
    )
    assert SECRET not in shown


async def test_a_secret_that_becomes_unsendable_is_rejected_unsent(
    ask: Ask, tmp_path: Path
) -> None:
    """What a file holds is checked before each call."""
    (tmp_path / "team").write_text("two\nlines")
    async with FaultServer() as server:
        with pytest.raises(ModelError, match="cannot be sent in a header"):
            await ask(server, headers={"X-Team": f"${{file:{tmp_path / 'team'}}}"})
        assert server.count == 0
