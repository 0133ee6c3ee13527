"""One HTTP call to a provider: pooled, bounded in time and size, its failures in our terms.

Two clocks run. The deadline bounds the whole call. The *silence timeout* bounds the wait for the
next byte, so that a judge that writes for long is heard out and one that says nothing is dropped.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import aiohttp
from multidict import CIMultiDict
from yarl import URL

from assay.domain.errors import KeyRejected, ProviderDown
from assay.domain.policy import Deadline
from assay.providers.body import Chunk, JsonPayload
from assay.providers.connect_timeout import ConnectTimeout, tracing
from assay.providers.idle_timeout import idle_timeout
from assay.providers.rate_limits import rate_limit_of
from assay.providers.response_reader import ResponseReader
from assay.providers.stream_accumulator import StreamAccumulator, Timing

IDLE_S_MAX = 15.0
"""How long a pooled connection is kept, below the idle limits of providers' load balancers."""


@dataclass(frozen=True, slots=True, repr=False)
class ProviderConfig:
    """How to reach a provider; `api_key` is asked for each call, so a rotated key is picked up.

    With `stream` false, `silence_timeout_s` bounds the whole answer. `output_limit_field` names
    the field of the output limit for OpenAI-compatible servers (None: chosen by host). Raises
    `ValueError` for a `base_url` that is no http(s) address.
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

    def __post_init__(self) -> None:
        try:
            url = URL(self.base_url)
        except ValueError:
            url = URL()
        if url.scheme not in ("http", "https") or not url.host:
            raise ValueError(f"the base_url of {self.provider} is not an http(s) address")

    def __repr__(self) -> str:
        url = str(URL(self.base_url).with_user(None).with_query(None))
        return f"Connection(provider={self.provider!r}, base_url={url!r}, stream={self.stream})"


class ProviderClient:
    """The pooled session of one provider; close it with `aclose`."""

    def __init__(self, connection: ProviderConfig) -> None:
        self.connection = connection
        self._base_url = connection.base_url.rstrip("/")
        self._session: aiohttp.ClientSession | None = None
        # The pool is waited for here rather than in aiohttp: a full pool is not a silent provider.
        self._slots = asyncio.Semaphore(connection.connections_max)

    def __repr__(self) -> str:
        return f"Wire({self.connection!r})"

    async def post(
        self,
        path: str,
        headers: Callable[[str | None], Mapping[str, str]],
        body: list[Chunk],
        accumulator: StreamAccumulator,
        deadline: Deadline,
    ) -> Timing:
        """Send `body`, and let `accumulator` read the answer.

        A cancelled call closes its connection.

        `headers` makes the dialect's headers from the key; `body` is emptied as it is sent. Raises
        the `ModelError` that a failure means.
        """
        key, stream = self._key(), self.connection.stream
        provider, silence_s = self.connection.provider, self.connection.silence_timeout_s
        async with idle_timeout(provider, deadline, silence_s) as watch, self._slots:
            watch.send()
            async with self._response(path, headers(key), body) as response:
                if stream:
                    watch.received()
                accumulator.rate_limit = rate_limit_of(response.headers)
                receiver = ResponseReader(
                    response, accumulator, watch, provider=provider, secret=key, stream=stream
                )
                await receiver.read_response()
        return Timing(
            (watch.first_byte_s - watch.sent_s) * 1_000, (watch.ended_s - watch.sent_s) * 1_000
        )

    async def aclose(self) -> None:
        """Close the pool."""
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    def _key(self) -> str | None:
        key = (self.connection.api_key() or "").strip()
        if not (key.isascii() and (key.isprintable() or not key)):
            raise KeyRejected(f"the key of {self.connection.provider} cannot be sent in a header")
        return key or None

    @asynccontextmanager
    async def _response(
        self, path: str, headers: Mapping[str, str], body: list[Chunk]
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        response = await self._request(path, headers, body)
        try:
            yield response
        except BaseException:
            # Whatever was still to come is not wanted: the provider sees us go.
            response.close()
            raise
        response.release()

    async def _request(
        self, path: str, headers: Mapping[str, str], body: list[Chunk]
    ) -> aiohttp.ClientResponse:
        provider = self.connection.provider
        sent = CIMultiDict(self.connection.headers)
        sent.update(headers)
        limit_s = self.connection.connect_timeout_s
        try:
            async with asyncio.timeout(None) as timeout:
                patience = ConnectTimeout(timeout, limit_s)
                try:
                    return await self._pool().post(
                        URL(f"{self._base_url}/{path}", encoded=True),
                        data=JsonPayload(body),
                        headers=sent,
                        allow_redirects=False,
                        trace_request_ctx=patience,
                    )
                finally:
                    patience.stop()
        except TimeoutError:
            raise ProviderDown(f"{provider} took no connection within {limit_s:g} s") from None
        except aiohttp.ClientSSLError:
            raise ProviderDown(f"{provider} failed the TLS handshake") from None
        except ValueError:
            raise ProviderDown(f"the address or a header for {provider} is not valid") from None
        except (aiohttp.ClientError, OSError) as error:
            # The kind says refused, reset or unresolved; the text could hold an address.
            kind = type(error).__name__
            raise ProviderDown(f"{provider} did not take the request ({kind})") from None

    def _pool(self) -> aiohttp.ClientSession:
        if self._session is None:
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(
                    limit=self.connection.connections_max, keepalive_timeout=IDLE_S_MAX
                ),
                # The clocks are ours: see watch.py and patience.py.
                timeout=aiohttp.ClientTimeout(total=None),
                trace_configs=[tracing()],
                # A compressed stream would be held back on its way, and could hide a bomb.
                headers={"Accept-Encoding": "identity", "User-Agent": "assay"},
                cookie_jar=aiohttp.DummyCookieJar(),
            )
        return self._session
