"""The nouns that pass between layers: frozen dataclasses, without behaviour."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from datetime import datetime
from typing import Any, Literal

StructuralChangeKind = Literal[
    "table_added",
    "table_dropped",
    "parent_changed",
    "column_added",
    "variant_added",
    "column_dropped",
    "type_changed",
    "nullability_changed",
    "key_changed",
]
"""Changes of the schema: applying these to the old version gives the new one."""
DataChangeKind = Literal[
    "became_object",
    "became_list",
    "became_scalar",
    "column_gone",
    "column_renamed",
    "presence_changed",
    "null_share_changed",
    "map_explosion",
]
"""Changes of the data: what the schema alone can't tell, or tells in pieces."""
ChangeKind = Literal[StructuralChangeKind, DataChangeKind]
Severity = Literal["safe", "risky", "breaking"]
Action = Literal["allow", "warn", "hold", "quarantine"]
"""Go on in silence, go on and say so, send nothing until someone accepts, or go on without the
rows that need the change."""
DecidedBy = Literal["rule", "preset", "first run", "people"]
"""A rule of the policy, its preset, the first run of a stream, or people, who accepted it."""
QuarantineReason = Literal["contract", "policy", "refused", "unreadable"]
"""A dlt schema contract discards it, a rule of ours quarantines it, dlt can't normalize it, or the
source could not read it."""

COUNTED = 256
"""Distinct values of a column that are counted; of more, their number is estimated."""


@dataclass(frozen=True, slots=True)
class ColumnProfile:
    """What one load saw in one column. Counts, so that the profiles of loads add up.

    Attributes:
        rows: rows of the table in this load.
        present: rows whose JSON had the field, null included.
        nulls: rows that hold null in this column: absent, null, or gone into a variant.
        minimum, maximum: of numbers, dates (ISO 8601) and booleans; None where there is none.
        distinct: distinct values that are not null, about; None where not counted.
        longest: characters of the longest text; None where the column holds no text.
        sketch: the smallest hashes of distinct values, ascending; empty where none were taken. Two
            sketches of one maker tell how many values two columns share.
    """

    rows: int
    present: int
    nulls: int
    minimum: int | float | str | bool | None = None
    maximum: int | float | str | bool | None = None
    distinct: int | None = None
    longest: int | None = None
    sketch: tuple[int, ...] = ()

    @property
    def is_estimated(self) -> bool:
        """Whether there are more distinct values than are counted."""
        return self.distinct is not None and self.distinct >= COUNTED

    @property
    def presence(self) -> float:
        """Share of rows whose JSON had the field, 0 to 1; 0 of an empty table."""
        return self.present / self.rows if self.rows else 0.0

    @property
    def null_share(self) -> float:
        """Share of rows that hold null, 0 to 1; 0 of an empty table."""
        return self.nulls / self.rows if self.rows else 0.0


@dataclass(frozen=True, slots=True)
class Column:
    """One column of a table.

    Attributes:
        data_type: dlt's: `text`, `bigint`, `timestamp`, ...
        precision, scale, timezone: as dlt knows them; None where it leaves them open.
        merge_key: rows merge on it although it is no primary key.
        cursor: incremental loading reads on from its highest value.
        path: where the values lie in the JSON, by the names that keys have in the destination:
            `user.login`, `labels[].name`; empty for columns that the load itself adds. Two columns
            that differ in it alone are equal.
        source_path: the same by the keys as the source has them, `user.loginName`; empty where they
            are not known. Not compared either.
        profile: what the last load saw; None where nothing was counted. Not compared either.
    """

    name: str
    data_type: str
    nullable: bool = True
    primary_key: bool = False
    variant_of: str | None = None
    """For `n__v_text`: `n`, the column whose values did not all fit its type."""
    precision: int | None = None
    scale: int | None = None
    timezone: bool | None = None
    merge_key: bool = False
    cursor: bool = False
    path: str = field(default="", compare=False)
    source_path: str = field(default="", compare=False)
    profile: ColumnProfile | None = field(default=None, compare=False, repr=False)

    @property
    def origin(self) -> str:
        """Where the values lie in the JSON, as people are told."""
        return self.source_path or self.path


