"""Export and import of a tenant's records, between both databases in every direction."""

import asyncio
import io
import json
import sys
from dataclasses import replace

import pytest
from sqlalchemy import delete

from assay.domain.batches import Batch, NewBatch, StoredResult, Sums
from assay.domain.erasure import ErasureTarget
from assay.domain.exact_json import dumps, loads
from assay.domain.ids import new_id, now_ms
from assay.domain.labels import HumanLabel
from assay.domain.records import NewItem, StoredObject
from assay.records import exchange
from assay.records.database import SCHEMA, Database
from assay.records.datasets import RecordedDatasets
from assay.records.evaluators import RecordedEvaluators
from assay.records.exchange import TABLES, NotImportable, exported, import_records
from assay.records.labels import RecordedLabels
from assay.records.objects import RecordedObjects
from assay.records.removal import Eraser
from assay.records.runs import RecordedRuns
from fakes.service_process import clean_environment
from integration.records.conftest import migrated_url

SPEC = {"criteria": [{"type": "contains", "value": "ü", "n": 2**70}], "judge": None}


@pytest.fixture(params=["sqlite", "postgresql"])
async def other(request, tmp_path, postgres):
    """Another empty database."""
    (tmp_path / "other").mkdir()
    url = await migrated_url(request.param, tmp_path / "other", postgres)
    opened = Database(url, embedded=False)
    yield opened
    await opened.aclose()


async def fill(database: Database, tenant: str) -> None:
    """One of everything, and what an export leaves out."""
    evaluators, datasets = RecordedEvaluators(database), RecordedDatasets(database)
    for name in ("quality", "deleted"):
        await evaluators.create(tenant, name, "good", SPEC)
        await evaluators.add_version(tenant, name, {**SPEC, "judge": "strict"})
        version = await datasets.create(tenant, name, "questions", {"type": "object"})
        for number, append in ((0, False), (1, True), (2, False)):
            upload = await datasets.open_upload(version)
            items = [
                NewItem(n, f"{number}-{n}", f"digest {n}", f"ö {n}".encode(), "g", None, {"n": n})
                for n in range(3)
            ]
            await datasets.add_items(upload, items)
            version = await datasets.publish(upload, append=append)
    await datasets.open_upload(version)
    await evaluators.delete(tenant, "deleted", erase=False)
    await datasets.delete(tenant, "deleted", erase=False)
    for score in (0.5, 1.0):
        label = HumanLabel(
            new_id("label"), now_ms(), "digest", "polite", "ann", "quality", "", "0-1", score=score
        )
        await RecordedLabels(database).add(tenant, [label])
    store = RecordedRuns(database)
    for number in (1, 2):
        batch = Batch(new_id("batch"), tenant, "completed", 1, 2, total=3, shown=dumps({"a": "ü"}))
        await store.create(NewBatch(batch.id, tenant, 1, 2, b"", kept=True))
        found = [StoredResult(n, f"i{n}", '{"é": 1}'.encode()) for n in range(3)]
        await store.add_results(batch.id, found, 3)
        if number == 1:
            request = dumps({"tenant": tenant, "criteria": ["ü"]})
            await store.finish(batch, request, Sums({"rows:n": 3}, {}))
    objects = RecordedObjects(database)
    for kind, document in (("eval", {"name": "ö"}), ("file", {"bytes": 5}), ("control", {})):
        await objects.add(tenant, StoredObject(new_id(kind), kind, document))


async def seen(database: Database, tenant: str) -> list:
    """All that the tenant can read."""
    datasets, found = RecordedDatasets(database), []
    for version in await datasets.versions(tenant, "quality"):
        items = await datasets.items(version, after=0, limit=99)
        shown = [(item.id, item.digest, item.body, item.group) for item in items]
        found.append((version.id, version.version, version.created_ms, version.schema, shown))
    evaluators = await RecordedEvaluators(database).versions(tenant, "quality")
    for superseded in (False, True):
        labels = RecordedLabels(database)
        found += await labels.page(tenant, "", 9, superseded=superseded, wanted={})
    store = RecordedRuns(database)
    for run in await store.page(tenant, "", 9):
        request = loads(await store.request(run.id) or b"")
        assert (run.tenant, request.pop("tenant")) == (tenant, tenant)
        results = (await store.results(run, 0, 9)).results
        found += [replace(run, tenant=""), request, await store.sums(run.id), results]
    for kind in ("eval", "file"):
        found += await page_of_objects(RecordedObjects(database), tenant, kind)
    return [*found, *evaluators]


async def page_of_objects(store: RecordedObjects, tenant: str, kind: str):
    wanted = {"after": "", "limit": 9, "descending": False, "by_update": False}
    return await store.page(tenant, kind, "", **wanted)


async def lines_of(database: Database, tenant: str) -> list[bytes]:
    return [line async for line in exported(database._url, tenant)]


