"""Token endpoints of Entra, Google and AWS: they check what comes, and give what fakes accept."""

from __future__ import annotations

import asyncio
import datetime as dt
import json
import ssl
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Self

import jwt
from aiohttp import web
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from fakes.providers.clouds import AWS_KEYS, TOKENS

TENANT, CLIENT_ID, CLIENT_SECRET = "tenant-1", "client-1", "entra~secret.0123456789"
ROLE, POD_TOKEN = "arn:aws:iam::123456789012:role/assay", "pod-token"
ACCOUNT = "judge@acme-1.iam.gserviceaccount.com"
ENTRA_SCOPES = ("https://cognitiveservices.azure.com/.default",)
GOOGLE_SCOPE = "https://www.googleapis.com/auth/cloud-platform"
GOOGLE_AUDIENCE = "https://oauth2.googleapis.com/token"
JWT_GRANT = "urn:ietf:params:oauth:grant-type:jwt-bearer"
_KEY = rsa.generate_private_key(public_exponent=65537, key_size=2048)


async def _close(_: web.Request, response: web.StreamResponse) -> None:
    """No connection is kept: some clients never close theirs, and the server's would outlive it."""
    response.force_close()


@dataclass
class TokenServer:
    """Both endpoints on one port; `tokens` are those it has issued, which fakes accept."""

    tls: ssl.SSLContext | None = None
    lifetime_s: int = 3_600
    latency_s: float = 0.0
    count: int = 0
    refused: list[str] = field(default_factory=list)
    port: int = 0

    async def __aenter__(self) -> Self:
        app = web.Application()
        app.router.add_get("/{tenant}/v2.0/.well-known/openid-configuration", self._discovery)
        app.router.add_post("/{tenant}/oauth2/v2.0/token", self._entra)
        app.router.add_post("/google/token", self._google)
        app.router.add_post("/", self._sts)
        app.on_response_prepare.append(_close)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0, ssl_context=self.tls)
        await site.start()
        self.port = self._runner.addresses[0][1]
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._runner.cleanup()
        TOKENS.clear()

    @property
    def url(self) -> str:
        return f"{'https' if self.tls else 'http'}://localhost:{self.port}"

    def service_account(self) -> str:
        """The content of a Google key file that names this server."""
        pem = _KEY.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
        return json.dumps(
            {
                "type": "service_account",
                "project_id": "acme-1",
                "private_key_id": "k-1",
                "private_key": pem.decode(),
                "client_email": ACCOUNT,
                "token_uri": f"{self.url}/google/token",
            }
        )

    async def _discovery(self, request: web.Request) -> web.Response:
        base = f"{self.url}/{request.match_info['tenant']}"
        return web.json_response(
            {
                "issuer": f"{base}/v2.0",
                "authorization_endpoint": f"{base}/oauth2/v2.0/authorize",
                "token_endpoint": f"{base}/oauth2/v2.0/token",
            }
        )

    async def _entra(self, request: web.Request) -> web.Response:
        form = dict(await request.post())
        expected = {
            "grant_type": "client_credentials",
            "client_id": CLIENT_ID,
            "client_secret": CLIENT_SECRET,
        }
        asked = str(form.get("scope", "")).split()
        if not expected.items() <= form.items() or not _within(asked, ENTRA_SCOPES):
            said = f"AADSTS7000215: Invalid client secret provided: {form.get('client_secret')}"
            return self._refuse({"error": "invalid_client", "error_description": said}, 401)
        return await self._issue()

    async def _google(self, request: web.Request) -> web.Response:
        form = dict(await request.post())
        try:
            claims = jwt.decode(
                str(form["assertion"]),
                _KEY.public_key(),
                algorithms=["RS256"],
                audience=GOOGLE_AUDIENCE,
                issuer=ACCOUNT,
            )
        except (KeyError, jwt.InvalidTokenError) as error:
            said = f"Invalid JWT: {error}"
            return self._refuse({"error": "invalid_grant", "error_description": said}, 400)
        if form.get("grant_type") != JWT_GRANT or claims["scope"] != GOOGLE_SCOPE:
            return self._refuse({"error": "invalid_scope"}, 400)
        return await self._issue()

    async def _sts(self, request: web.Request) -> web.Response:
        form = dict(await request.post())
        expected = {
            "Action": "AssumeRoleWithWebIdentity",
            "RoleArn": ROLE,
            "WebIdentityToken": POD_TOKEN,
        }
        if not expected.items() <= form.items():
            body = (
                "<ErrorResponse><Error><Code>ExpiredTokenException</Code></Error></ErrorResponse>"
            )
            return web.Response(text=body, status=400, content_type="text/xml")
        self.count += 1
        [(key, secret)] = AWS_KEYS.items()
        end = dt.datetime.now(dt.UTC) + dt.timedelta(seconds=self.lifetime_s)
        body = (
            "<AssumeRoleWithWebIdentityResponse><AssumeRoleWithWebIdentityResult><Credentials>"
            f"<AccessKeyId>{key}</AccessKeyId><SecretAccessKey>{secret}</SecretAccessKey>"
            f"<SessionToken>session-{self.count}</SessionToken>"
            f"<Expiration>{end:%Y-%m-%dT%H:%M:%SZ}</Expiration></Credentials>"
            "</AssumeRoleWithWebIdentityResult></AssumeRoleWithWebIdentityResponse>"
        )
        return web.Response(text=body, content_type="text/xml")

    def _refuse(self, body: dict[str, str], status: int) -> web.Response:
        self.refused.append(body["error"])
        return web.json_response(body, status=status)

    async def _issue(self) -> web.Response:
        self.count += 1
        await asyncio.sleep(self.latency_s)
        token = f"token-{self.count}-{time.time_ns()}"
        TOKENS.add(token)
        body = {"access_token": token, "token_type": "Bearer", "expires_in": self.lifetime_s}
        return web.json_response(body)


def _within(asked: Iterable[str], allowed: Iterable[str]) -> bool:
    return bool(asked) and set(asked) - {"openid", "profile", "offline_access"} <= set(allowed)
