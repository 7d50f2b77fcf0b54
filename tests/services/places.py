"""Destinations to load into, each with a reader that knows neither dlt nor Millstream."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import uuid4

from services.bigquery import PROJECT, BigQuery
from services.postgres import Postgres

NAME = "shop"

SetEnvironment = Callable[[str, str], None]


@dataclass(frozen=True)
class Place:
    """An empty destination.

    Attributes:
        destination: what stands under `destination` in a `defs.yaml`.
        query: asks the database itself; identifiers as the database has them.
        from_clause: a table in that query language.
        full_name: the name that Dagster is to be told at run time.
        upserts: whether rows are merged by `upsert` alone.
    """

    kind: str
    project: Path
    dataset: str
    destination: Mapping[str, Any]
    query: Callable[[str], list[tuple[Any, ...]]]
    from_clause: Callable[[str], str]
    full_name: Callable[[str], str]
    merges: bool = True
    upserts: bool = False
    extra: Mapping[str, Any] = field(default_factory=dict)

    def count(self, table: str) -> int:
        if self.kind == "filesystem" and not any(Path(self.full_name(table)).glob("*.parquet")):
            return 0  # of an empty table there is no file
        known = "SELECT 1 FROM information_schema.tables WHERE table_name ="
        if self.upserts and not self.query(f"{known} '{table}'"):
            return 0  # nor of one that was replaced by nothing
        return int(self.query(f"SELECT COUNT(*) FROM {self.from_clause(table)}")[0][0])

    def column(self, table: str, name: str, order: str = "id") -> list[Any]:
        """One column's values, ordered by another."""
        rows = self.query(f"SELECT {name} FROM {self.from_clause(table)} ORDER BY {order}")
        return [row[0] for row in rows]


def duckdb(project: Path) -> Place:
    file = project / "warehouse.duckdb"

    def query(sql: str) -> list[tuple[Any, ...]]:
        import duckdb

        with duckdb.connect(str(file)) as connection:
            return connection.execute(sql).fetchall()

    return Place(
        "duckdb",
        project,
        NAME,
        {"type": "duckdb", "database": file.name},
        query,
        lambda table: f'{NAME}."{table}"',
        lambda table: f"warehouse.{NAME}.{table}",
        extra={"file": file},
    )


def postgres(project: Path, server: Postgres, setenv: SetEnvironment) -> Place:
    database = server.new_database()
    setenv("DESTINATION__POSTGRES__CREDENTIALS", server.url(database))
    return Place(
        "postgres",
        project,
        NAME,
        {"type": "postgres"},
        lambda sql: server.query(database, sql),
        lambda table: f'{NAME}."{table}"',
        lambda table: f"{database}.{NAME}.{table}",
        extra={"server": server, "database": database},
    )


def bigquery(project: Path, emulator: BigQuery, setenv: SetEnvironment) -> Place:
    dataset = f"{NAME}_{uuid4().hex[:8]}"  # one emulator for all tests
    for name, value in emulator.environment.items():
        setenv(name, value)
    return Place(
        "bigquery",
        project,
        dataset,
        {"type": "bigquery", "dataset": dataset, "options": {"project_id": PROJECT}},
        emulator.query,
        lambda table: f"`{PROJECT}.{dataset}.{table}`",
        lambda table: f"{PROJECT}.{dataset}.{table}",
        extra={"emulator": emulator},
    )


def lake(project: Path, table_format: str) -> Place:
    """Delta or Iceberg tables in a folder, read by the packages that write them."""
    bucket = project / "lake"
    return Place(
        table_format,
        project,
        NAME,
        {"type": "filesystem", "table_format": table_format, "options": {"bucket_url": "lake"}},
        lambda sql: query_lake(bucket / NAME, table_format, sql),
        lambda table: f'{NAME}."{table}"',
        lambda table: f"{bucket}/{NAME}/{table}",
        upserts=True,
        extra={"bucket": bucket},
    )


def query_lake(dataset: Path, table_format: str, sql: str) -> list[tuple[Any, ...]]:
    """Ask the tables of a dataset, which are in a schema of its name."""
    import duckdb

    read = _read_delta if table_format == "delta" else _read_iceberg
    with duckdb.connect() as connection:
        connection.execute(f"SET TimeZone = 'UTC'; CREATE SCHEMA {dataset.name}")
        for folder in dataset.glob("*"):
            rows = read(folder)
            source = "rows"
            if rows is None:  # of Millstream's own tables, or of dlt's
                if not any(folder.glob("*.jsonl")):
                    continue
                source = f"read_json('{folder}/*.jsonl', union_by_name => true)"
            connection.execute(f'CREATE TABLE {dataset.name}."{folder.name}" AS FROM {source}')
        return connection.execute(sql).fetchall()


def _read_delta(folder: Path) -> Any:
    from deltalake import DeltaTable

    if not (folder / "_delta_log").is_dir():
        return None
    return DeltaTable(str(folder)).to_pyarrow_table()


def _read_iceberg(folder: Path) -> Any:
    from pyiceberg.table import StaticTable

    files = sorted(str(file) for file in folder.glob("metadata/*.metadata.json"))
    return StaticTable.from_metadata(files[-1]).scan().to_arrow() if files else None


def filesystem(project: Path) -> Place:
    bucket = project / "lake"

    def query(sql: str) -> list[tuple[Any, ...]]:
        import duckdb

        return duckdb.execute(sql).fetchall()

    return Place(
        "filesystem",
        project,
        NAME,
        {"type": "filesystem", "options": {"bucket_url": "lake"}},
        query,
        # files of earlier loads lack the columns that came later
        lambda table: f"read_parquet('{bucket}/{NAME}/{table}/*.parquet', union_by_name => true)",
        lambda table: f"{bucket}/{NAME}/{table}",
        merges=False,
        extra={"bucket": bucket},
    )
