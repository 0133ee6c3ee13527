"""What authorises calls in a cloud: fetched without blocking, shared, kept, and renewed in time."""

from __future__ import annotations

import asyncio
import gc
import json
import ssl
import sys
import time
import warnings
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import trustme

from assay.bootstrap.from_settings import provider_config
from assay.domain.completion import Completion
from assay.domain.errors import DeadlineExceeded, KeyRejected, ModelError, ProviderDown
from assay.domain.models import Model
from assay.providers import ProviderClient, bedrock, build_model
from assay.providers.credentials import EXPIRY_MARGIN_S, Renewed
from assay.settings import ProviderSettings
from fakes.calls import call
from fakes.providers.clouds import AWS_KEYS, CLOUD_MODELS, CLOUD_SETTINGS, TOKENS
from fakes.providers.play import TEXT
from fakes.providers.server import FaultServer
from fakes.providers.subject import PROMPT
from fakes.providers.tokens import CLIENT_ID, CLIENT_SECRET, POD_TOKEN, ROLE, TENANT, TokenServer

[(AWS_KEY, AWS_SECRET)] = AWS_KEYS.items()
CLOUDS = ("azure", "bedrock", "vertex", "vertex_claude")
VARIABLES = (
    *("AZURE_TENANT_ID", "AZURE_CLIENT_ID", "AZURE_CLIENT_SECRET", "AZURE_AUTHORITY_HOST"),
    *("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_PROFILE"),
    *("AWS_BEARER_TOKEN_BEDROCK", "GOOGLE_APPLICATION_CREDENTIALS", "HTTPS_PROXY", "HTTP_PROXY"),
)


@pytest.fixture(autouse=True)
def connections_to_sts() -> Iterator[None]:
    """botocore never closes its connections to STS: neither end may disturb a later test."""
    yield
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        gc.collect()


class Cloud:
    """A provider with the credentials of its cloud, the fake of its API, and a token endpoint."""

    def __init__(self, server: FaultServer, tokens: TokenServer) -> None:
        self.server, self.tokens = server, tokens
        self._clients: list[ProviderClient] = []

    def client(self, dialect: str, **fields: Any) -> ProviderClient:
        settings = ProviderSettings.model_validate(
            {**CLOUD_SETTINGS[dialect], "base_url": self.server.base_url(dialect), **fields}
        )
        self._clients.append(ProviderClient(provider_config("cloud", settings)))
        return self._clients[-1]

    async def ask(
        self, dialect: str, client: ProviderClient, deadline_s: float = 10.0, name: str = ""
    ) -> Completion:
        name = name or CLOUD_MODELS.get(dialect, "judge-1")
        model = Model(id="cloud/judge", provider="cloud", name=name)
        chat = build_model(CLOUD_SETTINGS[dialect]["dialect"], model, client)
        return await chat.complete(PROMPT.for_model(model), call(deadline_s))

    async def aclose(self) -> None:
        for client in self._clients:
            await client.aclose()
        self._clients.clear()


@pytest.fixture
async def cloud(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Cloud]:
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
    authority = trustme.CA()
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost").configure_cert(tls)
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    async with FaultServer() as server, TokenServer(tls) as tokens:
        (tmp_path / "account.json").write_text(tokens.service_account())
        environment = {
            "HOME": str(tmp_path),
            "AWS_CA_BUNDLE": str(tmp_path / "ca.pem"),
            "REQUESTS_CA_BUNDLE": str(tmp_path / "ca.pem"),
            "AZURE_AUTHORITY_HOST": tokens.url,
            "AZURE_TENANT_ID": TENANT,
            "AZURE_CLIENT_ID": CLIENT_ID,
            "AZURE_CLIENT_SECRET": CLIENT_SECRET,
            "AWS_ACCESS_KEY_ID": AWS_KEY,
            "AWS_SECRET_ACCESS_KEY": AWS_SECRET,
            "AWS_EC2_METADATA_DISABLED": "true",
            "GOOGLE_APPLICATION_CREDENTIALS": str(tmp_path / "account.json"),
            "NO_GCE_CHECK": "true",
        }
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        cloud = Cloud(server, tokens)
        yield cloud
        await cloud.aclose()


@pytest.mark.parametrize("stream", [True, False], ids=["stream", "whole"])
@pytest.mark.parametrize("dialect", CLOUDS)
async def test_a_call_is_authorised_as_its_cloud_wants_it(
    cloud: Cloud, dialect: str, stream: bool
) -> None:
    """The server verifies the signature or the token, and the form of the request."""
    completion = await cloud.ask(dialect, cloud.client(dialect, stream=stream))
    assert completion.text == TEXT
    sent = cloud.server.requests[-1].headers["Authorization"]
    signed = f"AWS4-HMAC-SHA256 Credential={AWS_KEY}/"
    assert sent.startswith(signed if dialect == "bedrock" else "Bearer token-")


@pytest.mark.parametrize("dialect", ["azure", "vertex"])
async def test_calls_share_one_token(cloud: Cloud, dialect: str) -> None:
    """Calls at the same time wait for one fetch, and later ones use what it brought."""
    cloud.tokens.latency_s = 0.2
    client = cloud.client(dialect)
    await asyncio.gather(*(cloud.ask(dialect, client) for _ in range(8)))
    await cloud.ask(dialect, client)
    assert cloud.tokens.count == 1


