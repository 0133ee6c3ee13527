"""The fenced blocks of a page, run as by a reader who copies one after the other."""

from __future__ import annotations

import asyncio
import os
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from textwrap import dedent

from fakes.service_process import clean_environment

ROOT = Path(__file__).parents[2]
FENCED = re.compile(
    r"(?:^ *<!-- (?P<mark>shown|status|schema): (?P<value>.+?) -->\n)?"
    r"^(?P<indent> *)```(?P<language>\w*)[^\n]*\n(?P<text>.*?)^(?P=indent)```$",
    re.MULTILINE | re.DOTALL,
)
RUN = {"sh", "bash", "python"}
OUTPUT = {"text", "markdown"}
"""What a block prints: the block after it shows it."""


@dataclass(frozen=True)
class Block:
    """A fenced block: where it is, what the comment before it says, and its text."""

    place: str
    language: str
    text: str
    mark: str | None
    value: str


def blocks_of(page: Path) -> Iterator[Block]:
    """All blocks of a page."""
    text = page.read_text()
    for found in FENCED.finditer(text):
        line = text.count("\n", 0, found.start("language")) + 1
        place = f"{page.relative_to(ROOT)}:{line}"
        content = dedent(found["text"])
        yield Block(place, found["language"], content, found["mark"], found["value"] or "")


async def run_blocks(
    blocks: Sequence[Block], folder: Path, environ: Mapping[str, str] | None = None
) -> None:
    """Run commands and programs in one shell, so that variables last; compare what they print.

    They run in `folder`/work. Each has to end with its status, and the shell stops at the first
    that does not. A problem as the answer to curl is such an end.
    """
    script = ["cd work"]
    printed: Path | None = None
    shown: list[tuple[Block, Path | None]] = []
    (folder / "work").mkdir()
    (folder / ".curlrc").write_text("fail-with-body\nshow-error\n")
    for number, block in enumerate(blocks):
        if block.language in OUTPUT:
            shown.append((block, printed))
            continue
        printed, file = folder / f"{number}.out", folder / f"{number}.{block.language}"
        file.write_text(block.text)
        run = f"python {file}" if block.language == "python" else f"source {file}"
        wanted = block.value if block.mark == "status" else "0"
        script.append(
            f"{run} > {printed}; status=$?\n"
            f"[ $status = {wanted} ] || {{ cat {printed}; echo {block.place}: $status; exit 1; }}"
        )
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    shell = await asyncio.create_subprocess_exec(
        "bash", "-c", "\n".join(script), cwd=folder,
        env={**clean_environment(), "PATH": path, "CURL_HOME": str(folder), **(environ or {})},
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
    )  # fmt: skip
    output, _ = await shell.communicate()
    assert shell.returncode == 0, output.decode()
    for block, file in shown:
        assert file is not None, f"{block.place} follows no command"
        assert block.text.strip() in file.read_text(), f"{block.place} is not what was printed"
