"""What a service keeps, on the command line: listed, shown, made and deleted."""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path

import pytest

from fakes.service_process import clean_environment, running_service

CRITERIA = '{"type": "contains", "value": "Paris"}'
ROWS = "id,output,split,topic\na,Paris,test,geo\nb,London,,geo\nc,Paris,,\n"


@pytest.mark.timeout(180)  # twenty processes, one after the other
async def test_from_a_table_to_results(tmp_path: Path) -> None:
    """A dataset, an evaluator and a batch; listings are JSON Lines, and paged through."""
    (tmp_path / "rows.csv").write_text(ROWS)
    async with running_service(tmp_path) as service:

        async def run(*words: str, code: int = 0) -> str:
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "assay", *words),
                cwd=tmp_path,
                env=clean_environment({"ASSAY_URL": service.url}),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.PIPE,
            )
            out, err = await process.communicate()
            assert process.returncode == code, err
            return out.decode()

        assert json.loads(await run("datasets", "upload", "cities", "rows.csv"))["items"] == 3
        await run("datasets", "upload", "cities", "rows.csv")
        items = [
            json.loads(line)
            for line in (await run("datasets", "download", "cities@1")).splitlines()
        ]
        assert items[0] == {
            "id": "a",
            "output": "Paris",
            "split": "test",
            "fields": {"topic": "geo"},
        }
        assert json.loads(await run("datasets", "show", "cities"))["version"] == 2

        await run("evaluators", "create", "in-paris", "--criteria", CRITERIA)
        await run("evaluators", "create", "in-paris", "--criteria", CRITERIA, code=3)
        await run("evaluators", "create", "in-paris", "--criteria", CRITERIA, "--new-version")
        assert json.loads(await run("evaluators", "show", "in-paris@1"))["version"] == 1
        await run("evaluators", "show", "in-paris@9", code=2)
        await run("evaluators", "create", "other", "--criteria", CRITERIA)
        listed = (await run("evaluators", "list", "--json")).splitlines()
        assert [json.loads(line)["name"] for line in listed] == ["other", "in-paris"]
        assert len((await run("evaluators", "list", "--json", "--limit", "1")).splitlines()) == 1
        assert "in-paris" in await run("evaluators", "list")

        await run("batch", "run", "rows.csv", "--criteria", CRITERIA, "--watch", "-q")
        (batch,) = map(json.loads, (await run("batch", "list", "--json")).splitlines())
        results = (await run("batch", "results", batch["id"], "--failed")).splitlines()
        assert [json.loads(line)["item_id"] for line in results] == ["b"]
        assert json.loads(await run("batch", "show", batch["id"]))["status"] == "completed"
        assert await run("labels", "list", "--json") == ""

        await run("datasets", "delete", "cities", code=2)  # nobody can be asked
        await run("datasets", "delete", "cities", "--yes")
        assert await run("datasets", "list", "--json") == ""
