"""A real MariaDB server, from the system's package."""

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

from services import accepts, free_port, missing, wait_for

USER = "loader"
PASSWORD = "correct-horse"

# a server whose data lives for a minute need not survive a power cut
_OPTIONS = (
    "--innodb-flush-log-at-trx-commit=0",
    "--innodb-buffer-pool-size=32M",
    "--innodb-log-file-size=8M",
    "--skip-log-bin",
    "--default-time-zone=+05:30",  # of which nothing may be seen
)


@dataclass(frozen=True)
class MariaDB:
    """A running server that asks for a password."""

    port: int

    def url(self, database: str) -> str:
        return f"mysql://{USER}:{PASSWORD}@127.0.0.1:{self.port}/{database}"

    def new_database(self) -> str:
        name = f"test_{uuid4().hex[:12]}"
        self.query("mysql", f"CREATE DATABASE {name} CHARACTER SET utf8mb4")
        return name

    def query(self, database: str, sql: str) -> list[tuple[Any, ...]]:
        import pymysql
        from pymysql.constants.CLIENT import MULTI_STATEMENTS

        with (
            pymysql.connect(
                host="127.0.0.1",
                port=self.port,
                user=USER,
                password=PASSWORD,
                database=database,
                autocommit=True,
                client_flag=MULTI_STATEMENTS,
            ) as connection,
            connection.cursor() as cursor,
        ):
            cursor.execute(sql)
            found = list(cursor.fetchall())
            while cursor.nextset():
                pass
            return found


@contextmanager
def running() -> Iterator[MariaDB]:
    """Start a server in a folder of its own; stop it and remove the folder in the end."""
    program = shutil.which("mariadbd", path=f"{os.environ['PATH']}:/usr/sbin")
    install = shutil.which("mariadb-install-db")
    if program is None or install is None:
        missing("MariaDB's server (mariadbd, mariadb-install-db) is not installed")
    folder = Path(tempfile.mkdtemp(prefix="millstream-mariadb-"))
    server = MariaDB(free_port())
    user = ["--user=root"] if os.geteuid() == 0 else []
    start = folder / "start.sql"
    start.write_text(
        f"CREATE USER {USER}@localhost IDENTIFIED BY '{PASSWORD}';\n"
        f"GRANT ALL ON *.* TO {USER}@localhost;\n"
    )
    try:
        subprocess.run(
            [install, "--no-defaults", f"--datadir={folder / 'data'}", "--skip-test-db", *user],
            check=True,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        process = subprocess.Popen(
            [
                program,
                "--no-defaults",
                f"--datadir={folder / 'data'}",
                f"--socket={folder / 'socket'}",
                f"--port={server.port}",
                "--bind-address=127.0.0.1",
                f"--init-file={start}",
                *_OPTIONS,
                *user,
            ],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            wait_for(lambda: accepts(server.port), seconds=120, what="MariaDB")
            yield server
        finally:
            process.terminate()
            process.wait(60)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
