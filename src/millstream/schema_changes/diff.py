"""What changed between two schema versions: pure, complete, one SchemaChange per change.

Two families of rules. The first compares the schemas, and its changes carry what is there now, so
that `apply(old, diff(old, new))` gives `new`. The second reads what the schema tells in pieces or
not at all: a scalar that became an object, a field that stopped arriving, a likely rename.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from typing import get_args

from millstream.common.text import quantity
from millstream.model import (
    ChangeKind,
    Column,
    SchemaChange,
    SchemaVersion,
    Severity,
    StructuralChangeKind,
    Table,
)
from millstream.schema_changes.data_changes import observe
from millstream.schema_changes.messages import key_words, percent, type_words
from millstream.schema_changes.snapshot import Profile

STRUCTURAL: frozenset[ChangeKind] = frozenset(get_args(StructuralChangeKind))
"""The kinds that change the schema; the others say what the data does."""


_FILLED = frozenset({"_dlt_id", "_dlt_root_id", "_dlt_valid_from"})
"""Columns of dlt's whose values follow from the rows that are there: a migration fills them."""

DATA_ALONE: frozenset[ChangeKind] = frozenset(
    {"column_gone", "column_renamed", "presence_changed", "null_share_changed"}
)
"""The kinds that only the counts of a load tell, and no two schemas."""


def diff(
    old: SchemaVersion,
    new: SchemaVersion,
    *,
    loaded: SchemaVersion | None = None,
    loads: Sequence[Profile] | None = None,
    seen: Sequence[Profile] = (),
    knows_columns: bool = False,
) -> tuple[SchemaChange, ...]:
    """Every change from `old` to `new`, in the order of the new schema; what is gone comes last.

    Nothing changed gives nothing. The order of columns is no change. What only the data tells
    (removals, renames) is compared where both, or the new version's, columns carry a profile.

    Args:
        loaded: what was loaded of `old`; the rest of it was accepted ahead. All where left out.
        seen, knows_columns: as `observe`.
        loads: what each recent load saw; shares that left their range are for `drift` to tell.
    """
    changes = [*_structural(old, new)]
    changes += observe(
        old,
        new,
        loaded=old if loaded is None else loaded,
        loads=loads,
        seen=seen,
        knows_columns=knows_columns,
    )
    position = {table.name: index for index, table in enumerate(new.tables)}
    changes.sort(key=lambda change: position.get(change.table, len(position)))
    return tuple(changes)


def apply(old: SchemaVersion, changes: Iterable[SchemaChange]) -> SchemaVersion:
    """`old` with these changes made, in canonical order; changes of the data change nothing.

    Raises:
        ValueError: a change names a table that is not there.
    """
    tables = {table.name: table for table in old.tables}
    for change in changes:
        if change.kind not in STRUCTURAL:
            continue
        if change.kind == "table_added":
            assert isinstance(change.after, Table)
            tables[change.table] = change.after
        elif change.kind == "table_dropped":
            tables.pop(change.table, None)
        elif change.table not in tables:
            raise ValueError(f"no table {change.table!r} to apply {change.kind} to")
        elif change.kind == "parent_changed":
            tables[change.table] = replace(tables[change.table], parent=change.new)
        else:
            assert change.column is not None
            columns = tables[change.table].column
            if change.kind == "column_dropped":
                columns.pop(change.column, None)
            else:
                assert isinstance(change.after, Column)
                columns[change.column] = change.after
            tables[change.table] = replace(tables[change.table], columns=tuple(columns.values()))
    return canonical(SchemaVersion(tuple(tables.values())))


def canonical(version: SchemaVersion) -> SchemaVersion:
    """The same version in one order: parents before children, else by name; columns by name."""
    tables = version.table
    children: dict[str | None, list[str]] = {}
    for name in sorted(tables, reverse=True):
        parent = tables[name].parent
        children.setdefault(parent if parent in tables else None, []).append(name)
    ordered: list[Table] = []
    pending = children.get(None, [])[:]
    while pending:
        table = tables[pending.pop()]
        columns = tuple(sorted(table.columns, key=lambda column: column.name))
        ordered.append(replace(table, columns=columns))
        pending.extend(children.get(table.name, []))
    return SchemaVersion(tuple(ordered))


def _structural(old: SchemaVersion, new: SchemaVersion) -> Iterator[SchemaChange]:
    before = old.table
    for table in new.tables:
        was = before.get(table.name)
        if was is None:
            yield _table_added(table)
            for column in table.columns:
                if column.variant_of is not None:
                    yield _column_added(table, column, is_new_table=True)
            continue
        if was.parent != table.parent:
            yield SchemaChange(
                kind="parent_changed",
                table=table.name,
                old=was.parent,
                new=table.parent,
                severity="breaking",
                message=f"table `{table.name}`: parent changed from {_name(was.parent)} "
                f"to {_name(table.parent)}",
                after=table,
            )
        yield from _columns(was, table)
    after = new.table
    for table in reversed(old.tables):  # children before their parents
        if table.name not in after:
            yield SchemaChange(
                kind="table_dropped",
                table=table.name,
                old="table",
                severity="breaking",
                message=f"table `{table.name}` is gone from the schema",
            )