@dataclass(frozen=True, slots=True)
class Table:
    """One table. `parent` is None for a root table, else the table whose lists it holds.

    Attributes:
        objects: what the last load saw of objects, by `profile_key`, whose fields are each rarer.
    """

    name: str
    parent: str | None = None
    columns: tuple[Column, ...] = ()
    objects: Mapping[str, ColumnProfile] = field(default_factory=dict, compare=False, repr=False)

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


@dataclass(frozen=True, slots=True, kw_only=True)
class SchemaChange:
    """One difference between two schema versions.

    Attributes:
        kind: what happened.
        table: the table that it happened to.
        column: the column, or None for a whole table.
        old: the data type before, or None where there was nothing; for other kinds of change
            what was there before in words (`object`, `not null`, `72%`, a parent's name).
        new: the data type now, or what is there now in words; None where nothing is.
        severity: `safe` never breaks a reader, `risky` may, `breaking` will.
        message: one plain sentence for people.
        after: the table or column as it is now, for a change of the schema; else None.
    """

    kind: ChangeKind
    table: str
    column: str | None = None
    old: str | None = None
    new: str | None = None
    severity: Severity
    message: str
    after: Table | Column | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class Decision:
    """What the policy says of one change that nobody has accepted yet.

    Attributes:
        reason: the rule that decided, in words: `preset evolve: risky`, `rule 2`.
        decided_by: who decided; programs go by it, people by `reason`.
    """

    change: SchemaChange
    action: Action
    reason: str
    decided_by: DecidedBy


@dataclass(frozen=True, slots=True)
class Drift:
    """A share of one column that moved further than recent loads moved it.

    Attributes:
        share: `presence`, of rows whose JSON had the field; `null share`, of rows that hold null.
        now: in this load, 0 to 1.
        lowest, highest: in the loads that it is compared with.
        rows: rows of the table in this load.
        message: one plain sentence for people.
    """

    table: str
    column: str
    share: Literal["presence", "null share"]
    now: float
    lowest: float
    highest: float
    rows: int
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
class QuarantinedRows:
    """Rows of the source that one run quarantined for one reason.

    Attributes:
        table: where they, or what of them was quarantined, would have gone.
        detail: in words, of the first of them.
        rows: rows of the source, whose other parts may have been loaded.
    """

    table: str
    reason: QuarantineReason
    detail: str
    rows: int

    @property
    def example(self) -> str:
        """The detail, as what it is: of several rows the first one's."""
        return self.detail if self.rows == 1 else f"the first: {self.detail}"


@dataclass(frozen=True, slots=True)
class Skipped:
    """A part of the source that one run did not read, or not to its end.

    Attributes:
        name: of the part, such as a repository's.
        reason: in a word or two: `blocked`, `not found`, `switched off`.
        detail: what the source answered.
    """

    name: str
    reason: str
    detail: str