@pytest.mark.parametrize("dialect", ["azure", "vertex"])
async def test_a_token_is_renewed_before_its_end(cloud: Cloud, dialect: str) -> None:
    """One that ends within the margin is not used for long."""
    cloud.tokens.lifetime_s = int(EXPIRY_MARGIN_S) - 10
    client = cloud.client(dialect)
    await cloud.ask(dialect, client)
    await cloud.ask(dialect, client)
    assert cloud.tokens.count == 2


@pytest.mark.parametrize("dialect", ["azure", "vertex"])
async def test_a_token_that_is_rejected_is_fetched_anew(cloud: Cloud, dialect: str) -> None:
    """The call fails, and the next one has another token."""
    client = cloud.client(dialect)
    await cloud.ask(dialect, client)
    TOKENS.clear()
    with pytest.raises(KeyRejected):
        await cloud.ask(dialect, client)
    assert (await cloud.ask(dialect, client)).text == TEXT
    assert cloud.tokens.count == 2


@pytest.mark.parametrize("dialect", ["azure", "vertex"])
async def test_a_slow_token_endpoint_ends_with_the_deadline(cloud: Cloud, dialect: str) -> None:
    """The event loop runs on meanwhile, nothing is sent, and the fetch serves the next call."""
    cloud.tokens.latency_s = 1.0
    client, ticks = cloud.client(dialect), 0
    asking = asyncio.create_task(cloud.ask(dialect, client, deadline_s=0.5))
    while not asking.done():
        await asyncio.sleep(0.01)
        ticks += 1
    with pytest.raises(DeadlineExceeded) as caught:
        await asking
    assert caught.value.idle_s == 0.0
    assert ticks > 10
    assert cloud.server.count == 0
    assert (await cloud.ask(dialect, client)).text == TEXT
    assert cloud.tokens.count == 1


@pytest.mark.parametrize(
    ("dialect", "variable", "code"),
    [
        ("azure", "AZURE_CLIENT_SECRET", "AADSTS7000215"),
        ("vertex", "GOOGLE_APPLICATION_CREDENTIALS", "invalid_grant"),
    ],
)
async def test_rejected_credentials_say_why(
    cloud: Cloud,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    dialect: str,
    variable: str,
    code: str,
) -> None:
    """With the code of the error, and never with the secret that the endpoint may repeat."""
    secret = "wrong~secret.0123456789"
    account = json.loads(cloud.tokens.service_account()) | {"client_email": "someone@else"}
    (tmp_path / "other.json").write_text(json.dumps(account))
    monkeypatch.setenv(variable, secret if dialect == "azure" else str(tmp_path / "other.json"))
    with pytest.raises(KeyRejected, match=code) as caught:
        await cloud.ask(dialect, cloud.client(dialect))
    assert secret not in f"{caught.value} {caught.value!r} {caught.value.log_message}"
    assert cloud.server.count == 0


@pytest.mark.parametrize("dialect", CLOUDS)
async def test_missing_credentials_are_named_as_missing(
    cloud: Cloud, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, dialect: str
) -> None:
    """The service starts, and each call says what is wrong."""
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AZURE_TOKEN_CREDENTIALS", "EnvironmentCredential")
    monkeypatch.setenv("PATH", str(tmp_path))  # no gcloud, no az
    with pytest.raises(KeyRejected, match="cloud: there are no valid credentials"):
        await cloud.ask(dialect, cloud.client(dialect))
    assert cloud.server.count == 0


async def test_a_token_endpoint_that_is_down_is_no_rejected_key(cloud: Cloud) -> None:
    """Trouble of the network passes: the breaker sees it, and no key is put aside."""
    await cloud.tokens.__aexit__()
    with pytest.raises(ProviderDown, match="the credentials cannot be fetched"):
        await cloud.ask("vertex", cloud.client("vertex"))


