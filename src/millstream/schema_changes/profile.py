"""What loads saw, added up, and put beside the columns that it is about."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from millstream.formats.object_names import is_profile_key
from millstream.model import ColumnProfile, DecidedBy, Decision, SchemaChange, SchemaVersion
from millstream.schema_changes.diff import DATA_ALONE
from millstream.schema_changes.policy import comes_and_goes
from millstream.schema_changes.renames import is_own
from millstream.schema_changes.sketch import SIZE
from millstream.schema_changes.snapshot import Profile


@dataclass(frozen=True, slots=True)
class LoadProfile:
    """What one load saw.

    Attributes:
        settled: table and column of which it was decided with this load what its data became.
    """

    profile: Profile
    settled: frozenset[tuple[str, str]] = frozenset()


def settled(decisions: Iterable[Decision], profile: Profile) -> frozenset[tuple[str, str]]:
    """Columns of which a load that went through changed what only the data tells.

    No schema remembers such a change: what was accepted, or warned of, would be told again for as
    long as recent loads were otherwise.
    """
    return columns_of(
        (
            field
            for decision in decisions
            if decision.change.kind in DATA_ALONE and not comes_and_goes(decision)
            for field in fields_of(decision.change)
        ),
        profile,
    )


def explained(decisions: Iterable[Decision], profile: Profile) -> frozenset[tuple[str, str]]:
    """Columns whose data changed as people said that it may: by accepting it, or by a rule."""
    return settled(
        (each for each in decisions if is_agreed(each.action, each.decided_by)),
        profile,
    )


def is_agreed(action: str, by: DecidedBy) -> bool:
    """Whether people let a change in, and not a preset for them."""
    return action == "allow" and by != "preset"


def fields_of(change: SchemaChange) -> Iterator[tuple[str, str]]:
    """Table and column, object or list that a change is about: of a rename both names."""
    yield change.table, str(change.column)
    if change.kind == "column_renamed":
        yield change.table, str(change.new)


def columns_of(changed: Iterable[tuple[str, str]], profile: Profile) -> frozenset[tuple[str, str]]:
    """The columns that changes of a table and a column, an object or a list are about."""
    # an object is told as one, however many fields it had, and a list with its tables
    starts = tuple(f"{table}__{name}__" for table, name in changed)
    return frozenset(
        (table, name)
        for table, columns in profile.items()
        for name in columns
        if f"{table}__{name}__".startswith(starts)
    )


def comparable(loads: Sequence[LoadProfile]) -> Sequence[Profile]:
    """What each recent load saw, oldest first, as far as a new load is compared with it.

    Of a column that was settled with one of them, those before are none.
    """
    kept: list[Profile] = []
    known: set[tuple[str, str]] = set()
    for seen in reversed(loads):
        kept.append(
            {
                table: {
                    name: profile for name, profile in columns.items() if (table, name) not in known
                }
                for table, columns in seen.profile.items()
            }
        )
        known |= seen.settled
    return kept[::-1]


def pool(loads: Sequence[Profile]) -> Profile:
    """The profile of several loads as if they were one.

    Counts add up; `distinct` is left out, since the same value may be in two loads. A sketch of
    the union is exact: the smallest hashes of all are among the smallest of each.
    """
    pooled: dict[str, dict[str, ColumnProfile]] = {}
    for load in loads:
        for table, columns in load.items():
            known = pooled.setdefault(table, {})
            for name, seen in columns.items():
                known[name] = _add(known[name], seen) if name in known else seen
    return pooled


def attach(version: SchemaVersion, profile: Profile) -> SchemaVersion:
    """The version with a profile beside each column that it tells of; the others keep theirs."""
    return SchemaVersion(
        tuple(
            replace(
                table,
                columns=tuple(
                    replace(column, profile=seen) if (seen := columns.get(column.name)) else column
                    for column in table.columns
                ),
                objects={name: seen for name, seen in columns.items() if is_profile_key(name)},
            )
            if (columns := _of(profile, table.name))
            else table
            for table in version.tables
        )
    )


def profile_of(version: SchemaVersion) -> Profile:
    """The profile that the version's columns carry."""
    return {
        table.name: {
            **{column.name: column.profile for column in table.columns if column.profile},
            **table.objects,
        }
        for table in version.tables
    }


def most_rows(profile: Profile) -> int:
    """Rows of the table that had most; 0 where none was counted."""
    return max((seen.rows for columns in profile.values() for seen in columns.values()), default=0)


def complete(version: SchemaVersion, profile: Profile) -> Profile:
    """The profile with what is in no row of it: columns that had no value, lists without items.

    Only for a profile of all rows of a load: a column that is not in part of them may be in others.
    """
    completed: dict[str, dict[str, ColumnProfile]] = {}
    counted = {
        name: max((seen.rows for seen in columns.values()), default=0)
        for name, columns in profile.items()
    }
    for each in version.tables:  # parents come first
        if each.name not in counted and each.parent in counted:
            counted[each.name] = 0
    for name, rows in counted.items():
        columns = profile.get(name, {})
        table = version.table.get(name)
        absent = [
            column.name
            for column in (table.columns if table else ())
            if column.name not in columns
            and column.variant_of is None
            and not (rows and is_own(column))
        ]
        nothing = ColumnProfile(rows=rows, present=0, nulls=rows)
        completed[name] = {**columns, **dict.fromkeys(absent, nothing)}
    return completed


def _of(profile: Profile, table: str) -> Mapping[str, ColumnProfile]:
    return profile.get(table, {})


def _add(one: ColumnProfile, other: ColumnProfile) -> ColumnProfile:
    lengths = [seen.longest for seen in (one, other) if seen.longest is not None]
    return ColumnProfile(
        rows=one.rows + other.rows,
        present=one.present + other.present,
        nulls=one.nulls + other.nulls,
        longest=max(lengths, default=None),
        sketch=tuple(sorted({*one.sketch, *other.sketch})[:SIZE]),
    )
