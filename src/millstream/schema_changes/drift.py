"""Presence and null share of each column, this load against each of the recent ones.

What `data_changes` compares is this load with all recent ones as if they were one; a share that
goes up and down by nature would be told again and again. Here it has to leave the range that the
loads had.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from typing import Literal

from millstream.model import Column, ColumnProfile, Drift, SchemaVersion
from millstream.schema_changes.data_changes import in_other_shapes, new_variants
from millstream.schema_changes.map_detection import map_columns
from millstream.schema_changes.messages import percent
from millstream.schema_changes.profile import pool
from millstream.schema_changes.renames import is_own
from millstream.schema_changes.significance import JUMP, is_outside, jumped
from millstream.schema_changes.snapshot import Profile

MIN_ROWS = 20
"""A load with fewer rows of a table proves nothing about it, neither now nor before."""
MIN_LOADS = 3
"""Earlier loads of a column that it takes to know its range."""


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
            drifted = _drifted(table.name, column, seen, before, each or [before], threshold)
            if (jump := next(drifted, None)) is not None:
                found.append(jump)
    return tuple(found)


def _drifted(
    table: str,
    column: Column,
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
    column: Column,
    share: Literal["presence", "null share"],
    seen: ColumnProfile,
    now: float,
    before: Sequence[float],
    threshold: float,
) -> Iterator[Drift]:
    if not is_outside(now, before, least=threshold):
        return
    lowest, highest = min(before), max(before)
    said = percent(lowest) if lowest == highest else f"{percent(lowest)} to {percent(highest)}"
    verb = "arrives in" if share == "presence" else "is null in"
    loads = f"the last {len(before)} loads" if len(before) > 1 else "recent loads"
    message = f"`{column.name}` {verb} {percent(now)} of {seen.rows:,} rows, in {loads} in {said}"
    yield Drift(table, column.name, share, now, lowest, highest, seen.rows, message)


def _of(load: Profile, table: str, column: str) -> ColumnProfile | None:
    """What a load saw in a column; None where it had no rows."""
    seen = load.get(table, {}).get(column)
    return seen if seen is not None and seen.rows else None


def _is_left_out(column: Column) -> bool:
    # what a variant takes, its column lacks: one of the two is enough
    return column.variant_of is not None or is_own(column)