async def test_temporary_keys_sign_with_their_session_token(
    cloud: Cloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The token of the session is a header, and part of what is signed."""
    monkeypatch.setenv("AWS_SESSION_TOKEN", "session-0123456789")
    await cloud.ask("bedrock", cloud.client("bedrock"))
    assert cloud.server.requests[-1].headers["X-Amz-Security-Token"] == "session-0123456789"


Write = Callable[[str], None]


@pytest.fixture
async def pod_token(
    cloud: Cloud, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> AsyncIterator[Write]:
    """The environment of a pod with a role; writes the pod's token."""
    file = tmp_path / "pod-token"
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    monkeypatch.setenv("AWS_ROLE_ARN", ROLE)
    monkeypatch.setenv("AWS_WEB_IDENTITY_TOKEN_FILE", str(file))
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-central-1")
    monkeypatch.setenv("AWS_ENDPOINT_URL_STS", cloud.tokens.url)
    yield lambda token: file.write_text(token) and None
    await cloud.aclose()


async def test_the_role_of_a_pod_is_assumed_once(cloud: Cloud, pod_token: Write) -> None:
    """As IRSA sets it up; the temporary keys serve until shortly before their end."""
    pod_token(POD_TOKEN)
    client = cloud.client("bedrock")
    await asyncio.gather(*(cloud.ask("bedrock", client) for _ in range(4)))
    await cloud.ask("bedrock", client)
    assert cloud.tokens.count == 1
    assert cloud.server.requests[-1].headers["X-Amz-Security-Token"] == "session-1"


async def test_a_role_that_cannot_be_assumed_says_why(cloud: Cloud, pod_token: Write) -> None:
    """An expired token of the pod is named by its code; a new one serves the next call."""
    pod_token("expired")
    client = cloud.client("bedrock")
    with pytest.raises(KeyRejected, match="ExpiredTokenException"):
        await cloud.ask("bedrock", client)
    pod_token(POD_TOKEN)
    assert (await cloud.ask("bedrock", client)).text == TEXT


async def test_a_wrong_secret_key_is_rejected(
    cloud: Cloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The signature does not match; the keys are read again for the next call."""
    client = cloud.client("bedrock")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "another-secret/0123456789")
    with pytest.raises(KeyRejected):
        await cloud.ask("bedrock", client)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", AWS_SECRET)
    assert (await cloud.ask("bedrock", client)).text == TEXT


@pytest.mark.parametrize(
    "name",
    [
        "amazon.nova-2-lite-v1:0",
        "us.anthropic.claude-haiku-4-5-20251001-v1:0",
        "arn:aws:bedrock:eu-central-1:123456789012:application-inference-profile/a1b2c3",
    ],
)
async def test_every_name_of_a_model_is_quoted_and_signed(cloud: Cloud, name: str) -> None:
    """Colons and slashes of profiles and ARNs stay inside their part of the path."""
    await cloud.ask("bedrock", cloud.client("bedrock", query={"a": "b c/d"}), name=name)
    path = cloud.server.requests[-1].path
    assert path.startswith(f"/bedrock/model/{name.replace(':', '%3A').replace('/', '%2F')}/")


async def test_an_unknown_region_is_a_configuration_error(cloud: Cloud) -> None:
    """It is named with the nearest one, before anything is sent."""
    with pytest.raises(
        ValueError, match=r"providers\.cloud: region: AWS has no region 'eu-centrl-1'.*eu-central-1"
    ):
        cloud.client("bedrock", region="eu-centrl-1")


@pytest.mark.parametrize("variable", ["AWS_PROFILE", "AWS_CONFIG_FILE"])
async def test_an_aws_configuration_that_is_not_valid_is_an_error_at_the_start(
    cloud: Cloud, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, variable: str
) -> None:
    """A profile that does not exist, or a file that is none, names the provider."""
    wrong = tmp_path / "config"
    wrong.write_text("no section")
    monkeypatch.setenv(variable, "absent" if variable == "AWS_PROFILE" else str(wrong))
    bedrock._regions.cache_clear()  # as in a new process
    with pytest.raises(ValueError, match=r"providers\.cloud: the AWS configuration is not valid"):
        cloud.client("bedrock")


@pytest.mark.parametrize(
    ("dialect", "module", "extra"),
    [
        ("azure", "azure.identity", "azure"),
        ("bedrock", "botocore.session", "bedrock"),
        ("vertex", "google.auth", "vertex"),
    ],
)
async def test_a_missing_library_is_named_by_its_extra(
    cloud: Cloud, monkeypatch: pytest.MonkeyPatch, dialect: str, module: str, extra: str
) -> None:
    """At the start, and only where it is needed: Azure and Vertex with a key do without."""
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(ValueError, match=rf"providers\.cloud: .*assay-judge\[server,{extra}\]"):
        cloud.client(dialect)
    if dialect != "bedrock":
        monkeypatch.setenv("CLOUD_KEY", "cloud-0123456789-key")
        client = cloud.client(dialect, api_key_env="CLOUD_KEY")
        assert (await cloud.ask(dialect, client)).text == TEXT


async def test_the_old_token_serves_while_a_new_one_cannot_be_had() -> None:
    """Within the margin before its end a failed renewal costs no call."""
    results: list[tuple[str, float] | Exception] = [("old", time.time() + EXPIRY_MARGIN_S / 2)]

    def fetch() -> tuple[str, float]:
        result = results.pop(0)
        if isinstance(result, Exception):
            raise result
        return result

    renewed = Renewed("cloud", fetch)
    assert await renewed.value() == "old"
    results.append(ConnectionError("down"))
    assert await renewed.value() == "old"
    renewed.forget()
    results.append(ConnectionError("down"))
    with pytest.raises(ProviderDown):
        await renewed.value()


async def test_waiting_callers_get_errors_of_their_own() -> None:
    """One fetch that fails is one error for each: what is noted on one is not on the other."""

    def fetch() -> tuple[str, float]:
        raise LookupError("none")

    renewed = Renewed("cloud", fetch)
    failures = await asyncio.gather(renewed.value(), renewed.value(), return_exceptions=True)
    assert all(isinstance(failure, ModelError) for failure in failures)
    assert failures[0] is not failures[1]
