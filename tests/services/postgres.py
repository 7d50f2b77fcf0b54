"""A real PostgreSQL server, from the system's packages."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

from services import free_port, missing

OWNER = "millstream"
PASSWORD = "correct-horse/battery@staple"  # with what a URL must escape

# a server whose data lives for a minute need not survive a power cut
_OPTIONS = "fsync=off full_page_writes=off synchronous_commit=off max_connections=50"


@dataclass(frozen=True)
class Postgres:
    """A running server that asks for a password."""

    port: int
    programs: Path
    data: Path
    user: str | None

    def start(self) -> bool:
        """Start it, again on its port; False where that is taken."""
        settings = " ".join(f"-c {option}" for option in _OPTIONS.split())
        listen = f"-p {self.port} -c listen_addresses=127.0.0.1 -c unix_socket_directories="
        command = ["-l", self.data.parent / "log", "-w", "-t", "120", "-o", f"{listen} {settings}"]
        return self._control(*command, "start", check=False) == 0

    def stop(self) -> None:
        """Stop it at once, as when its machine fails: who is connected loses what is under way."""
        self._control("-m", "immediate", "-w", "stop", check=False)

    def _control(self, *command: Any, check: bool) -> int:
        return _call([self.programs / "pg_ctl", "-D", self.data, *command], self.user, check=check)

    def url(self, database: str, *, user: str = OWNER, password: str = PASSWORD) -> str:
        from urllib.parse import quote

        return f"postgresql://{user}:{quote(password, safe='')}@127.0.0.1:{self.port}/{database}"

    def new_database(self) -> str:
        name = f"test_{uuid4().hex[:12]}"
        self.query("postgres", f'CREATE DATABASE "{name}"')
        return name

    def query(self, database: str, sql: str, *values: Any) -> list[tuple[Any, ...]]:
        import psycopg2

        connection = psycopg2.connect(self.url(database))
        try:
            connection.autocommit = True  # CREATE DATABASE runs in no transaction
            with connection.cursor() as cursor:
                cursor.execute(sql, values or None)
                return cursor.fetchall() if cursor.description else []
        finally:
            connection.close()


@contextmanager
def running() -> Iterator[Postgres]:
    """Start a server in a folder of its own; stop it and remove the folder in the end."""
    programs = _programs()
    user = "postgres" if os.geteuid() == 0 else None  # it refuses to run as root
    # not pytest's tmp_path: the user postgres may not look into that
    folder = Path(tempfile.mkdtemp(prefix="millstream-postgres-"))
    secret = folder / "password"
    data = folder / "data"
    try:
        secret.write_text(PASSWORD)
        if user:
            shutil.chown(folder, user)
            shutil.chown(secret, user)
        initdb = f"-U {OWNER} -A scram-sha-256 -E UTF8 --locale=C --no-sync"
        _call(
            [programs / "initdb", "-D", data, "--pwfile", secret, *initdb.split()],
            user,
        )
        for _ in range(5):  # another process may take the port first
            server = Postgres(free_port(), programs, data, user)
            if server.start():
                break
        else:
            raise RuntimeError(f"PostgreSQL did not start:\n{(folder / 'log').read_text()}")
        try:
            yield server
        finally:
            server.stop()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _call(command: list[Any], user: str | None, *, check: bool = True) -> int:
    done = subprocess.run(
        [str(part) for part in command],
        user=user,
        cwd="/",
        check=False,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,  # a pipe would stay open in the server
        stderr=subprocess.DEVNULL,
    )
    if check and done.returncode:
        raise RuntimeError(f"{Path(str(command[0])).name} failed with status {done.returncode}")
    return done.returncode


def _programs() -> Path:
    """The folder of the server's programs; Debian keeps it off PATH."""
    if found := shutil.which("initdb"):
        return Path(found).resolve().parent
    versions = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    if not versions:
        missing("PostgreSQL's server (initdb, pg_ctl) is not installed")
    return versions[-1].parent
