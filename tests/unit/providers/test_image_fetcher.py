"""Images are fetched from listed hosts alone, from the addresses that were checked, bounded."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from aiohttp.abc import AbstractResolver, ResolveResult

from assay.domain.errors import InputUnavailable, InputUnsupported
from assay.domain.evaluation import Case
from assay.domain.images import IMAGE_BYTES_MAX, Image
from assay.domain.policy import Deadline
from assay.domain.targets import AllowedHosts
from assay.providers import images as fetching
from assay.providers.images import CASES_MAX, ImageFetcher
from fakes.images import ImageHost, image_host, jpeg, part, png

SECRET = "?signature=secret"


class Names(AbstractResolver):
    """Resolves every name, to the next of its addresses each time."""

    def __init__(self, *addresses: str) -> None:
        self.addresses = list(addresses)
        self.asked = 0

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        address = self.addresses[min(self.asked, len(self.addresses) - 1)]
        self.asked += 1
        kind = socket.AF_INET6 if ":" in address else socket.AF_INET
        return [
            ResolveResult(hostname=host, host=address, port=port, family=kind, proto=0, flags=0)
        ]

    async def close(self) -> None:
        """Holds nothing."""


@pytest.fixture
async def host() -> AsyncIterator[ImageHost]:
    async with image_host() as host:
        yield host


@asynccontextmanager
async def fetcher(*hosts: str, names: Names | None = None) -> AsyncIterator[ImageFetcher]:
    fetcher = ImageFetcher(AllowedHosts(hosts), names)
    yield fetcher
    await fetcher.aclose()


async def fetched(fetcher: ImageFetcher, *urls: str, deadline_s: float = 10.0) -> list[Image]:
    case = Case.from_fields({"output": "x", "context": [part(url) for url in urls]})
    async with fetcher.loaded([case], Deadline.after(deadline_s)) as (loaded,):
        return loaded.images


async def test_an_image_of_a_listed_host_is_fetched_once(host: ImageHost) -> None:
    """Also where the case names it twice; nothing of the service goes with the request."""
    url = host.give("/a", png(7))
    async with fetcher(f"http://127.0.0.1:{host.port}") as ours:
        first, second = await fetched(ours, url, url)
    assert first == second == Image.from_bytes(png(7))
    [(_, headers)] = host.asked
    assert not {"Authorization", "Cookie", "Referer"} & set(headers)


async def test_a_case_without_urls_asks_for_nothing() -> None:
    """It is the very same case."""
    case = Case("x")
    async with fetcher() as ours, ours.loaded([case], Deadline.after(1)) as (loaded,):
        assert loaded is case


REFUSED = [
    "http://127.0.0.1:{port}/a",
    "https://127.0.0.1:{port}/a",
    "http://localhost:{port}/a",
    "http://[::1]:{port}/a",
    "http://[::ffff:127.0.0.1]:{port}/a",
    "http://[::ffff:10.0.0.1]/a",
    "http://169.254.169.254/latest/meta-data",
    "https://169.254.169.254/latest/meta-data",
    "http://metadata.google.internal/",
    "http://2130706433:{port}/a",
    "http://0x7f000001:{port}/a",
    "http://0x7f.1:{port}/a",
    "http://0177.0.0.1:{port}/a",
    "http://127.1:{port}/a",
    "http://0:{port}/a",
    "http://10.0.0.1/a",
    "http://cdn.example/a",
    "https://cdn.example:8443/a",
    "https://user:hunter2@cdn.example/a",
    "https://cdn.example@127.0.0.1:{port}/a",
    "https://cdn.example.evil.example/a",
    "https://cdn.example\\@127.0.0.1:{port}/a",
    "https://cdn.example%2f@127.0.0.1/a",
    "https://evil.example/#@cdn.example/",
    "https://cdn.exаmple/a",
    "https://" + "a" * 3_000,
]


@pytest.mark.parametrize("url", REFUSED)
async def test_what_is_not_listed_is_refused_unsent(host: ImageHost, url: str) -> None:
    """Whatever the notation: a host is listed by exactly its scheme, name and port."""
    host.give("/a", png())
    async with fetcher("cdn.example", names=Names("127.0.0.1")) as ours:
        with pytest.raises(InputUnsupported) as caught:
            await fetched(ours, url.format(port=host.port))
    assert host.asked == []
    assert "hunter2" not in caught.value.message


@pytest.mark.parametrize(
    "listed", ["127.0.0.1", "http://127.0.0.1", "[::1]", "169.254.169.254", "0x7f.1", "localhost"]
)
async def test_a_listed_address_is_not_private_without_its_port(listed: str) -> None:
    """An address is not resolved, so that nothing else would refuse it."""
    url = f"{listed if '://' in listed else f'https://{listed}'}/a"
    async with fetcher(listed) as ours:
        with pytest.raises(InputUnsupported, match="must not"):
            await fetched(ours, url)


@pytest.mark.parametrize(
    "address",
    ["127.0.0.1", "::1", "10.1.2.3", "192.168.0.1", "169.254.169.254", "::ffff:10.0.0.1",
     "fd00::1", "100.64.0.1", "0.0.0.0", "64:ff9b::7f00:1", "168.63.129.16", "192.0.0.192"],
)  # fmt: skip
async def test_a_listed_name_must_not_lead_into_the_private_network(address: str) -> None:
    """Judged by the addresses that it resolves to."""
    async with fetcher("cdn.example", names=Names(address)) as ours:
        with pytest.raises(InputUnsupported, match="private address"):
            await fetched(ours, "https://cdn.example/a")


async def test_the_address_that_was_checked_is_the_one_that_is_called(host: ImageHost) -> None:
    """A name that is public when it is checked and private afterwards is looked up once only."""
    names = Names("192.0.2.1", "127.0.0.1")
    async with fetcher("cdn.example", names=names) as ours:
        with pytest.raises(InputUnsupported):
            await fetched(ours, "https://cdn.example/a")
    names = Names("93.184.216.34", "127.0.0.1")
    async with fetcher("cdn.example", names=names) as ours:
        with pytest.raises(InputUnavailable):
            await fetched(ours, "https://cdn.example/a", deadline_s=0.3)
    assert names.asked == 1
    assert host.asked == []


async def test_a_listed_port_may_be_in_the_private_network(host: ImageHost) -> None:
    """And only that port, over the scheme that is listed."""
    url = host.give("/a", png()).replace("127.0.0.1", "images.internal")
    listed = f"http://images.internal:{host.port}"
    async with fetcher(listed, names=Names("127.0.0.1")) as ours:
        assert await fetched(ours, url) == [Image.from_bytes(png())]
        with pytest.raises(InputUnsupported):
            await fetched(ours, "http://images.internal:1/a")
        with pytest.raises(InputUnsupported):
            await fetched(ours, url.replace("http:", "https:"))


Answer = tuple[bytes, int, dict[str, str]]
HOSTILE: dict[str, tuple[Answer, type[Exception], str]] = {
    "redirect": ((b"", 302, {"Location": "http://169.254.169.254/"}), InputUnsupported, "302"),
    "redirect home": ((b"", 307, {"Location": "/b"}), InputUnsupported, "307"),
    "gone": ((b"", 404, {}), InputUnsupported, "404"),
    "forbidden": ((b"", 403, {}), InputUnsupported, "403"),
    "busy": ((b"", 429, {}), InputUnavailable, "429"),
    "down": ((b"", 503, {}), InputUnavailable, "503"),
    "pdf": ((b"%PDF-1.7", 200, {"Content-Type": "image/png"}), InputUnsupported, "is a PDF"),
    "page": ((b"<html>", 200, {"Content-Type": "image/png"}), InputUnsupported, "not an image"),
    "empty": ((b"", 200, {}), InputUnsupported, "not an image"),
    "huge": ((png() + bytes(IMAGE_BYTES_MAX), 200, {}), InputUnsupported, "more than"),
    "compressed": ((b"\x1f\x8b\x08", 200, {"Content-Encoding": "gzip"}), InputUnsupported, "not"),
}


@pytest.mark.parametrize("name", HOSTILE)
async def test_what_a_host_answers_is_an_image_or_a_clear_failure(
    host: ImageHost, name: str
) -> None:
    """What may pass is told from what will not; the URL's query is never shown."""
    (body, status, headers), raises, said = HOSTILE[name]
    url = host.give("/a", body, status, **headers)
    host.give("/b", png())
    async with fetcher(f"http://127.0.0.1:{host.port}") as ours:
        with pytest.raises(raises, match=said) as caught:
            await fetched(ours, url + SECRET)
    assert len(host.asked) == 1
    assert "secret" not in f"{caught.value} {caught.value!r}"
    assert "127.0.0.1" in str(caught.value)


