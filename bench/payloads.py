"""The bodies that are sent: the same case for everyone, in each one's own shape."""

from __future__ import annotations

import random
from functools import cache
from pathlib import Path

import orjson
from load import SERIAL as SERIAL_BYTES

KB, MB = 1_024, 1_048_576
RUBRIC = "The answer is polite, correct and to the point."
WORDS = """
the of a judge verdict case quota answer question reads writes because however river stone
morning evening service score table polite correct measure gold ore assay furnace scale
""".split()  # noqa: SIM905 # forty words in quotes of their own say no more
SERIAL = SERIAL_BYTES.decode()
ESCAPED = '"He said \\ then"\n\t"and left"\r\n{"key": "value"}\n'


@cache
def prose(size: int, seed: int = 7) -> str:
    """About `size` characters of plain prose."""
    chance = random.Random(seed)
    words: list[str] = []
    length = 0
    while length < size:
        word = chance.choice(WORDS)
        words.append(word)
        length += len(word) + 1
    return f"{SERIAL} {' '.join(words)}"[:size]


@cache
def escapes(size: int) -> str:
    """`size` characters of which about every fifth is escaped in JSON, as code and JSON are."""
    return (SERIAL + ESCAPED * (size // len(ESCAPED) + 1))[:size]


def evaluation(text: str) -> bytes:
    return orjson.dumps(
        {
            "input": "Write as you were asked to.",
            "output": text,
            "criteria": [{"type": "rubric", "rubric": RUBRIC}],
        }
    )


def chat_completion(text: str, model: str = "judge") -> bytes:
    turns = [{"role": "system", "content": RUBRIC}, {"role": "user", "content": text}]
    return orjson.dumps({"model": model, "messages": turns})


def written(folder: Path, name: str, body: bytes) -> str:
    """The body as a file for the load generator."""
    path = folder / name
    path.write_bytes(body)
    return str(path)
