"""One HTTP call to a provider: pooled, bounded in time and size, with failures as `ModelError`s.

Two clocks run. The deadline bounds the whole call. The *silence timeout* bounds the wait for the
next byte: a judge may write for a long time, but a silent one is dropped. A model that thinks has
a time of its own until its answer begins, counted from the response head, or from the request where
no head comes.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import Any, Self
from urllib.parse import parse_qsl, quote, urlencode

import aiohttp
from aiohttp.abc import AbstractResolver
from multidict import CIMultiDict
from yarl import URL

from assay.domain.errors import (
    ConnectTimedOut,
    KeyRejected,
    ModelError,
    ProviderSilent,
    StreamBroken,
)
from assay.domain.policy import Deadline
from assay.providers.body import Chunk, JsonPayload
from assay.providers.connect_timeout import ConnectTimeout, tracing
from assay.providers.connection_failures import connection_failure
from assay.providers.credentials import Credentials, OutgoingRequest
from assay.providers.failures import Dialect, ProviderError, failure
from assay.providers.idle_timeout import IdleTimeout
from assay.providers.inflating import reader_of
from assay.providers.rate_limits import quota_left
from assay.providers.response_reader import ERROR_BYTES_MAX, ResponseReader, json_or_text
from assay.providers.stream_accumulator import StreamAccumulator, Timing

IDLE_S_MAX = 15.0
"""How long an idle connection is kept: less than the idle limits of providers' load balancers."""
EXCHANGE_SILENCE_S = 60.0
"""Longest wait for the next bytes of a response about a job."""
LARGE_CHARS = 256 * 1024
UPLOADS_MAX = 32
"""How many larger prompts are serialised and sent at once. The others wait without a second copy
of their text, which would be too much memory where hundreds arrive together."""
UPLOAD_S_MAX = 10.0
UPLOAD_BYTES_PER_S = 256 * 1024
"""A job that is sent more slowly is given up."""