def _columns(old: Table, new: Table) -> Iterator[SchemaChange]:
    before = old.column
    for column in new.columns:
        was = before.get(column.name)
        if was is None:
            yield _column_added(new, column)
        elif was != column:
            yield from _column_changed(new.name, was, column)
    after = new.column
    for column in old.columns:
        if column.name not in after:
            yield SchemaChange(
                kind="column_dropped",
                table=new.name,
                column=column.name,
                old=type_words(column),
                severity="breaking",
                message=f"column `{column.name}` ({type_words(column)}) is gone from the schema",
            )


def _table_added(table: Table) -> SchemaChange:
    below = f" below `{table.parent}`" if table.parent else ""
    return SchemaChange(
        kind="table_added",
        table=table.name,
        new="table",
        severity="safe",
        message=f"new table `{table.name}`{below}, {quantity(len(table.columns), 'column')}",
        after=table,
    )


def _column_added(table: Table, column: Column, *, is_new_table: bool = False) -> SchemaChange:
    kind: ChangeKind = "column_added"
    is_filled = column.name.lower() in _FILLED
    severity: Severity = "safe" if column.nullable or is_filled else "risky"
    words = type_words(column)
    if column.variant_of is not None:
        kind, severity = "variant_added", "risky"
        base = table.column.get(column.variant_of)
        share = _variant_share(column)
        message = (
            f"`{column.variant_of}`: {type_words(base) if base else 'another type'}, "
            f"{'and' if is_new_table else 'now also'} {words}{share} (in column `{column.name}`)"
        )
        return SchemaChange(
            kind=kind,
            table=table.name,
            column=column.name,
            old=type_words(base) if base else None,
            new=words,
            severity=severity,
            message=message,
            after=column,
        )
    keys = key_words(column)
    traits = [words, *(["not null"] if not column.nullable else []), *([keys] if keys else [])]
    if column.primary_key or column.merge_key:
        severity = "breaking"  # rows that were told apart before may now merge, or the reverse
    message = f"new column `{column.name}` ({', '.join(traits)})"
    if severity == "risky":
        message += ": rows loaded before have no value for it"
    elif is_filled:
        message += ": filled in the rows loaded before"
    return SchemaChange(
        kind=kind,
        table=table.name,
        column=column.name,
        new=words,
        severity=severity,
        message=message,
        after=column,
    )


def _column_changed(table: str, old: Column, new: Column) -> Iterator[SchemaChange]:
    """One change per trait; each carries the whole column, so that any of them applies it all."""
    name = new.name
    was, now = type_words(old), type_words(new)
    if was != now or old.variant_of != new.variant_of:
        same = old.data_type == new.data_type
        yield SchemaChange(
            kind="type_changed",
            table=table,
            column=name,
            old=was,
            new=now,
            severity="risky" if same else "breaking",
            message=f"column `{name}` is now {now}, before {was}",
            after=new,
        )
    if old.nullable != new.nullable:
        yield SchemaChange(
            kind="nullability_changed",
            table=table,
            column=name,
            old="null" if old.nullable else "not null",
            new="null" if new.nullable else "not null",
            severity="risky",
            message=f"column `{name}` may now be null"
            if new.nullable
            else f"column `{name}` must now be filled: rows without it can't be loaded",
            after=new,
        )
    if (old_keys := key_words(old)) != (new_keys := key_words(new)):
        lost = sorted(_keys(old) - _keys(new))
        gained = sorted(_keys(new) - _keys(old))
        said = [f"is no longer {_role(lost)}"] if lost else []
        said += [f"is now {_role(gained)}"] if gained else []
        # a new cursor loses no rows by itself; a new key decides which rows replace which
        harmless = not lost and gained == ["cursor"]
        yield SchemaChange(
            kind="key_changed",
            table=table,
            column=name,
            old=old_keys or None,
            new=new_keys or None,
            severity="risky" if harmless else "breaking",
            message=f"column `{name}` {', '.join(said)}",
            after=new,
        )


def _role(keys: list[str]) -> str:
    return " and ".join("the cursor" if key == "cursor" else f"part of the {key}" for key in keys)


def _keys(column: Column) -> set[str]:
    flags = {
        "primary key": column.primary_key,
        "merge key": column.merge_key,
        "cursor": column.cursor,
    }
    return {name for name, is_set in flags.items() if is_set}


def _variant_share(column: Column) -> str:
    if column.profile is None or not column.profile.rows:
        return ""
    return f" in {percent(1 - column.profile.null_share)} of rows"


def _name(table: str | None) -> str:
    return f"`{table}`" if table else "no table"
