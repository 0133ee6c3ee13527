"""An API process to be sent signals: `python -m fakes.api_process <hold_s> <drain_delay_s>`.

It prints the two ports once it serves, holds each evaluation for `hold_s`, and ends as
`assay serve` does.
"""

from __future__ import annotations

import asyncio
import sys

from fastapi import APIRouter, Response

from assay.api.app import create_app
from assay.http.operations import create_operations_app
from assay.http.server import listen, serve
from fakes.http_api import ScriptedEvaluator, fake_services
from fakes.limits import limits_with
from fakes.recorded_events import RecordedEvents


class SlowEvaluator(ScriptedEvaluator):
    """Takes its time."""

    def __init__(self, hold_s: float) -> None:
        super().__init__()
        self._hold_s = hold_s

    async def evaluate(self, case, criteria, **rest):
        await asyncio.sleep(self._hold_s)
        return await super().evaluate(case, criteria, **rest)


def large_answers() -> APIRouter:
    """`GET /large/N` answers N bytes."""
    router = APIRouter()

    @router.get("/large/{size}")
    async def large(size: int) -> Response:
        return Response(b"x" * size)

    return router


async def main(hold_s: float, drain_delay_s: float) -> bool:
    services = fake_services(SlowEvaluator(hold_s), RecordedEvents())
    limits = limits_with(drain_delay_s=drain_delay_s)
    api, operations = listen("127.0.0.1", 0), listen("127.0.0.1", 0)
    ports = [listener.getsockname()[1] for listener in (api, operations)]
    return await serve(
        (create_app(services, limits, [large_answers()]), api),
        (
            create_operations_app(services.lifecycle, lambda _: (b"up 1\n", "text/plain")),
            operations,
        ),
        lifecycle=services.lifecycle,
        load=services.load,
        limits=limits,
        on_started=lambda: print(*ports, flush=True),  # noqa: T201 # how the test learns them
    )


if __name__ == "__main__":
    sys.exit(0 if asyncio.run(main(float(sys.argv[1]), float(sys.argv[2]))) else 1)
