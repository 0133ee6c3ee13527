"""A real PostgreSQL server on a free port, to be paused, killed and restarted."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import asyncpg

from assay.records.migrate import migrate
from fakes.ports import free_port

T = TypeVar("T")

START_S_MAX = 30.0
UNPRIVILEGED = "nobody"
"""PostgreSQL refuses to run as root."""


def postgres_programs() -> Path | None:
    """The folder of PostgreSQL's programs: from PATH, else where Debian's package has them."""
    found = shutil.which("pg_ctl")
    folders = [Path(found).parent] if found else []
    folders += sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
    return next((folder for folder in folders if (folder / "initdb").exists()), None)


class PostgresProcess:
    """One server with its data in `folder`; `new_database()` makes an empty database.

    The folder must not be in one of pytest's, which only the user of the tests may enter.
    """

    def __init__(self, folder: Path, programs: Path) -> None:
        self.port = free_port()
        self._folder = folder / "postgres"
        self._folder.mkdir()
        self._programs = programs
        self._databases = 0
        self._user = UNPRIVILEGED if os.geteuid() == 0 else None
        if self._user:
            shutil.chown(folder, self._user)
            shutil.chown(self._folder, self._user)
        self._run(
            "initdb", "-U", "assay", "--auth=trust", "--encoding=UTF8", "--locale=C", "--no-sync"
        )
        self.start()

    def start(self) -> None:
        options = f"-p {self.port} -c listen_addresses=127.0.0.1 -c unix_socket_directories="
        self._run(
            *("pg_ctl", "start", "--wait", "--timeout", str(round(START_S_MAX)), "--silent"),
            *("--options", options, "--log", str(self._folder / "log")),
        )

    def stop(self, mode: str = "immediate") -> None:
        self._run("pg_ctl", "stop", "--mode", mode, "--silent")

    def pause(self) -> None:
        """Stop all its processes where they are: connections open, and nothing answers."""
        self._signal(signal.SIGSTOP)

    def resume(self) -> None:
        self._signal(signal.SIGCONT)

    def _signal(self, number: signal.Signals) -> None:
        main = int((self._folder / "postmaster.pid").read_text().split()[0])
        os.kill(main, number)  # first, so that it starts no others
        for status in Path("/proc").glob("[0-9]*/stat"):
            with contextlib.suppress(OSError):
                if int(status.read_text().rpartition(")")[2].split()[1]) == main:
                    os.kill(int(status.parent.name), number)

    def new_database(self) -> str:
        """SQLAlchemy's URL of an empty database."""
        self._databases += 1
        name = f"records{self._databases}"
        _in_a_thread(asyncio.run, self._execute(f"CREATE DATABASE {name}"))
        return f"postgresql+asyncpg://assay@127.0.0.1:{self.port}/{name}"

    def new_migrated_database(self) -> str:
        """SQLAlchemy's URL of a database with the newest schema."""
        url = self.new_database()
        _in_a_thread(migrate, url)
        return url

    async def _execute(self, statement: str) -> None:
        connection = await asyncpg.connect(
            host="127.0.0.1", port=self.port, user="assay", database="postgres"
        )
        await connection.execute(statement)
        await connection.close()

    def _run(self, program: str, *arguments: str) -> None:
        deadline_s = time.monotonic() + START_S_MAX
        subprocess.run(
            [self._programs / program, "-D", str(self._folder), *arguments],
            check=True,
            user=self._user,
            stdout=subprocess.DEVNULL,
            cwd=self._folder,
            timeout=deadline_s - time.monotonic(),
        )


def _in_a_thread(work: Callable[[T], object], argument: T) -> None:
    """Run what needs an event loop of its own, and wait for it."""
    thread = threading.Thread(target=work, args=(argument,))
    thread.start()
    thread.join()
