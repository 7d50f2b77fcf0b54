"""Presence and null share of each column, this load against each of the recent ones.

The one rule for shares: runs, `schema diff`, the history, checks and alerts tell what is found
here. A share has to leave the range of recent loads: one that swings by nature is no news.
"""

from __future__ import annotations

from collections.abc import Collection, Container, Iterable, Iterator, Mapping, Sequence
from typing import Literal, get_args

from millstream.formats.object_names import is_profile_key
from millstream.model import Column, ColumnProfile, Drift, SchemaChange, SchemaVersion, Table
from millstream.schema_changes.data_changes import by_object, new_variants
from millstream.schema_changes.map_detection import map_columns
from millstream.schema_changes.messages import percent
from millstream.schema_changes.profile import columns_of, fields_of, pool, profile_of
from millstream.schema_changes.renames import is_own
from millstream.schema_changes.shapes import in_other_shapes
from millstream.schema_changes.significance import JUMP, is_outside, jumped
from millstream.schema_changes.snapshot import Profile

MIN_ROWS = 20
"""A load with fewer rows of a table proves nothing about it, neither now nor before."""
MIN_LOADS = 3
"""Earlier loads of a column that it takes to know its range."""

Share = Literal["presence", "null share"]
_OF_A_FIELD = frozenset(
    {"column_gone", "column_renamed", "became_object", "became_list", "became_scalar"}
)
"""Changes that say all of what became of a field."""


def changes(
    new: SchemaVersion,
    loads: Sequence[Profile],
    told: Iterable[SchemaChange],
    threshold: float = JUMP,
    min_rows: int = MIN_ROWS,
) -> tuple[SchemaChange, ...]:
    """What `jumps` finds, as changes: an object whose fields moved alike is one.

    Args:
        told: the other changes of this load: of a field that is gone nothing more is told.
    """
    fields = [field for each in told if each.kind in _OF_A_FIELD for field in fields_of(each)]
    explained = columns_of(fields, profile_of(new))
    found = jumps(new, loads, threshold=threshold, min_rows=min_rows, explained=explained)
    if not found:
        return ()
    return tuple(
        change for share in get_args(Share) for change in _alike(share, found, pool(loads))
    )


def _alike(share: Share, found: Sequence[Drift], loaded: Profile) -> Iterator[SchemaChange]:
    alike: dict[tuple[str, str], dict[str, Drift]] = {}
    for jump in found:
        if jump.share == share:
            words = jump.message.removeprefix(f"`{jump.column}`")
            alike.setdefault((jump.table, words), {})[jump.column] = jump
    for (table, words), moved in alike.items():
        others = [
            name
            for name, seen in loaded[table].items()
            if seen.present and not is_profile_key(name)
        ]
        for name, fields in by_object([*moved], others).items():
            jump = moved[fields[0]]
            what = f"`{name}` with its {len(fields)} fields" if len(fields) > 1 else f"`{name}`"
            yield SchemaChange(
                kind="presence_changed" if share == "presence" else "null_share_changed",
                table=table,
                column=name,
                old=_range(jump.lowest, jump.highest),
                new=percent(jump.now),
                severity="risky",
                message=f"{what}{words}",
            )


def jumps(
    new: SchemaVersion,
    loads: Sequence[Profile],
    *,
    threshold: float = JUMP,
    min_rows: int = MIN_ROWS,
    explained: Collection[tuple[str, str]] = (),
) -> tuple[Drift, ...]:
    """Shares of `new`, whose columns carry this load's profile, that left the range of `loads`.

    A share is told when it lies more than `threshold` outside of the range that the loads with
    `min_rows` rows or more had, and all of them together, small ones too, make chance unlikely
    (four standard errors). Of a load of fewer rows than `min_rows` nothing is told, nor where all
    earlier loads together had fewer, or where fewer than `MIN_LOADS` had the column. A column whose
    presence left its range is not told of twice, for its null share too; nor is a column whose
    values are in a new variant, or in another shape of its field: that is a change of its own. The
    keys of a map come and go.

    Args:
        explained: tables and columns of which people accepted with this load that they changed.
    """
    together = pool(loads)
    found = []
    for table in new.tables:
        told = in_other_shapes(table, new) | new_variants(together.get(table.name, {}), table)
        told.update(map_columns(table))
        for column in table.columns:
            seen, before = column.profile, together.get(table.name, {}).get(column.name)
            if seen is None or before is None or _is_left_out(column):
                continue
            if column.name in told or (table.name, column.name) in explained:
                continue
            if min(seen.rows, before.rows) < min_rows:
                continue
            every = [profile for load in loads if (profile := _of(load, table.name, column.name))]
            if len(every) < MIN_LOADS:
                continue
            each = [profile for profile in every if profile.rows >= min_rows]
            drifted = _drifted(table.name, column.name, seen, before, each or [before], threshold)
            if (jump := next(drifted, None)) is not None:
                found.append(jump)
        settled = told | {name for where, name in explained if where == table.name}
        found += _sparse_objects(table, loads, settled, threshold, min_rows)
    return tuple(found)