@dataclass(frozen=True, slots=True, repr=False)
class ProviderConfig:
    """How to reach a provider; what can rotate is called for each request.

    `credentials` take the place of `api_key`. `headers`, `query` and `body` are sent besides what
    the dialect sends, which wins. `secrets` are masked in the provider's errors. Without `stream`,
    `silence_timeout_s` bounds the whole answer. `output_limit_field` names the field of the output
    limit for OpenAI-compatible servers (None: chosen by host). `base_url` is an http(s) URL without
    a query. A `resolver` says which addresses may be called.
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
    resolver: AbstractResolver | None = None

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
        self._uploads = asyncio.Semaphore(UPLOADS_MAX)

    def __repr__(self) -> str:
        return f"ProviderClient({self.config!r})"

    async def post(
        self,
        path: str,
        headers: Mapping[str, str],
        credentials: Credentials,
        body: Callable[[], list[Chunk]],
        accumulator: StreamAccumulator,
        deadline: Deadline,
        thinking_s: float | None = None,
        *,
        size: int,
    ) -> Timing:
        """Send `body`, whose text has `size` characters, and read the answer into `accumulator`.

        `thinking_s` is how long a model that thinks may take until its answer begins.

        `headers` are the dialect's; `body` is made when it can be sent, and emptied as it is. A
        cancelled call closes its connection. Raises the `ModelError` that a failure means.
        """
        config = self.config
        idle = IdleTimeout(config.provider, deadline, config.silence_timeout_s, thinking_s)
        try:
            async with idle as timeout, self._slots, _Upload(self._uploads, size) as upload:
                request, secrets = await self._authorised(
                    OutgoingRequest(path, headers, body()), credentials
                )
                timeout.send()
                response = await self._send(request, upload.end)
                try:
                    if config.stream:
                        timeout.wait()
                    accumulator.quota_left = quota_left(response.headers)
                    reader = ResponseReader(
                        response, accumulator, timeout, secrets=secrets, stream=config.stream
                    )
                    await reader.read_response()
                except BaseException:
                    # The rest is not wanted, and a closed connection tells the provider so.
                    response.close()
                    raise
                response.release()
        except KeyRejected:
            credentials.forget()
            raise
        return Timing(
            (timeout.first_byte_s - timeout.sent_s) * 1_000,
            (timeout.ended_s - timeout.sent_s) * 1_000,
        )

    @asynccontextmanager
    async def exchange(
        self,
        request: OutgoingRequest,
        credentials: Credentials,
        dialect: Dialect,
    ) -> AsyncIterator[Callable[[], Awaitable[bytes]]]:
        """Send any request, whose URL is a path; yields what reads the next bytes of the response.

        Raises the `ModelError` that a failure means.
        """
        provider = self.config.provider
        try:
            upload_s = sum(map(len, request.body)) / UPLOAD_BYTES_PER_S
            async with asyncio.timeout(EXCHANGE_SILENCE_S + upload_s) as timeout, self._slots:
                request, secrets = await self._authorised(request, credentials)
                response = await self._send(request)
                read_next = reader_of(response)

                async def read() -> bytes:
                    timeout.reschedule(asyncio.get_running_loop().time() + EXCHANGE_SILENCE_S)
                    return await read_next()

                try:
                    if (error := await _error_of(response, read)) is not None:
                        raise failure(provider, dialect, error, secrets)  # noqa: TRY301  # closes it
                    yield read
                except BaseException:
                    response.close()
                    raise
                response.release()
        except ModelError as error:
            if isinstance(error, KeyRejected):
                credentials.forget()
            raise
        except TimeoutError:
            raise ProviderSilent(f"{provider} was silent for too long") from None
        except (aiohttp.ClientError, ConnectionError):
            raise StreamBroken(f"{provider} broke off its answer") from None

    async def aclose(self) -> None:
        """Close the pool."""
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    async def _authorised(
        self, request: OutgoingRequest, credentials: Credentials
    ) -> tuple[OutgoingRequest, Sequence[str]]:
        """The request as it is sent, and the secrets in it; the dialect's fields win."""
        config = self.config
        path, _, own_query = request.url.partition("?")
        # In the form that signatures are made over.
        own = dict(parse_qsl(own_query, keep_blank_values=True))
        query = urlencode({**config.query(), **own}, safe="", quote_via=quote)
        url = f"{self._base_url}/{path}?{query}".rstrip("?")
        sent = CIMultiDict(config.headers())
        sent.update(request.headers)
        request = replace(request, url=url, headers=sent)
        authorising = await credentials.headers(request)
        sent.update(authorising)
        for value in sent.values():
            if not (value.isascii() and value.isprintable()):
                raise KeyRejected(f"the key of {config.provider} cannot be sent in a header")
        # What follows the scheme of a header is its secret.
        secrets = [value.rpartition(" ")[2] for value in authorising.values()]
        return request, [*secrets, *config.secrets()]

    async def _send(
        self, request: OutgoingRequest, written: Callable[[], None] = lambda: None
    ) -> aiohttp.ClientResponse:
        config, limit_s = self.config, self.config.connect_timeout_s
        try:
            async with asyncio.timeout(None) as timeout:
                connect_timeout = ConnectTimeout(timeout, limit_s)
                try:
                    return await self._pool().request(
                        request.method,
                        URL(request.url, encoded=True),
                        data=JsonPayload(request.body, written) if request.body else None,
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
                    limit=self.config.connections_max,
                    keepalive_timeout=IDLE_S_MAX,
                    resolver=self.config.resolver,
                    # A checked address is used at once, and never again.
                    use_dns_cache=self.config.resolver is None,
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


class _Upload:
    """One of the large prompts that are sent at once, until it is written.

    A provider that does not read is waited for only so long: it must not hold up other models.
    """

    def __init__(self, slots: asyncio.Semaphore, size: int) -> None:
        self._slots = slots if size >= LARGE_CHARS else None
        self._timer: asyncio.TimerHandle | None = None

    async def __aenter__(self) -> Self:
        if self._slots is not None:
            await self._slots.acquire()
            self._timer = asyncio.get_running_loop().call_later(UPLOAD_S_MAX, self.end)
        return self

    async def __aexit__(self, *_: object) -> None:
        self.end()

    def end(self) -> None:
        slots, self._slots = self._slots, None
        if slots is not None and self._timer is not None:
            self._timer.cancel()
            slots.release()


async def _error_of(
    response: aiohttp.ClientResponse, read: Callable[[], Awaitable[bytes]]
) -> ProviderError | None:
    """What the response says if its status is that of an error."""
    if response.status // 100 == 2:  # noqa: PLR2004  # the class of the status
        return None
    body = json_or_text((await read())[:ERROR_BYTES_MAX])
    return ProviderError.read(response.status, body, response.headers)
