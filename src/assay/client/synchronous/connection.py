"""Made from `assay.client.asynchronous` by bin/sync-client: change it there."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import Any, Generic, Self, TypeVar

import httpx2

from assay.client import wire
from assay.client.ordered import sleep
from assay.client.wire import RetryPolicy
from assay.errors import ServiceError, to_error

T = TypeVar("T")
Content = Callable[[], Iterable[bytes]]
"""A body in parts; each call begins anew, for a retry."""


class Connection:
    """The connections to a service, and how a failed call is retried."""

    def __init__(
        self,
        url: str | None = None,
        api_key: str | None = None,
        *,
        timeout_s: float = 60.0,
        retry_policy: RetryPolicy = RetryPolicy(),  # noqa: B008  # frozen
        connections_max: int = 64,
    ) -> None:
        """Without a URL or a key, those of `ASSAY_URL` and `ASSAY_API_KEY` are used.

        `timeout_s` is the longest silence of the service while a response is awaited.
        """
        self.url = wire.service_url(url)
        self.retry_policy = retry_policy
        # A redirect would carry the key and the caller's texts to another host.
        self._to_http = partial(
            httpx2.Client,
            headers=wire.call_headers(api_key),
            timeout=httpx2.Timeout(timeout_s, connect=wire.CONNECT_TIMEOUT_S, pool=None),
            limits=httpx2.Limits(max_connections=connections_max),
            follow_redirects=False,
            trust_env=wire.uses_proxies(self.url),
        )
        self._http, self._pid = self._to_http(), os.getpid()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close all connections."""
        self._http.close()

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.url.rpartition('@')[2]!r})"

    def request(
        self,
        method: str,
        path: str,
        json: Mapping[str, Any] | None = None,
        *,
        content: bytes | Content | None = None,
        query: Mapping[str, Any] | None = None,
        repeatable: bool = True,
        **options: Any,
    ) -> dict[str, Any]:
        """Any call of the API, repeated if that helps: the JSON object of its response.

        One that is not `repeatable` is never sent twice where the service may have done the work.
        `options` are those of httpx2, such as `headers` and `files`. Raises `ServiceError`.
        """
        body = content
        if json is not None:
            body = wire.to_json(json)
            options["headers"] = wire.json_headers(method, json)
            repeatable = repeatable and json.get("store") is not False

        def attempt() -> dict[str, Any]:
            sent = body() if callable(body) else body
            with self.stream(method, path, content=sent, params=query, **options) as response:
                return wire.json_object(read_body(response))

        if callable(body) and not repeatable:  # its parts can be read once
            return attempt()
        return self._with_retries(attempt, repeatable=repeatable)

    def get(self, path: str, **query: Any) -> dict[str, Any]:
        """The JSON object of a resource; raises `ServiceError`."""
        return self.request("GET", path, query=wire.given(**query))

    def post(self, path: str, **body: Any) -> dict[str, Any]:
        """Post those of the fields that are given; raises `ServiceError`."""
        return self.request("POST", path, json=wire.given(**body))

    def _with_retries(self, attempt: Callable[[], T], *, repeatable: bool) -> T:
        give_up_s = time.monotonic() + self.retry_policy.retry_for_s
        failures = 0
        while True:
            try:
                return attempt()
            except ServiceError as error:
                wait_s = self.retry_policy.wait_s(error, failures, repeatable=repeatable)
                failures += 1
                is_last = failures >= self.retry_policy.attempts_max
                if is_last or wait_s is None or time.monotonic() + wait_s > give_up_s:
                    raise
                sleep(wait_s)

    @contextmanager
    def stream(self, method: str, path: str, **options: Any) -> Iterator[httpx2.Response]:
        """One request, whose response is read in the block; raises `ServiceError`."""
        if self._pid != os.getpid():
            # A fork shares the connections of its parent, and would read the parent's responses.
            self._http, self._pid = self._to_http(), os.getpid()
        try:
            with self._http.stream(method, self.url + path, **options) as response:
                if not response.is_success:
                    after = response.headers.get("Retry-After")
                    raise wire.error_in(response.status_code, read_body(response), after)
                yield response
        except (httpx2.ConnectError, httpx2.ConnectTimeout) as error:
            raise to_error("unreachable", wire.brief(error)) from error
        except httpx2.TimeoutException as error:
            raise to_error("no_answer", wire.brief(error)) from error
        except httpx2.RequestError as error:
            raise to_error("connection_lost", wire.brief(error)) from error


def read_body(response: httpx2.Response) -> bytes:
    """The whole body; raises `ServiceError` if it is too long."""
    body = bytearray()
    for chunk in response.iter_bytes():
        body += chunk
        if len(body) > wire.RESPONSE_BYTES_MAX:
            raise wire.malformed("The response is too long.")
    return bytes(body)


class Pages(Generic[T]):
    """All entries of a listing, read page by page while they are iterated over."""

    def __init__(
        self,
        connection: Connection,
        path: str,
        query: Mapping[str, Any],
        read: Callable[[dict[str, Any]], T],
    ) -> None:
        self._connection = connection
        self._path = path
        self._query = query
        self._read = read

    def __iter__(self) -> Iterator[T]:
        cursor: str | None = None
        while True:
            page = self._connection.get(self._path, **{**self._query, "cursor": cursor})
            for entry in page["data"]:
                yield self._read(entry)
            if not page.get("has_more") or page["next_cursor"] == cursor:
                return
            cursor = page["next_cursor"]