@dataclass(frozen=True, slots=True)
class RowUpdate:
    """A correction of rows that earlier runs loaded into a stream's root table.

    Attributes:
        column, value: what identifies the rows. An earlier version may have loaded some without
            that column, which they get.
        values: what they are to hold in other columns.
        before: what they hold there now.
    """

    column: str
    value: int | str
    values: Mapping[str, str]
    before: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Receipt:
    """Whether what the source gave for one table is in it; figures, no values.

    Attributes:
        read: rows that the source gave; of a child table, those in the rows that were checked. None
            where nobody counted them.
        delivered: rows of the load in the destination; of a child table as `read`.
        quarantined: of the rows that were read, those of which all or a part is in quarantine.
        outdated: rows of which the same load has a later version.
        checked: source rows whose values were compared, with all rows that they make.
        unchecked: why no values were compared; empty where they were.
        problems: what is missing, too many or different; empty where all is as it came.
        differing: by column, the source rows in which it differs.
    """

    table: str
    read: int | None = None
    delivered: int = 0
    quarantined: int = 0
    outdated: int = 0
    checked: int = 0
    unchecked: str = ""
    problems: tuple[str, ...] = ()
    differing: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class RunReport:
    """What one run of one stream did: the only thing that metadata, checks and the CLI print from.

    Attributes:
        load_id: dlt's load id, as in `_dlt_load_id`; None where there was nothing to load.
        seconds: wall-clock seconds per step, in the order of the steps.
        tables: every table of the stream, the root first.
        changes: every schema change of this run, in the schema's order.
        decisions: what the policy said of those changes that nobody had accepted before.
        schema: the stream's tables after the run.
        engine_rows: rows by who normalized them, `{"dlt": 120}`.
        engine_reasons: why batches of rows were left to dlt, and how many each time.
        quarantined: what went to `_millstream_quarantine` instead of the tables.
        replayed: rows that came again from there, by what became of them: `replayed`, `waiting`
            (still can't be loaded), `superseded`, `read again` with the whole of their file.
        outdated: rows by table that were not loaded, since the same load has a later version.
        deletions: rows by table, among those that were loaded, that tell of a deletion.
        partition: the key of the partition that was loaded; None of a stream without any.
        history: the full name of the table that keeps the schema's changes; None where none does.
        jumps: shares that moved further than they did in recent loads.
        compared_loads: how many loads these are; 0 where none is known, or nothing was counted.
        skipped: parts of the source that were not read, or not to their end.
        receipts: what arrived of each table, where `receipts` asks for it.
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
    decisions: tuple[Decision, ...] = ()
    quarantined: tuple[QuarantinedRows, ...] = ()
    replayed: Mapping[str, int] = field(default_factory=dict)
    outdated: Mapping[str, int] = field(default_factory=dict)
    partition: str | None = None
    history: str | None = None
    jumps: tuple[Drift, ...] = ()
    compared_loads: int = 0
    skipped: tuple[Skipped, ...] = ()
    engine_reasons: Mapping[str, int] = field(default_factory=dict)
    deletions: Mapping[str, int] = field(default_factory=dict)
    receipts: tuple[Receipt, ...] = ()

    @property
    def rows(self) -> int:
        """Rows loaded into tables without a parent; child rows are theirs."""
        return sum(table.rows for table in self.tables if table.parent is None)

    @property
    def total_seconds(self) -> float:
        return sum(self.seconds.values())

    def to_dict(self) -> dict[str, Any]:
        """The report as JSON-ready values, for `--json`."""
        return {**asdict(self), "started_at": self.started_at.isoformat()}


@dataclass(frozen=True, slots=True)
class Partition:
    """A part of one stream that is loaded, and loaded again, on its own.

    Attributes:
        key: its name; rows hold it in the column `_millstream_partition`.
        by: the field in which a row says what it belongs to, dots between levels; None: the source
            knows.
        start, end: of a window of time, in UTC: from `start` on and before `end`; else None.
        timezone: where `start` is the beginning of a day.
        value: of a static partition: what the field `by` holds.
        arguments: of a dlt source's function: which of them get `start`, `end` and `key`.
        cursor_type: what a dlt resource's own incremental compares; None: what it begins with.
    """

    key: str
    by: str | None
    start: datetime | None = None
    end: datetime | None = None
    timezone: str = "UTC"
    value: str | int | None = None
    arguments: Mapping[str, str] = field(default_factory=dict)
    cursor_type: str | None = None

    @property
    def window(self) -> tuple[datetime, datetime] | None:
        """Start and end; None of a static partition."""
        return (self.start, self.end) if self.start and self.end else None


PARTITION_COLUMN = "_millstream_partition"
"""The column of root tables that tells which partition a row was loaded with."""


@dataclass(frozen=True, slots=True)
class Stream:
    """One stream that a source offers, known without connecting.

    Attributes:
        name: also the name of the root table, unless `table` is set.
        primary_key: the columns that merge on; empty where rows are appended.
        description: one line for people.
        place: where it lies in the source, from the outside in, as plain names that no other stream
            has: `(database, collection)`. Empty where there is nothing around it but the source.
        lists: lists that a sample of its rows held, each by the keys that lead to it, the lists
            around it before those within; each becomes a table.
        members: the resources of a source that are loaded together as this stream; empty where the
            stream is one resource, of its own name.
        has_own_table: False where no table is the stream's more than others: its rows choose their
            tables, or its members have one each.
    """

    name: str
    primary_key: tuple[str, ...] = ()
    description: str = ""
    place: tuple[str, ...] = ()
    lists: tuple[tuple[str, ...], ...] = ()
    table: str = ""
    members: tuple[str, ...] = ()
    has_own_table: bool = True


@dataclass(frozen=True, slots=True)
class Check:
    """One line of `millstream doctor`: a thing that must hold before a run can start."""

    name: str
    ok: bool
    detail: str
    hint: str | None = None
