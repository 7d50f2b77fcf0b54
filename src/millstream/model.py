"""The nouns that pass between layers: frozen dataclasses, without behaviour."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from datetime import datetime
from typing import Any, Literal

ChangeKind = Literal[
    "table_added", "column_added", "variant_added", "type_changed", "nullability_changed"
]
Severity = Literal["safe", "risky", "breaking"]


@dataclass(frozen=True, slots=True)
class Column:
    """One column of a table. `data_type` is dlt's (`text`, `bigint`, `timestamp`, ...)."""

    name: str
    data_type: str
    nullable: bool = True
    primary_key: bool = False
    variant_of: str | None = None
    """For `n__v_text`: `n`, the column whose values did not all fit its type."""


@dataclass(frozen=True, slots=True)
class Table:
    """One table. `parent` is None for a root table, else the table whose lists it holds."""

    name: str
    parent: str | None = None
    columns: tuple[Column, ...] = ()

    @property
    def column(self) -> dict[str, Column]:
        return {column.name: column for column in self.columns}


@dataclass(frozen=True, slots=True)
class SchemaVersion:
    """The tables of one stream at one moment, data tables only, parents before children."""

    tables: tuple[Table, ...] = ()

    @property
    def table(self) -> dict[str, Table]:
        return {table.name: table for table in self.tables}


@dataclass(frozen=True, slots=True)
class SchemaChange:
    """One difference between two schema versions.

    Attributes:
        kind: what happened.
        table: the table that it happened to.
        column: the column, or None for a whole table.
        old: the data type before, or None where there was nothing.
        new: the data type now.
        severity: `safe` never breaks a reader, `risky` may, `breaking` will.
        message: one plain sentence for people.
    """

    kind: ChangeKind
    table: str
    column: str | None
    old: str | None
    new: str | None
    severity: Severity
    message: str


@dataclass(frozen=True, slots=True)
class TableLoad:
    """What one run did to one table.

    Attributes:
        rows: rows that this run loaded; 0 where the table got none.
        rows_total: rows in the table now, or None where the destination can't count.
        bytes: bytes of this run's load files for the table.
        full_name: the table's fully qualified name in the destination.
    """

    name: str
    parent: str | None
    rows: int
    rows_total: int | None
    bytes: int
    full_name: str


@dataclass(frozen=True, slots=True)
class RunReport:
    """What one run of one stream did: the only thing that metadata, checks and the CLI print from.

    Attributes:
        load_id: dlt's load id, as in `_dlt_load_id`; None where there was nothing to load.
        seconds: wall-clock seconds per step, in the order of the steps.
        tables: every table of the stream, the root first.
        changes: every schema change of this run, in the schema's order.
        schema: the stream's tables after the run.
        engine_rows: rows by who normalized them, `{"dlt": 120}`.
    """

    pipeline: str
    stream: str
    destination: str
    dataset: str
    load_id: str | None
    started_at: datetime
    seconds: Mapping[str, float]
    tables: tuple[TableLoad, ...]
    changes: tuple[SchemaChange, ...]
    schema: SchemaVersion
    engine_rows: Mapping[str, int] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()

    @property
    def rows(self) -> int:
        """Rows loaded into the root table; child rows are theirs."""
        return self.tables[0].rows if self.tables else 0

    @property
    def total_seconds(self) -> float:
        return sum(self.seconds.values())

    def to_dict(self) -> dict[str, Any]:
        """The report as JSON-ready values, for `--json`."""
        return {**asdict(self), "started_at": self.started_at.isoformat()}


@dataclass(frozen=True, slots=True)
class Stream:
    """One stream that a source offers, known without connecting.

    Attributes:
        name: also the name of the root table.
        primary_key: the columns that merge on; empty where rows are appended.
        description: one line for people.
    """

    name: str
    primary_key: tuple[str, ...] = ()
    description: str = ""


@dataclass(frozen=True, slots=True)
class Check:
    """One line of `millstream doctor`: a thing that must hold before a run can start."""

    name: str
    ok: bool
    detail: str
    hint: str | None = None
