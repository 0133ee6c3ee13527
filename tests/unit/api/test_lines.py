"""Lines are cut from a stream, and one sender does not occupy the event loop."""

import asyncio

from assay.api.batches.lines import read_lines


async def pieces(*given):
    for piece in given:
        yield piece


async def test_a_body_of_line_ends_lets_others_work():
    """Blank lines are no rows, and millions of them in one piece must not stop everybody else."""
    turns = 0

    async def others():
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    task = asyncio.create_task(others())
    found = [line async for line in read_lines(pieces(b"\n" * 65_536, b"{}"), 100)]
    task.cancel()
    assert [line.number for line in found] == [65_537]
    assert turns > 100


async def test_lines_are_cut_wherever_the_pieces_end():
    """Numbers count blank lines, and of a line that is too long nothing is kept."""
    given = pieces(b"\xef\xbb\xbf{", b"}\n\n", b"x" * 60, b"y" * 60, b"\n[1]")
    found = [line async for line in read_lines(given, 100)]
    assert [(line.number, line.content) for line in found] == [(1, b"{}"), (3, b""), (4, b"[1]")]
    assert "at most 100 bytes" in found[1].fault
