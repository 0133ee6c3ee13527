"""Calls to the API over HTTP."""

from __future__ import annotations

import asyncio
import random
import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self, TypeVar

import aiohttp
import orjson

from assay import __version__
from assay.client.errors import MALFORMED, NO_ANSWER, UNREACHABLE, ServiceError, service_error

RESPONSE_BYTES_MAX = 32 * 1024 * 1024
T = TypeVar("T")

RETRIED_STATUSES = frozenset({429, 503})
SUCCESSES = frozenset({200, 201, 204})
JITTER_SHARE = 0.25
KEY_CHARS_MAX = 512


@dataclass(frozen=True, slots=True, repr=False)
class ApiKey:
    """An API key that is hidden in `repr`."""

    secret: str

    @classmethod
    def from_file(cls, path: Path) -> ApiKey:
        """The key in a file, without the line end; raises `OSError` or `ValueError`."""
        return cls(path.read_text("utf-8").strip())

    def __post_init__(self) -> None:
        if not self.secret.isascii() or not self.secret.isprintable() or " " in self.secret:
            raise ValueError("the API key contains characters that no key has")
        if not 0 < len(self.secret) <= KEY_CHARS_MAX:
            raise ValueError(f"an API key has 1 to {KEY_CHARS_MAX} characters")

    def __repr__(self) -> str:
        return "ApiKey(***)"


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """How long one response may take, and how long a call is retried."""

    response_timeout_s: float = 60.0
    connect_timeout_s: float = 10.0
    retry_for_s: float = 60.0
    backoff_s: float = 0.25
    backoff_max_s: float = 8.0
    attempts_max: int = 10


class Client:
    """Requests evaluations; an async context manager that holds the connections.

    After a 429, a 503 or a lost connection, a call is retried when the service says so, or with
    exponential backoff. Each evaluation carries an Idempotency-Key, so that a retried one is
    neither judged nor paid for twice.
    """

    def __init__(
        self,
        base_url: str,
        key: ApiKey | None = None,
        *,
        retry_policy: RetryPolicy = RetryPolicy(),  # frozen
        connections_max: int = 64,
    ) -> None:
        self.base_url = base_url.rstrip("/")
        self._key = key
        self.retry_policy = retry_policy
        self._connections_max = connections_max
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        headers = {"Accept": "application/json", "User-Agent": f"assay/{__version__}"}
        if self._key is not None:
            headers["Authorization"] = f"Bearer {self._key.secret}"
        self._session = aiohttp.ClientSession(
            headers=headers,
            connector=aiohttp.TCPConnector(limit=self._connections_max),
            timeout=aiohttp.ClientTimeout(
                total=self.retry_policy.response_timeout_s,
                sock_connect=self.retry_policy.connect_timeout_s,
            ),
        )
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._session is not None:
            await self._session.close()

    @property
    def session(self) -> aiohttp.ClientSession:
        """The connections, which exist only inside the context."""
        if self._session is None:
            raise RuntimeError("use the client as an async context manager")
        return self._session

    async def evaluate(
        self,
        case: Mapping[str, Any],
        criteria: str | Mapping[str, Any] | Sequence[str | Mapping[str, Any]],
        judge: str | Mapping[str, Any] | None = None,
        *,
        timeout_ms: int | None = None,
        metadata: Mapping[str, Any] | None = None,
    ) -> dict[str, Any]:
        """The evaluation of `case` (input, output, reference, …); raises `ServiceError`."""
        extra = {"judge": judge, "timeout_ms": timeout_ms, "metadata": metadata}
        given = {name: value for name, value in extra.items() if value is not None}
        return await self.post("/v1/evaluations", {**case, "criteria": criteria, **given})

    async def post(self, path: str, body: Mapping[str, Any]) -> dict[str, Any]:
        """Post JSON and return the JSON object of the response; raises `ServiceError`."""
        content = orjson.dumps(body)
        headers = {"Content-Type": "application/json", "Idempotency-Key": uuid.uuid4().hex}

        async def attempt() -> dict[str, Any]:
            async with self.request("POST", path, data=content, headers=headers) as response:
                return json_object(await read_body(response))

        return await self.with_retries(attempt)

    async def get(self, path: str) -> dict[str, Any]:
        """The JSON object of a resource; raises `ServiceError`."""

        async def attempt() -> dict[str, Any]:
            async with self.request("GET", path) as response:
                return json_object(await read_body(response))

        return await self.with_retries(attempt)

    async def with_retries(self, attempt: Callable[[], Awaitable[T]]) -> T:
        """Attempt a call until it succeeds or the policy gives up; raises `ServiceError`."""
        give_up_s = time.monotonic() + self.retry_policy.retry_for_s
        failures = 0
        while True:
            try:
                return await attempt()
            except ServiceError as error:
                wait_s = self.wait_s(error, failures)
                failures += 1
                is_last = failures >= self.retry_policy.attempts_max
                if is_last or wait_s is None or time.monotonic() + wait_s > give_up_s:
                    raise
                await asyncio.sleep(wait_s)

    @asynccontextmanager
    async def request(
        self, method: str, path: str, **options: Any
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        """One request, whose response is read in the block; raises `ServiceError`."""
        try:
            # A redirect would carry the key and the caller's texts to another host.
            async with self.session.request(
                method, self.base_url + path, allow_redirects=False, **options
            ) as response:
                if response.status not in SUCCESSES:
                    after = response.headers.get("Retry-After")
                    raise service_error(response.status, await read_body(response), after)
                yield response
        except (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError) as error:
            raise ServiceError(UNREACHABLE, _brief(error)) from error
        except (aiohttp.ClientError, OSError) as error:
            raise ServiceError(NO_ANSWER, _brief(error)) from error

    def wait_s(self, error: ServiceError, failures: int) -> float | None:
        """Seconds until the next attempt, with jitter; None if another attempt would not help."""
        if error.status not in RETRIED_STATUSES and error.code not in (UNREACHABLE, NO_ANSWER):
            return None
        policy = self.retry_policy
        backoff_s = min(policy.backoff_s * 2.0**failures, policy.backoff_max_s)
        wait_s = backoff_s if error.retry_after_s is None else error.retry_after_s
        return wait_s * (1 + JITTER_SHARE * random.random())  # noqa: S311  # no secret


async def read_body(response: aiohttp.ClientResponse) -> bytes:
    """The whole body; raises `ServiceError` if it is too long."""
    body = bytearray()
    async for chunk in response.content.iter_any():
        body += chunk
        if len(body) > RESPONSE_BYTES_MAX:
            raise ServiceError(MALFORMED, "The response is too long.", status=response.status)
    return bytes(body)


def json_object(body: bytes) -> dict[str, Any]:
    """The JSON object in a body; raises `ServiceError`."""
    try:
        value = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise ServiceError(MALFORMED, f"The response is not JSON: {error}", status=200) from error
    if not isinstance(value, dict):
        raise ServiceError(MALFORMED, "The response is not a JSON object.", status=200)
    return value


def _brief(error: BaseException) -> str:
    """Type and message of a connection error, cut to a line."""
    return f"{type(error).__name__}: {error}"[:200]
