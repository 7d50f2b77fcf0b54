"""What `millstream init` can write: a table of sources and one of destinations.

A new source is a folder in `templates/sources` and a line in `SOURCES`; its files are
`source.yaml.tmpl` (the block of defs.yaml), `env.tmpl`, `tables.tmpl` (what its README says of the
tables), `schema.yaml` where the tables are known beforehand (as a real load made them) and whatever
`tests`, `data` and `code` name. A destination likewise.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal


@dataclass(frozen=True, slots=True)
class SourceKind:
    """One SOURCE of `millstream init`.

    Attributes:
        name: as typed, also the folder of defs.yaml in the project.
        title: how a sentence begins.
        pipeline: the pipeline's name, and the dataset's.
        table: one of its tables, for examples.
        tests: files of the project's `tests` folder.
        tested: what these do, and what they need.
        data: files of the project's `data` folder, for a first run.
        code: modules of the project's package.
        lists: placeholders that are written as YAML lists, with what stands there by default.
        known: how Dagster knows the tables before the first run: from `schema.yaml` (`tables`),
            from what `millstream discover` found (`discovered`), or not (`open`).
        extra: Millstream's extras that the source needs, with commas between them.
        catalog: the file that `millstream discover` writes beside defs.yaml.
    """

    name: str
    title: str
    pipeline: str
    table: str
    tests: tuple[str, ...]
    tested: str
    data: tuple[str, ...] = ()
    code: tuple[str, ...] = ()
    lists: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    known: Literal["tables", "discovered", "open"] = "open"
    extra: str | None = None
    catalog: str = ""


@dataclass(frozen=True, slots=True)
class DestinationKind:
    """One DESTINATION of `millstream init`.

    Attributes:
        name: as typed; of one that was not tested, dlt's, too.
        title: how a sentence names it.
        extra: Millstream's extra that it needs, if any.
        variables: of one that is dlt's alone and was not tested: the last part of the names of its
            credentials, each with an example.
        limits: what such a one needs beside dlt's extra, as pip takes it.
    """

    name: str
    title: str
    extra: str | None = None
    variables: Mapping[str, str] = field(default_factory=dict)
    limits: tuple[str, ...] = ()

    @property
    def requirements(self) -> tuple[str, ...]:
        """What a project needs for it, where Millstream's extras do not have that."""
        return (f"dlt[{self.name}]", *self.limits) if self.variables else ()

    @property
    def folder(self) -> str:
        """Its templates."""
        return "untested" if self.variables else self.name


SOURCES: Mapping[str, SourceKind] = {
    kind.name: kind
    for kind in (
        SourceKind(
            name="github_issues",
            title="GitHub issues",
            pipeline="github",
            table="issues",
            tests=("conftest.py", "issues.json", "test_pipeline.py"),
            tested="`pytest` loads the definitions, and issues from a server of its own: "
            "no network needed",
            lists={
                "repositories": ("dlt-hub/verified-sources",),
                "streams": ("issues", "issue_comments"),
            },
            known="tables",
        ),
        SourceKind(
            name="mongodb",
            title="MongoDB",
            pipeline="mongodb",
            table="orders",
            tests=("conftest.py", "test_pipeline.py"),
            tested="`pytest` loads the definitions, and documents from a real server "
            "(`MONGODB_TEST_URI`, or the one on localhost), in a database of its own that it "
            "drops again",
            lists={"databases": ("shop",)},
            known="discovered",
            extra="mongodb",
            catalog="collections.yaml",
        ),
        SourceKind(
            name="sql_database",
            title="SQL tables",
            pipeline="shop",
            table="orders",
            tests=("test_pipeline.py",),
            tested="`pytest` loads the definitions, and a table of an SQLite file of its own",
            known="discovered",
            extra="sql_database,postgres",
            catalog="tables.yaml",
        ),
        SourceKind(
            name="rest_api",
            title="A REST API",
            pipeline="api",
            table="berries",
            tests=("conftest.py", "test_pipeline.py"),
            tested="`pytest` loads the definitions, and answers of a server of its own: "
            "no network needed",
        ),
        SourceKind(
            name="files",
            title="Files",
            pipeline="files",
            table="orders",
            tests=("test_pipeline.py",),
            tested="`pytest` loads the definitions, and the first file of `data/`: "
            "no network needed",
            data=("orders.jsonl",),
        ),
        SourceKind(
            name="dlt",
            title="A dlt source",
            pipeline="shop",
            table="orders",
            tests=("test_pipeline.py",),
            tested="`pytest` loads the definitions, and the rows of `rows.py`",
            code=("rows.py",),
        ),
    )
}

DESTINATIONS: Mapping[str, DestinationKind] = {
    kind.name: kind
    for kind in (
        DestinationKind("duckdb", "DuckDB"),
        DestinationKind("postgres", "PostgreSQL", extra="postgres"),
        DestinationKind("bigquery", "BigQuery", extra="bigquery"),
        DestinationKind("filesystem", "Parquet files"),
        DestinationKind("delta", "Delta tables", extra="delta"),
        DestinationKind("iceberg", "Iceberg tables", extra="iceberg"),
        DestinationKind(
            "motherduck", "MotherDuck", variables={"DATABASE": "warehouse", "PASSWORD": "TOKEN"}
        ),
        DestinationKind(
            "ducklake",
            "DuckLake",
            variables={"CATALOG": "sqlite:///catalog.sqlite"},
            limits=("duckdb<2",),  # what dlt asks of it, DuckDB 2 lacks
        ),
        DestinationKind(
            "snowflake",
            "Snowflake",
            variables={
                "DATABASE": "warehouse",
                "USERNAME": "loader",
                "PASSWORD": "PASSWORD",
                "HOST": "ACCOUNT",
                "WAREHOUSE": "COMPUTE_WH",
                "ROLE": "LOADER",
            },
        ),
        DestinationKind(
            "redshift",
            "Redshift",
            variables={
                "DATABASE": "warehouse",
                "USERNAME": "loader",
                "PASSWORD": "PASSWORD",
                "HOST": "CLUSTER.REGION.redshift.amazonaws.com",
            },
        ),
        DestinationKind(
            "clickhouse",
            "ClickHouse",
            variables={
                "DATABASE": "warehouse",
                "USERNAME": "loader",
                "PASSWORD": "PASSWORD",
                "HOST": "localhost",
                "HTTP_PORT": "8443",
            },
        ),
        DestinationKind(
            "databricks",
            "Databricks",
            variables={
                "SERVER_HOSTNAME": "WORKSPACE.cloud.databricks.com",
                "HTTP_PATH": "/sql/1.0/warehouses/ID",
                "ACCESS_TOKEN": "TOKEN",
                "CATALOG": "main",
            },
        ),
    )
}
