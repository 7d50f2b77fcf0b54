"""A database of its own on the real server, and a warehouse to load it into."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from millstream.config import PipelineConfig, parse_pipeline
from millstream.model import RunReport
from millstream.runs.runner import run
from services.mongod import Mongod


@dataclass
class Shop:
    """One database and one DuckDB file.

    Attributes:
        db: the database, as pymongo's.
        settings: of the source, for `load`.
    """

    server: Mongod
    db: Any
    project: Path
    settings: dict[str, Any] = field(default_factory=dict)

    def config(self, **settings: Any) -> PipelineConfig:
        source = {"type": "mongodb", "databases": [self.db.name], **self.settings, **settings}
        return parse_pipeline(
            {
                "name": "shop",
                "source": source,
                "schema_policy": "anything",
                "destination": {"type": "duckdb", "database": "warehouse.duckdb"},
            },
            where="test",
            project=self.project,
        )

    def load(self, stream: str, *, full_refresh: bool = False, **settings: Any) -> RunReport:
        settings.setdefault("collections", [stream])
        return run(self.config(**settings), stream, full_refresh=full_refresh)

    def query(self, sql: str) -> list[tuple[Any, ...]]:
        import duckdb

        with duckdb.connect(str(self.project / "warehouse.duckdb")) as connection:
            connection.execute("SET TimeZone = 'UTC'")
            return connection.execute(sql).fetchall()

    def rows(self, table: str, *columns: str, order: str = "_id") -> list[tuple[Any, ...]]:
        shown = ", ".join(f'"{column}"' for column in columns)
        return self.query(f'SELECT {shown} FROM shop."{table}" ORDER BY "{order}"')

    def columns(self, table: str) -> dict[str, str]:
        """The table's own columns with DuckDB's types."""
        found = self.query(
            "SELECT column_name, data_type FROM information_schema.columns "
            f"WHERE table_schema = 'shop' AND table_name = '{table}'"
        )
        return {name: kind for name, kind in found if not name.startswith("_dlt")}

    @contextmanager
    def failing(
        self, commands: str, mode: Mapping[str, Any] | str, *, code: int | None = None
    ) -> Iterator[None]:
        """The server fails some commands: with an error code, or else by hanging up."""
        data: dict[str, Any] = {"failCommands": commands.split(), "appName": "millstream"}
        data |= {"errorCode": code} if code else {"closeConnection": True}
        admin = self.db.client.admin
        admin.command("configureFailPoint", "failCommand", mode=mode, data=data)
        try:
            yield
        finally:
            admin.command("configureFailPoint", "failCommand", mode="off")

    def commands(self) -> int:
        """How many documents the server has returned to anyone so far."""
        return int(self.db.client.admin.command("serverStatus")["metrics"]["document"]["returned"])


def raw(*elements: bytes) -> Any:
    """A document of these elements (type, name, NUL, value), as no driver would write it."""
    from bson.raw_bson import RawBSONDocument

    body = b"".join(elements)
    return RawBSONDocument((len(body) + 5).to_bytes(4, "little") + body + b"\0")


def text(value: bytes) -> bytes:
    """A BSON text of these bytes, whatever they are."""
    return (len(value) + 1).to_bytes(4, "little") + value + b"\0"
