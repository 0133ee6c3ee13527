"""Looks for links of a built site that lead nowhere."""

from __future__ import annotations

from collections.abc import Mapping
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit


class Page(HTMLParser):
    """The anchors of a page, and what it points to."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.anchors: set[str] = set()
        self.links: list[str] = []
        self.assets: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = {name: value for name, value in attrs if value}
        self.anchors.update(found[name] for name in ("id", "name") if name in found)
        if tag == "a" and "href" in found:
            self.links.append(found["href"])
        elif tag == "link" and found.get("rel") not in ("canonical", "prev", "next"):
            self.assets.append(found["href"])
        elif "src" in found:
            self.assets.append(found["src"])


def broken(site: Path) -> list[str]:
    """Links, anchors and assets that lead nowhere, and assets that another host has."""
    paths = [path for path in site.rglob("*.html") if path.name != "404.html"]
    pages = {path: Page(path.read_text()) for path in paths}
    faults = []
    for path, page in pages.items():
        links = [(link, fault_of(link, path, pages)) for link in page.links]
        assets = [(asset, fault_of(asset, path, pages)) for asset in page.assets]
        elsewhere = [(asset, "is at another host") for asset in page.assets if "//" in asset]
        found = [(link, fault) for link, fault in links + assets + elsewhere if fault]
        faults += [f"{path.relative_to(site)}: {link} {fault}" for link, fault in found]
    return faults


def fault_of(link: str, path: Path, pages: Mapping[Path, Page]) -> str:
    """What is wrong with a link of the page at `path`; empty if it leads somewhere."""
    parts = urlsplit(link)
    if parts.scheme or parts.netloc:
        return ""
    target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
    target = target / "index.html" if target.is_dir() else target
    if not target.exists():
        return "does not exist"
    wanted = unquote(parts.fragment)
    known = not wanted or target not in pages or wanted in pages[target].anchors
    return "" if known else "has no such heading"