def _sparse_objects(
    table: Table,
    loads: Sequence[Profile],
    settled: Container[str],
    threshold: float,
    min_rows: int,
) -> Iterator[Drift]:
    """What moved of objects that more rows have than any of their fields.

    Args:
        settled: columns that are told of otherwise; an object all of whose fields are is one, too.
    """
    now = {column.name: column.profile for column in table.columns if column.profile}
    now.update(table.objects)
    before = [load[table.name] for load in loads if load.get(table.name)]
    keys = dict.fromkeys(key for each in (*before, now) for key in each if is_profile_key(key))
    for key in keys:
        seen = _of_object(now, key)
        every = [found for load in before if (found := _of_object(load, key))]
        fields = [name for name in now if name.startswith(key) and name != key]
        if seen is None or len(every) < MIN_LOADS or all(name in settled for name in fields):
            continue
        together = pool([{table.name: {key: each}} for each in every])[table.name][key]
        if min(seen.rows, together.rows) < min_rows:
            continue
        each = [found for found in every if found.rows >= min_rows]
        drifted = _drifted(
            table.name, key.removesuffix("__"), seen, together, each or [together], threshold
        )
        yield from (jump for jump in drifted if jump.share == "presence")


def _of_object(load: Mapping[str, ColumnProfile], key: str) -> ColumnProfile | None:
    """What a load saw of an object: in how many rows it was; None where it had no rows."""
    fields = [seen for name, seen in load.items() if name.startswith(key) and seen.rows]
    found = load.get(key) or max(fields, key=lambda seen: seen.present, default=None)
    return found and ColumnProfile(found.rows, found.present, found.rows - found.present)


def _drifted(
    table: str,
    column: str,
    seen: ColumnProfile,
    before: ColumnProfile,
    each: Sequence[ColumnProfile],
    threshold: float,
) -> Iterator[Drift]:
    if jumped(before.present, before.rows, seen.present, seen.rows, least=threshold):
        shares = [profile.presence for profile in each]
        yield from _outside(table, column, "presence", seen, seen.presence, shares, threshold)
    if jumped(before.nulls, before.rows, seen.nulls, seen.rows, least=threshold):
        shares = [profile.null_share for profile in each]
        yield from _outside(table, column, "null share", seen, seen.null_share, shares, threshold)


def _outside(
    table: str,
    column: str,
    share: Share,
    seen: ColumnProfile,
    now: float,
    before: Sequence[float],
    threshold: float,
) -> Iterator[Drift]:
    if not is_outside(now, before, least=threshold):
        return
    lowest, highest = min(before), max(before)
    verb = "arrives in" if share == "presence" else "is null in"
    loads = f"{len(before)} earlier loads" if len(before) > 1 else "earlier loads"
    message = (
        f"`{column}` {verb} {percent(now)} of {seen.rows:,} rows, in {loads} in "
        f"{_range(lowest, highest)}"
    )
    yield Drift(table, column, share, now, lowest, highest, seen.rows, message)


def _range(lowest: float, highest: float) -> str:
    least, most = percent(lowest), percent(highest)
    return least if least == most else f"{least} to {most}"


def _of(load: Profile, table: str, column: str) -> ColumnProfile | None:
    """What a load saw in a column; None where it had no rows."""
    seen = load.get(table, {}).get(column)
    return seen if seen is not None and seen.rows else None


def _is_left_out(column: Column) -> bool:
    # what a variant takes, its column lacks: one of the two is enough
    return column.variant_of is not None or is_own(column)
