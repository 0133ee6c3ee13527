"""Fetches the images that cases name by URL: from listed hosts, bounded, from checked addresses."""

from __future__ import annotations

import asyncio
import ipaddress
import socket
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, nullcontext

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult
from aiohttp.resolver import ThreadedResolver
from yarl import URL

from assay.domain.errors import InputUnavailable, InputUnsupported
from assay.domain.evaluation import Case
from assay.domain.images import IMAGE_BYTES_MAX, TOO_LARGE, Image, ImageFault
from assay.domain.policy import Deadline
from assay.domain.targets import AllowedHosts, TargetRefused, is_public

FETCH_S_MAX = 5.0
"""One image; a judge needs the rest of the deadline."""
CASE_BYTES_MAX = 4 * IMAGE_BYTES_MAX
"""Fetched bytes of one case."""
CASES_MAX = 16
"""Cases with fetched images in this process at a time: a small request may name many bytes."""
ACCEPTED = 200
TRANSIENT_STATUSES = (408, 425, 429)
SERVER_ERRORS = range(500, 600)


class PublicResolver(AbstractResolver):
    """Resolves names, and refuses those with an address outside the public Internet.

    The connection goes to the addresses that are checked here: a name that changes its address
    between the check and the call gains nothing. The hosts in `private` may have any address.
    """

    def __init__(
        self, resolver: AbstractResolver | None = None, private: frozenset[str] = frozenset()
    ) -> None:
        self._resolver = resolver or ThreadedResolver()
        self._private = private

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        """All addresses of the name; raises `TargetRefused` if one of them is not public."""
        found = await self._resolver.resolve(host, port, family)
        addresses = [result["host"].partition("%")[0] for result in found]
        public = found and all(is_public(ipaddress.ip_address(address)) for address in addresses)
        if not public and host not in self._private:
            raise TargetRefused("the name resolves to a private address")
        return found

    async def close(self) -> None:
        await self._resolver.close()


class ImageFetcher:
    """Fetches the images of cases; close it with `aclose`."""

    def __init__(self, hosts: AllowedHosts, resolver: AbstractResolver | None = None) -> None:
        self._hosts = hosts
        self._resolver = resolver
        self._session: aiohttp.ClientSession | None = None
        self._cases = asyncio.Semaphore(CASES_MAX)

    def loaded(
        self, cases: Sequence[Case], deadline: Deadline
    ) -> AbstractAsyncContextManager[Sequence[Case]]:
        """See `Images`."""
        named = {image.url: image for case in cases for image in case.images if image.url}
        return self._fetched(cases, named, deadline) if named else nullcontext(cases)

    @asynccontextmanager
    async def _fetched(
        self, cases: Sequence[Case], named: Mapping[str, Image], deadline: Deadline
    ) -> AsyncIterator[Sequence[Case]]:
        try:
            async with asyncio.timeout(deadline.remaining_s()):
                await self._cases.acquire()
        except TimeoutError:
            raise InputUnavailable("No image could be fetched before the deadline.") from None
        try:
            found = await self._fetch_all(named, deadline)
            yield [case.with_images(found) for case in cases]
        finally:
            self._cases.release()

    async def aclose(self) -> None:
        """Close the connections."""
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    async def _fetch_all(self, named: Mapping[str, Image], deadline: Deadline) -> dict[str, Image]:
        """The images by their URLs; where some fail, the first failure is raised."""
        fetches = (self._fetch(image, deadline) for image in named.values())
        found = {}
        for url, image in zip(
            named, await asyncio.gather(*fetches, return_exceptions=True), strict=True
        ):
            if isinstance(image, BaseException):
                raise image
            found[url] = image
        if sum(len(image.data) for image in found.values()) > CASE_BYTES_MAX * 4 / 3:
            message = f"The images of the case have more than {CASE_BYTES_MAX} bytes."
            raise InputUnsupported(message)
        return found

    async def _fetch(self, image: Image, deadline: Deadline) -> Image:
        """The image; what is said of a failure names the host alone, as a URL may hold secrets."""
        if (fault := self._hosts.fault(image.url)) is not None:
            raise InputUnsupported(f"The URL of an image {fault}.")
        subject = f"The image at {URL(image.url).host}"
        try:
            async with asyncio.timeout(min(FETCH_S_MAX, deadline.remaining_s())):
                content = await self._read(image.url, subject)
            return Image.from_bytes(content, detail=image.detail)
        except ImageFault as error:
            raise InputUnsupported(f"{subject} {error.message}.") from None
        except TimeoutError:
            raise InputUnavailable(f"{subject} did not arrive in time.") from None
        except (aiohttp.ClientError, OSError, ValueError) as error:
            if isinstance(error.__cause__ or error.__context__ or error, TargetRefused):
                message = f"{subject} is not fetched: its name resolves to a private address."
                raise InputUnsupported(message) from None
            raise InputUnavailable(f"{subject} could not be fetched: no connection.") from None

    async def _read(self, url: str, subject: str) -> bytes:
        async with self._pool().get(URL(url), allow_redirects=False) as response:
            answered = f"the host answered {response.status}"
            if response.status in TRANSIENT_STATUSES or response.status in SERVER_ERRORS:
                raise InputUnavailable(f"{subject} could not be fetched: {answered}.")
            if response.status != ACCEPTED:
                raise InputUnsupported(f"{subject} cannot be fetched: {answered}.")
            content = bytearray()
            async for chunk in response.content.iter_any():
                content += chunk
                if len(content) > IMAGE_BYTES_MAX:
                    raise ImageFault(TOO_LARGE)
            return bytes(content)

    def _pool(self) -> aiohttp.ClientSession:
        if self._session is None:
            resolver = PublicResolver(self._resolver, self._hosts.private)
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(resolver=resolver, use_dns_cache=False),
                timeout=aiohttp.ClientTimeout(total=None),
                headers={"Accept-Encoding": "identity", "User-Agent": "assay"},
                # A compressed answer is no image, and no bomb.
                auto_decompress=False,
                trust_env=False,
                cookie_jar=aiohttp.DummyCookieJar(),
            )
        return self._session
