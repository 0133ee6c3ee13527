"""The documentation site: it builds without a warning, and everyone can read it."""

import subprocess
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from links import broken

from fakes.browser import CHROMIUM, WITHOUT_CHROMIUM, chromium, inaccessible

ROOT = Path(__file__).parents[2]
KINDS = ("index", "tutorial", "gate-a-pull-request", "how-quota-works", "http", "criteria", "cli")

pytestmark = pytest.mark.timeout(240)


class Quiet(SimpleHTTPRequestHandler):
    """Without a line for each request."""

    def log_message(self, *args: object) -> None:
        pass


@pytest.fixture(scope="module")
def site() -> Iterator[str]:
    """The address of the built site; for one test, so that two processes never build it at once."""
    subprocess.run([ROOT / "bin" / "docs"], check=True)
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=ROOT / "site"))
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.mark.skipif(CHROMIUM is None, reason=WITHOUT_CHROMIUM)
async def test_every_kind_of_page_can_be_read_by_everyone(site: str):
    """Light and dark, narrow and wide: axe finds nothing serious, no other host is asked, no script
    fails, no page is wider than its window, and the search finds a page by its word."""
    for scheme, width in (("light", 1400), ("dark", 390)):
        size = {"width": width, "height": 800}
        async with chromium(site, color_scheme=scheme, viewport=size) as window:
            page = await window.new_page()
            for kind in KINDS:
                await page.goto(f"/{kind}.html")
                await page.wait_for_load_state("networkidle")
                assert await inaccessible(page) == [], (kind, scheme)
                wide = await page.evaluate("document.documentElement.scrollWidth")
                assert wide <= width, (kind, width)
            await page.keyboard.press("/")
            await page.keyboard.type("idempotency")
            await page.get_by_text("Retry safely").first.wait_for()


def test_what_leads_nowhere_is_found(tmp_path: Path):
    """A missing page, anchor or picture, and an asset of another host."""
    (tmp_path / "there.html").write_text('<h2 id="here">Here</h2>')
    links = ["there.html#here", "https://elsewhere.example/", "gone.html", "there.html#gone"]
    page = "".join(f'<a href="{link}">go</a>' for link in links)
    page += '<img src="gone.png"><script src="https://elsewhere.example/a.js"></script>'
    (tmp_path / "page.html").write_text(page)
    assert broken(tmp_path) == [
        "page.html: gone.html does not exist",
        "page.html: there.html#gone has no such heading",
        "page.html: gone.png does not exist",
        "page.html: https://elsewhere.example/a.js is at another host",
    ]
