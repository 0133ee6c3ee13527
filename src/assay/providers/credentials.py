"""What authorises a request: an API key, or what a cloud's own library fetches and signs with."""

from __future__ import annotations

import asyncio
import importlib
import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeVar

from assay.domain.errors import KeyRejected, ModelError, ProviderDown
from assay.providers.body import Chunk

T = TypeVar("T")

EXPIRY_MARGIN_S = 300.0
"""How long before its end a token is renewed; until then the old one serves if that fails."""
FETCH_TIMEOUT_S = 10.0
"""Longest wait for one answer of a token endpoint, where its library takes a limit."""
_ERROR_CODE = re.compile(r"\b(AADSTS\d+|invalid_\w+|unauthorized_client|\w*ExpiredToken\w*)\b")
"""The code of an error of OAuth, Entra or AWS; the sentences around it may quote a secret."""


@dataclass(frozen=True, slots=True)
class OutgoingRequest:
    """A request that is about to be sent."""

    url: str
    headers: Mapping[str, str]
    body: list[Chunk]
    method: str = "POST"


class Credentials(Protocol):
    """Makes the headers that authorise a request."""

    async def headers(self, request: OutgoingRequest) -> Mapping[str, str]:
        """Raises `KeyRejected` without credentials, `ProviderDown` if they cannot be fetched."""

    def forget(self) -> None:
        """The provider rejected them: the next request gets new ones."""


class ProviderKey:
    """A key that is read for each request, in the header where the dialect expects it."""

    def __init__(self, key: Callable[[], str | None], header: str) -> None:
        self._key = key
        self._header = header

    async def headers(self, _request: OutgoingRequest) -> Mapping[str, str]:
        key = (self._key() or "").strip()
        if not key:
            return {}
        return {self._header: f"Bearer {key}" if self._header == "Authorization" else key}

    def forget(self) -> None:
        """A changed key is read in any case."""


class Renewed(Generic[T]):
    """What a blocking function fetches, with the time of its end; all callers share one fetch.

    It runs in a thread and goes on if a caller leaves.
    """

    def __init__(self, provider: str, fetch: Callable[[], tuple[T, float]]) -> None:
        self._provider = provider
        self._fetch = fetch
        self._kept: tuple[T, float] | None = None
        self._task: asyncio.Task[tuple[T, float]] | None = None

    async def value(self) -> T:
        kept = self._kept
        left_s = kept[1] - time.time() if kept else 0.0
        if kept and left_s > EXPIRY_MARGIN_S:
            return kept[0]
        if self._task is None:
            self._task = asyncio.create_task(asyncio.to_thread(self._fetch))
            self._task.add_done_callback(self._fetched)
        try:
            return (await asyncio.shield(self._task))[0]
        except Exception as error:  # noqa: BLE001  # each library has its own, and some wrap none
            if kept and left_s > 0:
                return kept[0]
            raise _credentials_error(self._provider, error) from None

    def forget(self) -> None:
        self._kept = None

    def _fetched(self, task: asyncio.Task[tuple[T, float]]) -> None:
        self._task = None
        if not task.cancelled() and task.exception() is None:
            self._kept = task.result()


class Token(Renewed[Mapping[str, str]]):
    """Headers with a token."""

    async def headers(self, _request: OutgoingRequest) -> Mapping[str, str]:
        return await self.value()


def import_extra(extra: str, module: str) -> Any:
    """A module of an optional library; raises `ValueError` that says how to install it."""
    try:
        return importlib.import_module(module)
    except ImportError:
        raise ValueError(
            f"needs a library that is not installed: pip install 'assay-judge[server,{extra}]'"
        ) from None


def _credentials_error(provider: str, error: BaseException) -> ModelError:
    """The network's fault or that of the credentials; without the library's own sentences."""
    found = _ERROR_CODE.search(str(error))
    name = f"{type(error).__name__}{f' ({found[1]})' if found else ''}"
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, (ConnectionError, TimeoutError)):
            return ProviderDown(f"{provider}: the credentials cannot be fetched: {name}")
        cause = cause.__cause__ or cause.__context__
    return KeyRejected(f"{provider}: there are no valid credentials: {name}")