async def test_a_declared_type_is_corrected(host: ImageHost) -> None:
    """The bytes decide."""
    url = host.give("/a", jpeg(), **{"Content-Type": "text/html"})
    async with fetcher(f"http://127.0.0.1:{host.port}") as ours:
        [image] = await fetched(ours, url)
    assert image.media_type == "image/jpeg"


async def test_a_host_that_keeps_silent_is_given_up() -> None:
    """At the latest with the request's deadline."""
    holding = asyncio.Event()

    async def hold(_reader: Any, writer: asyncio.StreamWriter) -> None:
        await holding.wait()
        writer.close()

    server = await asyncio.start_server(hold, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    async with fetcher(f"http://127.0.0.1:{port}") as ours:
        with pytest.raises(InputUnavailable, match="in time"):
            await fetched(ours, f"http://127.0.0.1:{port}/a", deadline_s=0.2)
        holding.set()
        server.close()
        with pytest.raises(InputUnavailable, match="no connection"):
            await fetched(ours, f"http://127.0.0.1:{port}/a")


async def test_a_case_fetches_so_many_bytes_and_no_more(
    host: ImageHost, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All its images together."""
    monkeypatch.setattr(fetching, "CASE_BYTES_MAX", sum(len(png(color=n)) for n in range(3)) + 6)
    urls = [host.give(f"/{number}", png(color=number)) for number in range(4)]
    async with fetcher(f"http://127.0.0.1:{host.port}") as ours:
        assert len(await fetched(ours, *urls[:3])) == 3
        with pytest.raises(InputUnsupported, match="more than"):
            await fetched(ours, *urls)


async def test_so_many_cases_hold_fetched_images_at_a_time(host: ImageHost) -> None:
    """The next one waits, within its deadline, and goes on once one is done."""
    url = host.give("/a", png())
    case = Case.from_fields({"output": [{"role": "user", "content": [part(url)]}]})
    async with fetcher(f"http://127.0.0.1:{host.port}") as ours:
        held = [ours.loaded([case], Deadline.after(10)) for _ in range(CASES_MAX)]
        for context in held:
            await context.__aenter__()
        with pytest.raises(InputUnavailable, match="deadline"):
            await fetched(ours, url, deadline_s=0.1)
        await held[0].__aexit__(None, None, None)
        assert await fetched(ours, url)
        for context in held[1:]:
            await context.__aexit__(None, None, None)
