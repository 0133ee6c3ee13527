"""One HTTP call to a provider: pooled, bounded in time and size, with failures as `ModelError`s.

Two clocks run. The deadline bounds the whole call. The *silence timeout* bounds the wait for the
next byte: a judge may write for a long time, but a silent one is dropped. A model that thinks has
a time of its own until its answer begins, counted from the response head, or from the request where
no head comes.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl, quote, urlencode

import aiohttp
from multidict import CIMultiDict
from yarl import URL

from assay.domain.errors import ConnectTimedOut, KeyRejected
from assay.domain.ids import random_hex
from assay.domain.policy import Deadline
from assay.domain.traces import JUDGE_STATE, JUDGING
from assay.providers.body import Chunk, JsonPayload
from assay.providers.connect_timeout import ConnectTimeout, tracing
from assay.providers.connection_failures import connection_failure
from assay.providers.credentials import Credentials, OutgoingRequest
from assay.providers.idle_timeout import idle_timeout
from assay.providers.rate_limits import quota_left
from assay.providers.response_reader import ResponseReader
from assay.providers.stream_accumulator import StreamAccumulator, Timing

IDLE_S_MAX = 15.0
"""How long an idle connection is kept: less than the idle limits of providers' load balancers."""


@dataclass(frozen=True, slots=True, repr=False)
class ProviderConfig:
    """How to reach a provider; what can rotate is called for each request.

    `credentials` take the place of `api_key`. `headers`, `query` and `body` are sent besides what
    the dialect sends, which wins. `secrets` are masked in the provider's errors. Without `stream`,
    `silence_timeout_s` bounds the whole answer. `output_limit_field` names the field of the output
    limit for OpenAI-compatible servers (None: chosen by host). `base_url` is an http(s) URL without
    a query.
    """

    provider: str
    base_url: str
    api_key: Callable[[], str | None] = lambda: None
    silence_timeout_s: float = 5.0
    connect_timeout_s: float = 1.0
    connections_max: int = 200
    stream: bool = True
    output_limit_field: str | None = None
    credentials: Credentials | None = None
    headers: Callable[[], Mapping[str, str]] = dict
    query: Callable[[], Mapping[str, str]] = dict
    body: Callable[[], Mapping[str, Any]] = dict
    proxy: Callable[[], str | None] = lambda: None
    tls: Callable[[], ssl.SSLContext | bool] = lambda: True
    secrets: Callable[[], Sequence[str]] = tuple

    def __repr__(self) -> str:
        url = str(URL(self.base_url).with_user(None).with_query(None))
        return f"ProviderConfig(provider={self.provider!r}, base_url={url!r}, stream={self.stream})"


class ProviderClient:
    """The pooled session of one provider; close it with `aclose`."""

    def __init__(self, config: ProviderConfig) -> None:
        self.config = config
        self._base_url = config.base_url.rstrip("/")
        self._session: aiohttp.ClientSession | None = None
        # Calls wait for the pool here and not in aiohttp: a full pool is not a silent provider.
        self._slots = asyncio.Semaphore(config.connections_max)

    def __repr__(self) -> str:
        return f"ProviderClient({self.config!r})"

    async def post(
        self,
        path: str,
        headers: Mapping[str, str],
        credentials: Credentials,
        body: list[Chunk],
        accumulator: StreamAccumulator,
        deadline: Deadline,
        thinking_s: float | None = None,
    ) -> Timing:
        """Send `body`, and read the answer into `accumulator`.

        `thinking_s` is how long a model that thinks may take until its answer begins.

        `headers` are the dialect's; `body` is emptied as it is sent. A cancelled call closes its
        connection. Raises the `ModelError` that a failure means.
        """
        config = self.config
        idle = idle_timeout(config.provider, deadline, config.silence_timeout_s, thinking_s)
        try:
            async with idle as timeout, self._slots:
                request, secrets = await self._authorised(path, headers, credentials, body)
                timeout.send()
                async with self._response(request) as response:
                    if config.stream:
                        timeout.wait()
                    accumulator.quota_left = quota_left(response.headers)
                    reader = ResponseReader(
                        response, accumulator, timeout, secrets=secrets, stream=config.stream
                    )
                    await reader.read_response()
        except KeyRejected:
            credentials.forget()
            raise
        return Timing(
            (timeout.first_byte_s - timeout.sent_s) * 1_000,
            (timeout.ended_s - timeout.sent_s) * 1_000,
        )

    async def aclose(self) -> None:
        """Close the pool."""
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    async def _authorised(
        self,
        path: str,
        headers: Mapping[str, str],
        credentials: Credentials,
        body: list[Chunk],
    ) -> tuple[OutgoingRequest, Sequence[str]]:
        """The request as it is sent, and the secrets in it; the dialect's fields win."""
        config = self.config
        path, _, own_query = path.partition("?")
        # In the form that signatures are made over.
        query = urlencode(
            {**config.query(), **dict(parse_qsl(own_query))}, safe="", quote_via=quote
        )
        url = f"{self._base_url}/{path}?{query}".rstrip("?")
        sent = CIMultiDict(config.headers())
        sent.update(headers)
        if trace_id := JUDGING.get():
            sent["traceparent"] = f"00-{trace_id}-{random_hex(8)}-00"
            sent["tracestate"] = JUDGE_STATE
        authorising = await credentials.headers(OutgoingRequest(url, sent, body))
        sent.update(authorising)
        for value in sent.values():
            if not (value.isascii() and value.isprintable()):
                raise KeyRejected(f"the key of {config.provider} cannot be sent in a header")
        # What follows the scheme of a header is its secret.
        secrets = [value.rpartition(" ")[2] for value in authorising.values()]
        return OutgoingRequest(url, sent, body), [*secrets, *config.secrets()]

    @asynccontextmanager
    async def _response(self, request: OutgoingRequest) -> AsyncIterator[aiohttp.ClientResponse]:
        response = await self._send(request)
        try:
            yield response
        except BaseException:
            # The rest is not wanted, and a closed connection tells the provider so.
            response.close()
            raise
        response.release()

    async def _send(self, request: OutgoingRequest) -> aiohttp.ClientResponse:
        config, limit_s = self.config, self.config.connect_timeout_s
        try:
            async with asyncio.timeout(None) as timeout:
                connect_timeout = ConnectTimeout(timeout, limit_s)
                try:
                    return await self._pool().post(
                        URL(request.url, encoded=True),
                        data=JsonPayload(request.body),
                        headers=request.headers,
                        allow_redirects=False,
                        proxy=config.proxy(),
                        ssl=config.tls(),
                        trace_request_ctx=connect_timeout,
                    )
                finally:
                    connect_timeout.stop()
        except TimeoutError:
            waited = f"{config.provider}: no connection within {limit_s:g} s"
            raise ConnectTimedOut(waited) from None
        except (aiohttp.ClientError, OSError, ValueError) as error:
            raise connection_failure(config.provider, error) from None

    def _pool(self) -> aiohttp.ClientSession:
        if self._session is None:
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(
                    limit=self.config.connections_max, keepalive_timeout=IDLE_S_MAX
                ),
                # The timeouts are ours: see idle_timeout.py and connect_timeout.py.
                timeout=aiohttp.ClientTimeout(total=None),
                trace_configs=[tracing()],
                # A compressed stream is delayed by buffers on its way, and may hide a bomb.
                headers={"Accept-Encoding": "identity", "User-Agent": "assay"},
                # Some compress in any case: inflating.py bounds what they may become.
                auto_decompress=False,
                cookie_jar=aiohttp.DummyCookieJar(),
            )
        return self._session
