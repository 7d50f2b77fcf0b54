"""A pipeline from a database into a destination, as its user has it: defs.yaml and the command."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest

from millstream.cli import main
from services.places import NAME, Place

MERGING = pytest.mark.parametrize(
    "place",
    [
        "duckdb",
        pytest.param("postgres", marks=pytest.mark.xdist_group("postgres")),
        pytest.param("bigquery", id="bigquery-emulator", marks=pytest.mark.xdist_group("bigquery")),
    ],
    indirect=True,
)
"""With each destination that merges rows."""


@dataclass
class SqlProject:
    """One pipeline.

    Attributes:
        execute: runs a statement in the source's database.
        url: the source's.
    """

    place: Place
    execute: Callable[..., Any]
    url: str
    capsys: pytest.CaptureFixture[str]
    monkeypatch: pytest.MonkeyPatch
    said: str = ""
    more: dict[str, Any] = field(default_factory=dict)

    def define(self, *tables: str, **source: Any) -> None:
        """Write `defs.yaml`, and set the URL."""
        self.monkeypatch.setenv("DATABASE_URL", self.url)
        named = {"tables": list(tables)} if tables else {}
        attributes = {
            "name": NAME,
            "source": {"type": "sql_database", **named, **source},
            "destination": {**self.place.destination, "dataset": self.place.dataset},
            "schema_policy": "anything",
            **self.more,
        }
        text = json.dumps({"type": "millstream.Pipeline", "attributes": attributes})
        (self.place.project / "defs.yaml").write_text(text)

    def command(self, name: str, *arguments: str, fails: bool = False) -> str:
        """What `millstream` prints."""
        file = str(self.place.project / "defs.yaml")
        code = main([name, *arguments, file])
        out = self.capsys.readouterr()
        self.said = out.out + out.err
        assert code == (1 if fails else 0), self.said
        return self.said

    def run(self, *arguments: str, fails: bool = False) -> str:
        return self.command("run", *arguments, fails=fails)

    def rows(self, columns: str, table: str, order: str = "1") -> list[tuple[Any, ...]]:
        return self.place.query(
            f"SELECT {columns} FROM {self.place.from_clause(table)} ORDER BY {order}"
        )


def sqlite_project(
    place: Place, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> SqlProject:
    file = place.project / "source.db"

    def execute(sql: str, *values: Any) -> list[Any]:
        connection = sqlite3.connect(file)
        try:
            with connection:
                if not values and ";" in sql.rstrip().rstrip(";"):
                    connection.executescript(sql)
                    return []
                return connection.execute(sql, values).fetchall()
        finally:
            connection.close()

    execute("PRAGMA user_version = 1")
    return SqlProject(place, execute, f"sqlite:///{file.name}", capsys, monkeypatch)


def postgres_project(
    place: Place,
    server: Any,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> SqlProject:
    database = server.new_database()

    def execute(sql: str, *values: Any) -> list[Any]:
        return server.query(database, sql, *values)

    return SqlProject(place, execute, server.url(database), capsys, monkeypatch)


def mariadb_project(
    place: Place,
    server: Any,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> SqlProject:
    database = server.new_database()

    def execute(sql: str) -> list[Any]:
        return server.query(database, sql)

    return SqlProject(place, execute, server.url(database), capsys, monkeypatch)
