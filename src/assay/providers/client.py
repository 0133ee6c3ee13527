"""One HTTP call to a provider: pooled, bounded in time and size, with failures as `ModelError`s.

Two clocks run. The deadline bounds the whole call. The *silence timeout* bounds the wait for the
next byte: a judge may write for a long time, but a silent one is dropped. A model that thinks has
a time of its own until its answer begins, counted from the response head, or from the request where
no head comes.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import aiohttp
from multidict import CIMultiDict
from yarl import URL

from assay.domain.errors import ConnectTimedOut, KeyRejected
from assay.domain.policy import Deadline
from assay.providers.body import Chunk, JsonPayload
from assay.providers.connect_timeout import ConnectTimeout, tracing
from assay.providers.connection_failures import connection_failure
from assay.providers.idle_timeout import idle_timeout
from assay.providers.rate_limits import rate_limit_of
from assay.providers.response_reader import ResponseReader
from assay.providers.stream_accumulator import StreamAccumulator, Timing

IDLE_S_MAX = 15.0
"""How long an idle connection is kept: less than the idle limits of providers' load balancers."""


@dataclass(frozen=True, slots=True, repr=False)
class ProviderConfig:
    """How to reach a provider; `api_key` is called for each request, so that a key can rotate.

    Without `stream`, `silence_timeout_s` bounds the whole answer. `output_limit_field` names the
    field of the output limit for OpenAI-compatible servers (None: chosen by host). `base_url` is an
    http(s) URL without a query.
    """

    provider: str
    base_url: str
    api_key: Callable[[], str | None] = lambda: None
    silence_timeout_s: float = 5.0
    connect_timeout_s: float = 1.0
    connections_max: int = 200
    stream: bool = True
    headers: Mapping[str, str] = field(default_factory=dict)
    output_limit_field: str | None = None

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
        headers: Callable[[str | None], Mapping[str, str]],
        body: list[Chunk],
        accumulator: StreamAccumulator,
        deadline: Deadline,
        thinking_s: float | None = None,
    ) -> Timing:
        """Send `body`, and read the answer into `accumulator`.

        `thinking_s` is how long a model that thinks may take until its answer begins.

        `headers` makes the dialect's headers from the key; `body` is emptied as it is sent. A
        cancelled call closes its connection. Raises the `ModelError` that a failure means.
        """
        config, key = self.config, self._key()
        idle = idle_timeout(config.provider, deadline, config.silence_timeout_s, thinking_s)
        async with idle as timeout, self._slots:
            timeout.send()
            async with self._response(path, headers(key), body) as response:
                if config.stream:
                    timeout.wait()
                accumulator.rate_limit = rate_limit_of(response.headers)
                reader = ResponseReader(
                    response, accumulator, timeout, secret=key, stream=config.stream
                )
                await reader.read_response()
        return Timing(
            (timeout.first_byte_s - timeout.sent_s) * 1_000,
            (timeout.ended_s - timeout.sent_s) * 1_000,
        )

    async def aclose(self) -> None:
        """Close the pool."""
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    def _key(self) -> str | None:
        key = (self.config.api_key() or "").strip()
        if not (key.isascii() and (key.isprintable() or not key)):
            raise KeyRejected(f"the key of {self.config.provider} cannot be sent in a header")
        return key or None

    @asynccontextmanager
    async def _response(
        self, path: str, headers: Mapping[str, str], body: list[Chunk]
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        response = await self._request(path, headers, body)
        try:
            yield response
        except BaseException:
            # The rest is not wanted, and a closed connection tells the provider so.
            response.close()
            raise
        response.release()

    async def _request(
        self, path: str, headers: Mapping[str, str], body: list[Chunk]
    ) -> aiohttp.ClientResponse:
        provider = self.config.provider
        sent = CIMultiDict(self.config.headers)
        sent.update(headers)
        limit_s = self.config.connect_timeout_s
        try:
            async with asyncio.timeout(None) as timeout:
                connect_timeout = ConnectTimeout(timeout, limit_s)
                try:
                    return await self._pool().post(
                        URL(f"{self._base_url}/{path}", encoded=True),
                        data=JsonPayload(body),
                        headers=sent,
                        allow_redirects=False,
                        trace_request_ctx=connect_timeout,
                    )
                finally:
                    connect_timeout.stop()
        except TimeoutError:
            raise ConnectTimedOut(f"{provider}: no connection within {limit_s:g} s") from None
        except (aiohttp.ClientError, OSError, ValueError) as error:
            raise connection_failure(provider, error) from None

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
