"""What `assay doctor` finds of an installation, with a real Redis and real databases."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from aiohttp import web
from sqlalchemy import text

from assay.bootstrap import examine
from assay.domain.diagnosis import Diagnosis
from assay.records.database import create_engine
from assay.settings import load
from fakes.postgres_process import PostgresProcess
from fakes.redis_process import RedisProcess
from fakes.service_process import clean_environment, running_service
from integration.records.conftest import migrated_url

SECRET = "sesame-0123456789"


async def found(folder: Path, **sections: Mapping[str, Any]) -> list[Diagnosis]:
    config = {"server": {"data_dir": folder, "port": 0, "metrics_port": 0}, **sections}
    return [finding async for finding in examine(load(None, {}, config))]


def of(findings: list[Diagnosis], subject: str) -> list[tuple[str, str]]:
    return [(one.state, one.message) for one in findings if one.subject == subject]


async def test_a_redis_that_is_up_and_one_that_is_down(tmp_path: Path) -> None:
    """It answers, takes writes and keeps the time; what it would lose is a warning."""
    server = RedisProcess(tmp_path, keep=False)
    try:
        findings = await found(tmp_path, redis={"url": server.url})
        states = [state for state, _ in of(findings, "redis")]
        assert states == ["ok", "ok", "warning"]
        assert "append-only" in of(findings, "redis")[-1][1]
        assert of(findings, "clock") == [("ok", "agrees with that of Redis")]
        server.command("CONFIG", "SET", "maxmemory-policy", "allkeys-lru")
        findings = await found(tmp_path, redis={"url": server.url})
        assert "allkeys-lru" in of(findings, "redis")[2][1]
    finally:
        server.stop()
    url = server.url.replace("//", f"//:{SECRET}@")
    findings = await found(tmp_path, redis={"url": url})
    ((state, message),) = of(findings, "redis")
    assert state == "wrong"
    assert SECRET not in message


async def test_an_old_schema_is_wrong_and_says_what_to_run(
    tmp_path: Path, postgres: PostgresProcess | None
) -> None:
    """On PostgreSQL a migration is a step of its own; the check changes nothing."""
    url = await migrated_url("postgresql", tmp_path, postgres)
    plain = url.replace("postgresql+asyncpg", "postgresql")
    assert of(await found(tmp_path, records={"url": plain}), "records")[0][0] == "ok"
    engine = create_engine(url)
    async with engine.begin() as connection:
        await connection.execute(text("UPDATE alembic_version SET version_num = '0005'"))
    await engine.dispose()
    for _ in range(2):
        findings = await found(tmp_path, records={"url": plain})
        (one,) = (one for one in findings if one.subject == "records")
        assert (one.state, one.remedy) == ("wrong", "Run `assay migrate`")
    closed = f"postgresql://u:{SECRET}@127.0.0.1:1/x"
    ((state, message),) = of(await found(tmp_path, records={"url": closed}), "records")
    assert state == "wrong"
    assert SECRET not in message


async def test_files_with_secrets_are_closed_to_others(tmp_path: Path) -> None:
    """Who can write the keys file can call: that is wrong, and to read it a warning."""
    keys = tmp_path / "keys"
    keys.write_text("nonsense\n")
    subject = "auth.keys_file"
    for mode, state in ((0o600, "ok"), (0o644, "warning"), (0o666, "wrong")):
        keys.chmod(mode)
        findings = of(await found(tmp_path, auth={"keys_file": keys}), subject)
        assert findings[0][0] == state
        assert findings[1:] == [
            ("warning", "line 1 allows nothing: the first word must be a SHA-256 in hexadecimal"),
            ("wrong", "allows no key"),
        ]


async def doctor(folder: Path, *words: str, **environ: str) -> tuple[int, list[dict[str, Any]]]:
    """Exit status and findings of the command; nothing that it says has the secret."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "assay", "doctor", "--json", *words),
        cwd=folder,
        env=clean_environment(environ),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, err = await process.communicate()
    assert process.returncode is not None, err
    assert SECRET not in (out + err).decode()
    return process.returncode, list(map(json.loads, out.splitlines()))


async def test_a_wrong_configuration_names_its_fields(tmp_path: Path) -> None:
    """Each field at fault is a finding, and nothing else is checked."""
    (tmp_path / "assay.toml").write_text('[server]\nprot = 1\nhost = 7\n[redis]\nurl = ""\n')
    code, findings = await doctor(tmp_path)
    assert code == 1
    assert [(one["subject"], one["state"]) for one in findings] == [("configuration", "wrong")] * 2
    assert "server.prot: unknown key; did you mean 'port'?" in str(findings)


async def test_a_key_that_is_refused_is_wrong_and_not_shown(tmp_path: Path) -> None:
    """The model's small call says so, and the remedy names the key's variable; without calls, it
    is not asked."""

    async def refuse(_: web.Request) -> web.Response:
        return web.json_response({"error": {"message": "Incorrect API key"}}, status=401)

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", refuse)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    config = (
        '[providers.p]\ndialect = "openai_chat"\napi_key_env = "P_KEY"\n'
        f'base_url = "http://127.0.0.1:{runner.addresses[0][1]}/v1"\n'
        '[models.m]\nprovider = "p"\nname = "gpt-6-luna"\n'
    )
    (tmp_path / "assay.toml").write_text(config)
    try:
        code, findings = await doctor(tmp_path, P_KEY=SECRET)
        assert code == 1
        (wrong,) = (one for one in findings if one["state"] == "wrong")
        assert (wrong["subject"], "P_KEY" in wrong["remedy"]) == ("model m", True)
        assert "agrees with that of p" in str(findings)
        code, _ = await doctor(tmp_path, "--no-calls", P_KEY=SECRET)
        assert code == 0
    finally:
        await runner.cleanup()


async def test_a_health_check_that_speaks_no_http_is_a_finding(tmp_path: Path) -> None:
    """A port of something else, such as Redis, is said to be wrong."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readline()
        writer.write(b"-ERR unknown command\r\n")
        writer.close()

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        code, findings = await doctor(tmp_path, "--url", url, "--ready-url", f"{url}/readyz")
    assert code == 1
    assert [one["state"] for one in findings] == ["wrong", "wrong"]


async def test_a_running_service_is_checked_by_its_url(tmp_path: Path) -> None:
    """Its readiness, version and clock, and the role of the key; a wrong URL says what to mend."""
    async with running_service(tmp_path) as service:
        ready = ("--ready-url", f"{service.metrics_url}/readyz")
        code, findings = await doctor(tmp_path, "--url", service.url, *ready)
        assert code == 0
        states = {one["subject"]: one["message"] for one in findings}
        assert states["health check"].endswith("serving")
        assert "role write" in states["API key"]
        assert states["version"].startswith("service and client are")
        code, findings = await doctor(tmp_path, "--url", service.metrics_url)
        assert (code, findings[-1]["state"]) == (1, "wrong")
