"""Scores a stream of answers with asyncio, as they are made, and stops on the first bad one."""

import asyncio
from collections.abc import Iterator

from assay import AsyncAssay
from assay.errors import ServiceError

CRITERIA = [{"type": "json_schema", "name": "is_order", "schema": {"required": ["id"]}}, "Polite."]


def answers() -> Iterator[dict[str, str]]:
    for number in range(1_000):
        text = "I cannot do that." if number == 30 else f'{{"id": {number}}}'
        yield {"id": f"order-{number}", "output": text}


async def main() -> None:
    async with AsyncAssay() as client:
        try:
            await client.evaluate(output="{}", criteria=CRITERIA)
        except ServiceError as error:
            print("the service does not judge this:", error)
            return
        # Results come in the order of the answers. Only a window of them is read ahead.
        async for result in client.evaluate_many(answers(), CRITERIA, concurrency=8):
            if result.error is not None:
                print(f"{result.item_id}: {result.error}")
            elif result["is_order"].passed is False:
                print(f"{result.item_id}: {result['is_order'].explanation}")
                break


asyncio.run(main())