async def test_a_round_trip(database: Database, other: Database):
    """What was exported is the same after the import, for another tenant, too, and exports again
    as the same rows; other tenants' records and control sets are not in it."""
    await fill(database, "acme")
    await fill(database, "rival")
    lines = await lines_of(database, "acme")
    assert b"rival" not in b"".join(lines)
    counts = await import_records(other._url, "moved", io.BytesIO(b"".join(lines)))
    assert counts == {
        "evaluators": 1, "evaluator_versions": 2, "datasets": 1, "uploads": 3,
        "dataset_versions": 4, "dataset_items": 9, "bodies": 3, "labels": 2, "runs": 1,
        "results": 3, "objects": 2,
    }  # fmt: skip
    assert await seen(other, "moved") == await seen(database, "acme")
    assert len(await seen(other, "moved")) == 4 + 2 + 2 + 4 + 2
    back = [loads(line.replace(b"moved", b"acme")) for line in await lines_of(other, "moved")]
    assert back == list(map(loads, lines))
    assert await RecordedEvaluators(other).find("moved", "deleted") is None


async def test_a_second_import_changes_nothing(database: Database):
    """Records that are there already are not touched, and nothing is added beside them: no item or
    result that was erased since comes back."""
    await fill(database, "acme")
    lines = await lines_of(database, "acme")
    counts = await import_records(database._url, "acme", io.BytesIO(b"".join(lines)))
    assert set(counts.values()) == {0}
    assert await lines_of(database, "acme") == lines
    await Eraser(database).erase("acme", ErasureTarget("0-1"))
    await Eraser(database).erase("acme", ErasureTarget("i1"))
    erased = await lines_of(database, "acme")
    counts = await import_records(database._url, "acme", io.BytesIO(b"".join(lines)))
    assert {name for name, count in counts.items() if count} == {"labels"}
    assert len(await lines_of(database, "acme")) == len(erased) + 2


async def test_what_is_not_the_same_is_not_imported(database: Database):
    """Another tenant's records of the same ids, a version that came since, and what was deleted:
    the import ends, and changes nothing."""
    await fill(database, "acme")
    lines = io.BytesIO(b"".join(await lines_of(database, "acme")))
    with pytest.raises(NotImportable, match="already"):
        await import_records(database._url, "rival", lines)
    assert len(await lines_of(database, "rival")) == 1
    evaluators = RecordedEvaluators(database)
    await evaluators.add_version("acme", "quality", SPEC)
    for _ in range(2):
        lines.seek(0)
        with pytest.raises(NotImportable, match="already"):
            await import_records(database._url, "acme", lines)
        await evaluators.delete("acme", "quality", erase=False)


async def test_rows_come_a_few_at_a_time(database: Database, monkeypatch):
    """However the rows are divided, the import is the same."""
    await fill(database, "acme")
    lines = io.BytesIO(b"".join(await lines_of(database, "acme")))
    before = await seen(database, "acme")
    async with database.writing() as connection:
        for table in reversed(TABLES):
            await connection.execute(delete(table))
    monkeypatch.setattr(exchange, "BYTES_AT_ONCE", 1)
    await import_records(database._url, "acme", lines)
    assert await seen(database, "acme") == before


@pytest.mark.parametrize(
    ("content", "fault"),
    [
        (b"", "no export"),
        (b"[]\n", "no export"),
        (b"PK\x03\x04", "no row"),
        (b'{"object": "assay.records", "schema": 999}\n', "schema 999"),
        ({"table": "alembic_version", "row": {}}, "unknown table"),
        ({"table": "labels", "row": {"id": "x"}}, "already"),
        ({"table": "evaluator_versions", "row": {"evaluator_id": "other", "version": 1}}, "no row"),
        ({"table": "labels", "row": 5}, "no row"),
        ({"row": {}}, "no row"),
        (
            {
                "table": "dataset_items",
                "row": {"upload_id": 77, "item_id": "a", "digest": "d", "metadata": {}},
            },
            "no row",
        ),
    ],
)
async def test_what_is_no_export(database: Database, content, fault):
    """The fault is told, and nothing is imported."""
    if isinstance(content, dict):
        head = {"object": "assay.records", "schema": SCHEMA}
        evaluator = {"id": "e", "name": "e", "description": "", "newest": 1, "deleted_ms": None}
        rows = [head, {"table": "evaluators", "row": evaluator}, content]
        content = b"".join(json.dumps(row).encode() + b"\n" for row in rows)
    with pytest.raises(NotImportable, match=fault):
        await import_records(database._url, "acme", io.BytesIO(content))
    assert len(await lines_of(database, "acme")) == 1


async def test_the_commands(database: Database, tmp_path):
    """`assay export` writes what `assay import records` reads, here into a new data directory."""
    await fill(database, "default")
    (tmp_path / "from.toml").write_text(f'[records]\nurl = "{database._url}"\n')
    (tmp_path / "to.toml").write_text(f'[server]\ndata_dir = "{tmp_path / "new"}"\n')

    async def assay(*words: str) -> tuple[int | None, str]:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "assay", *words),
            cwd=tmp_path,
            env=clean_environment(),
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        out, _ = await process.communicate()
        return process.returncode, out.decode()

    code, said = await assay("export", "--config", "from.toml", "-o", "out.jsonl")
    assert (code, "rows exported" in said) == (0, True), said
    code, said = await assay("import", "records", "out.jsonl", "--config", "to.toml")
    assert code == 0, said
    assert "9 dataset items" in said
    code, said = await assay("import", "records", "out.jsonl", "--config", "to.toml")
    assert (code, "Imported: nothing." in said) == (0, True), said
    code, said = await assay("import", "records", "missing.jsonl", "--config", "to.toml")
    assert (code, "Traceback" in said) == (2, False)
