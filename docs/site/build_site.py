"""Builds the documentation into `site/`: stages the pages, adds the generated ones, runs Zensical.

A broken link, a missing anchor or picture, an asset of another host and every warning fail.

Usage: bin/docs [--serve]
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
import sys
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import mmdr
from links import broken
from reference_pages import pages as generated

ROOT = Path(__file__).parents[2]
STAGE = ROOT / "build" / "docs"
SITE = ROOT.resolve() / "site"
BESIDE = ("CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md", "bench/results/growth.svg")
"""What the pages link to outside of docs/."""
PICTURE = re.compile(
    r'<picture>\s*<source[^>]* srcset="([^"]+)">\s*<img src="([^"]+)" alt="([^"]+)">\s*</picture>'
)
MERMAID = re.compile(r"```mermaid\n(.*?)```", re.DOTALL)
THEMES = {"light": "neutral", "dark": "dark"}


def main() -> None:
    stage(STAGE)
    built = subprocess.run(
        [Path(sys.executable).with_name("zensical"), "build", "--strict", "--clean"],
        cwd=STAGE, check=False, capture_output=True, text=True, env={**os.environ, "NO_COLOR": "1"},
    )  # fmt: skip
    if built.returncode or "warning" in (built.stdout + built.stderr).lower():
        sys.exit(built.stdout + built.stderr)
    shutil.rmtree(SITE, ignore_errors=True)
    shutil.move(STAGE / "site", SITE)
    if faults := broken(SITE):
        sys.exit("\n".join(faults))
    print(f"bin/docs: {len(list(SITE.rglob('*.html')))} pages in {SITE}")
    if "--serve" in sys.argv:
        handler = partial(SimpleHTTPRequestHandler, directory=SITE)
        server = ThreadingHTTPServer(("127.0.0.1", 8000), handler)
        print("bin/docs: http://127.0.0.1:8000/index.html")
        server.serve_forever()


def stage(folder: Path) -> None:
    """Every page and picture as the site has them, in `folder`/docs."""
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(
        ROOT / "docs", folder / "docs", ignore=shutil.ignore_patterns("*.py", "site", "__pycache__")
    )
    for name in BESIDE:
        target = folder / "docs" / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, target)
    for path, text in generated().items():
        (folder / "docs" / path).write_text(text)
    (folder / "docs" / "diagrams").mkdir()
    for page in (folder / "docs").rglob("*.md"):
        page.write_text(adapted(page.read_text(), page.parent == folder / "docs", folder / "docs"))
    shutil.copytree(ROOT / "docs" / "site" / "assets", folder / "docs" / "assets")
    shutil.copy(ROOT / "docs" / "site" / "zensical.toml", folder)


def adapted(text: str, top: bool, folder: Path) -> str:
    """Links as they hold in the site; pictures and diagrams in both colour schemes."""
    if top:
        text = re.sub(r"\]\((?:\.\./|docs/)", "](", text)
    text = PICTURE.sub(r"![\3](\2#only-light)\n![\3](\1#only-dark)", text)
    return MERMAID.sub(
        lambda found: drawn(found[1], folder / "diagrams", "" if top else "../"), text
    )


def drawn(source: str, folder: Path, up: str) -> str:
    """Two pictures of a Mermaid diagram; its `accTitle` says what it shows."""
    title = re.search(r"accTitle: (.+)", source)
    if title is None:
        sys.exit(f"a diagram has no accTitle:\n{source}")
    name = hashlib.sha256(source.encode()).hexdigest()[:12]
    links = []
    for scheme, theme in THEMES.items():
        svg = mmdr.render(f'%%{{init: {{"theme": "{theme}"}}}}%%\n{source}').svg()
        # As wide as it was drawn: a picture without a width fills the page.
        size = re.search(r'viewBox="\S+ \S+ (\S+) (\S+)"', svg)
        svg = svg.replace('width="100%"', f'width="{size[1]}" height="{size[2]}"', 1)
        (folder / f"{name}-{scheme}.svg").write_text(svg)
        links.append(f"![{title[1]}]({up}diagrams/{name}-{scheme}.svg#only-{scheme})")
    return "\n".join(links)


if __name__ == "__main__":
    main()
