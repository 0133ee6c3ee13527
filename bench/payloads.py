"""The bodies to send: the same case for every contender, in the shape that each one takes."""

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
""".split()  # noqa: SIM905 # forty quoted words would be harder to read
SERIAL = SERIAL_BYTES.decode()
ESCAPED = '"He said \\ then"\n\t"and left"\r\n{"key": "value"}\n'


@cache
def prose(size: int, seed: int = 7) -> str:
    """About `size` characters of plain prose."""
    rng = random.Random(seed)
    words: list[str] = []
    length = 0
    while length < size:
        word = rng.choice(WORDS)
        words.append(word)
        length += len(word) + 1
    return f"{SERIAL} {' '.join(words)}"[:size]


@cache
def escapes(size: int) -> str:
    """`size` characters; about every fifth needs an escape in JSON, as in code."""
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
    """Write the body to a file for the load generator; the file's path."""
    path = folder / name
    path.write_bytes(body)
    return str(path)
