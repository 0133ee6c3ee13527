"""Steps that tests of batches share."""

import asyncio
import hashlib
import io
import json
import sys

from fakes.service_process import clean_environment

NDJSON = {"Content-Type": "application/x-ndjson"}
CONTAINS = [{"type": "contains", "value": "good"}]


def keys_file(folder):
    """The configuration with two tenants, `one` and `two`, whose keys are `key-of-NAME`."""
    digests = [(hashlib.sha256(f"key-of-{name}".encode()), name) for name in ("one", "two")]
    path = folder / "keys"
    path.write_text("".join(f"{digest.hexdigest()} {name}\n" for digest, name in digests))
    return f'[auth]\nkeys_file = "{path}"\n'


def file_of(count):
    """Rows of which three in five are good, in groups of five."""
    rows = (
        # No two are alike: calls about the same content in flight share one answer.
        {
            "id": f"row-{n}",
            "output": f"{'good' if n % 5 < 3 else 'bad'} {n}",
            "group": f"group-{n // 5}",
        }
        for n in range(count)
    )
    return b"".join(json.dumps(row).encode() + b"\n" for row in rows)


async def worker(folder):
    """A process that works on batches, with the configuration in the folder."""
    return await asyncio.create_subprocess_exec(
        sys.executable, "-m", "assay", "worker", "--metrics-port", "0", cwd=folder,
        env=clean_environment(), stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip


async def create(session, criteria=CONTAINS, **fields):
    async with session.post("/v1/batches", json={"criteria": criteria, **fields}) as answer:
        assert answer.status == 201, await answer.text()
        return await answer.json()


async def upload(session, batch, content):
    path = f"/v1/batches/{batch['id']}/items"
    async with session.put(path, data=io.BytesIO(content), headers=NDJSON) as answer:
        assert answer.status == 200, await answer.text()
        return await answer.json()


async def until(condition):
    """Return when the condition holds."""
    async with asyncio.timeout(30):
        while True:
            if condition():
                return
            await asyncio.sleep(0.05)


async def ended(session, batch):
    """The batch once it has ended."""
    async with asyncio.timeout(30):
        while True:
            async with session.get(f"/v1/batches/{batch['id']}") as answer:
                body = await answer.json()
            if body["status"] not in ("open", "running"):
                return body
            await asyncio.sleep(0.05)


async def results(session, batch, limit):
    """All results that there are, page by page."""
    found, cursor = [], "0"
    while True:
        query = f"cursor={cursor}&limit={limit}"
        async with session.get(f"/v1/batches/{batch['id']}/results?{query}") as answer:
            page = await answer.json()
        found += page["data"]
        if not page["has_more"] or page["next_cursor"] == cursor:
            return found
        cursor = page["next_cursor"]


async def lines(session, batch):
    """All results as NDJSON."""
    headers = {"Accept": "application/x-ndjson"}
    async with session.get(f"/v1/batches/{batch['id']}/results", headers=headers) as answer:
        return [json.loads(line) for line in (await answer.text()).splitlines()]


async def events(session, batch, last_id="", most=10_000):
    """The events of a stream, to its end or until there are enough."""
    found, fields = [], {}
    headers = {"Last-Event-ID": last_id} if last_id else {}
    async with session.get(f"/v1/batches/{batch['id']}/events", headers=headers) as answer:
        async for raw in answer.content:
            name, _, value = raw.decode().rstrip("\n").partition(": ")
            if name:
                fields[name] = value
            elif "data" in fields:
                body = json.loads(fields["data"])
                found.append({**fields, "counts": body["counts"]})
                fields = {}
                if len(found) == most:
                    break
    return found
