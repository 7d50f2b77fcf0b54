"""What the data tells beside the schema: dlt's schema never forgets a field, nor says that one
turned from a scalar into an object. Read from two versions and the profiles that they carry.
"""

from __future__ import annotations

from collections.abc import Collection, Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import dropwhile
from math import lgamma, log

from millstream.common.text import quantity
from millstream.formats.object_names import is_list_index, objects_around, profile_key
from millstream.model import Column, SchemaChange, SchemaVersion, Table
from millstream.schema_changes.map_detection import explosions, map_columns
from millstream.schema_changes.messages import percent
from millstream.schema_changes.renames import (
    SEPARATOR,
    column_renames,
    describe,
    is_own,
    list_rename,
)
from millstream.schema_changes.shapes import (
    arriving_shapes,
    in_other_shapes,
    list_path,
    lists_of,
    objects_of,
    replaced_shapes,
    reshaped,
    rows_of,
    shapes_of,
)
from millstream.schema_changes.sketch import distinct
from millstream.schema_changes.snapshot import Profile

CHANCE = 0.0001
"""A field counts as gone when its absence by chance is less likely than this."""

Pair = tuple[Column, Column]
"""A column before and now."""


def observe(
    old: SchemaVersion,
    new: SchemaVersion,
    *,
    loaded: SchemaVersion,
    loads: Sequence[Profile] | None = None,
    seen: Sequence[Profile] = (),
    knows_columns: bool = False,
) -> Iterator[SchemaChange]:
    """Changes of the data, table by table; at most one per column, the one that says most.

    A field that took several shapes at once has a change for each: a rule may hold only one.

    Shares that moved are for `drift` to tell.

    Args:
        loaded: what was loaded of `old`: a column that was only accepted ahead is new in a load.
        loads: what each recent load saw; None where only the sum of them is known.
        seen: the same, with what was settled since: two fields that met in a load are two.
        knows_columns: whether the source has columns, all of which are in each row: one that is in
            none is gone, however few rows there are.
    """
    before = old.table
    told: set[tuple[str, str]] = set()
    for table in new.tables:
        was = before.get(table.name)
        yield from explosions(was, table, new)
        if was is None:
            continue
        reshapes = [*reshaped(was, table, old, new)]
        yield from reshapes
        had = loaded.table.get(table.name, Table(table.name))
        # of what people accepted ahead, as little is told again as of what is told here
        changed = {str(change.column) for change in reshapes}
        mixed = {*changed, *in_other_shapes(table, new), *keys_of_maps(had, table)}
        objects = _objects_gone(was, table, old, new, loads, seen)
        replaced = replaced_shapes(table, new, loads or ())
        gone = [
            (was.column[column.name], column)
            for column in table.columns
            if column.name in was.column
            and column.name not in mixed
            and not replaced.intersection(shapes_of(column))
            and _is_gone(
                was.column[column.name],
                column,
                is_certain=column.name in objects.fields
                or (knows_columns and _is_in_each_row(was, was.column[column.name])),
            )
        ]
        renames = column_renames([old for old, _ in gone], had, table, kept=mixed, seen=seen)
        yield from (describe(table.name, rename) for rename in renames)
        told.update((table.name, rename.old) for rename in renames)
        renamed = frozenset[str]().union(*(rename.columns for rename in renames))
        pairs = {new.name: (old, new) for old, new in gone if new.name not in renamed}
        arriving = [
            column.name
            for column in table.columns
            if column.variant_of is None and column.profile and column.profile.present
        ]
        arriving += [
            name for name, shapes in arriving_shapes(table, new).items() if "list" in shapes
        ]
        lists = [
            name
            for name in objects.lists
            if not any((table.name, around) in told for around in objects_around(name))
        ]
        for name, fields in by_object([*pairs, *lists], arriving).items():
            if len(fields) == 1 and name in lists:
                continue  # for `_lists_gone` to tell
            told.add((table.name, name))
            columns = [pairs[field] for field in fields if field in pairs]
            yield _column_gone(
                table.name,
                name,
                columns,
                fields=len({*fields} - {name}),
                rows=rows_of(table) or 0,
                share=objects.shares.get(name, 0.0),
                is_exact=name not in objects.estimated,
            )
    yield from _lists_gone(loaded, new, told, loads, seen)


def keys_of_maps(before: Table, table: Table) -> set[str]:
    """Columns that are keys of a map that was loaded `before` and still arrives.

    Which keys it has is data, and no field of it is renamed or gone.
    """
    maps = map_columns(before)
    if not maps:
        return set()
    names = {*maps.values()}
    keys = {
        column.name: name
        for column in table.columns
        for name in names
        if column.name.startswith(f"{name}{SEPARATOR}")
    }
    arriving = {
        name
        for column in table.columns
        if (name := keys.get(column.name)) and column.profile and column.profile.present
    }
    return {column for column, name in keys.items() if name in arriving}


def new_variants(before: Container[str], table: Table) -> set[str]:
    """Columns some of whose values went into a variant that is not among those `before`."""
    return {
        column.variant_of
        for column in table.columns
        if column.variant_of is not None and column.name not in before
    }


@dataclass(frozen=True, slots=True)
class _ObjectsGone:
    """Objects of which a load has no field, however rare each of them was.

    Attributes:
        shares: of the rows before that had the object, by its name.
        estimated: objects whose share is an estimate.
        fields: the columns of these objects.
        lists: the lists in these objects.
    """

    shares: Mapping[str, float]
    estimated: Collection[str]
    fields: frozenset[str]
    lists: Sequence[str]


def _objects_gone(
    was: Table,
    table: Table,
    old: SchemaVersion,
    new: SchemaVersion,
    loads: Sequence[Profile] | None,
    seen: Sequence[Profile],
) -> _ObjectsGone:
    rows, arriving = rows_of(table), arriving_shapes(table, new)
    replaced = replaced_shapes(table, new, loads or ())
    fields: dict[str, set[str]] = {}
    lists: dict[str, dict[str, Table]] = {}
    for column in was.columns:
        if column.profile and column.profile.present:
            for around in objects_of(column.name, column.path):
                fields.setdefault(around, set()).add(column.name)
    prefix = f"{table.name}{SEPARATOR}"
    for child in old.tables:
        if child.parent == table.name and child.name.startswith(prefix) and lists_of(child):
            name = child.name.removeprefix(prefix)
            for around in objects_of(name, list_path(child)):
                lists.setdefault(around, {})[name] = child
    shares: dict[str, float] = {}
    estimated = set()
    for name in dict.fromkeys((*fields, *lists)):
        columns, children = fields.get(name, ()), lists.get(name, {}).values()
        if not rows or not loads or len(columns) + len(children) < 2 or name in arriving:
            continue
        if any((each, "object") in replaced for each in (*objects_around(name), name)):
            continue
        if not columns and any(list_rename(child, old, new, seen) for child in children):
            continue
        held = [_holders(load, table, name, children) for load in loads]
        first = next((number for number, (hits, _) in enumerate(held) if hits), len(held))
        before = sum(_rows_of(load, table.name) for load in loads[first:])
        hits = sum(each for each, _ in held)
        if hits and _by_chance(hits, before, rows) < log(CHANCE):
            shares[name] = hits / before
            if not all(is_exact for _, is_exact in held):
                estimated.add(name)
    return _ObjectsGone(
        shares,
        estimated,
        frozenset().union(*(fields.get(name, ()) for name in shares)),
        [*dict.fromkeys(each for name in shares for each in lists.get(name, ()))],
    )


def _holders(load: Profile, table: Table, name: str, lists: Iterable[Table]) -> tuple[int, bool]:
    """In how many rows of a table a load had an object, by its columns or by its lists.

    And whether that is what was counted, not an estimate.
    """
    start = profile_key(name)
    columns = (seen for key, seen in load.get(table.name, {}).items() if key.startswith(start))
    most = max((seen.present for seen in columns), default=0)
    indexes = [
        seen
        for child in lists
        for key, seen in load.get(child.name, {}).items()
        if is_list_index(key)
    ]
    counted = max(most, max((seen.present for seen in indexes), default=0))
    together, is_exact = distinct(seen.sketch for seen in indexes)
    if together <= counted:
        return counted, True
    return min(together, _rows_of(load, table.name)), is_exact


def _rows_of(load: Profile, table: str) -> int:
    return max((seen.rows for seen in load.get(table, {}).values()), default=0)


def _is_in_each_row(table: Table, column: Column) -> bool:
    """Whether a column was in all rows of a root table, and not within an object of these."""
    seen = column.profile
    if table.parent is not None or any(objects_of(column.name, column.path)):
        return False
    return seen is not None and seen.present == seen.rows


def _is_gone(old: Column, new: Column, *, is_certain: bool) -> bool:
    """Absent from every row of this load, and too many rows for that to be chance."""
    before, now = old.profile, new.profile
    if before is None or now is None or not now.rows or not before.present or now.present:
        return False
    if new.variant_of is not None or is_own(new):
        return False
    return is_certain or _by_chance(before.present, before.rows, now.rows) < log(CHANCE)


def by_object(names: Collection[str], others: Iterable[str]) -> dict[str, list[str]]:
    """Columns that share a fate, by the outermost object of which they are all there is.

    A nested object that stops arriving is one change, however many fields it had.

    Args:
        others: columns that arrive, or did; those with a fate of their own count.
    """
    inside = {ancestor for name in others if name not in names for ancestor in objects_around(name)}
    grouped: dict[str, list[str]] = {}
    for column in names:
        whole = (name for name in objects_around(column) if name not in inside)
        grouped.setdefault(next(whole, column), []).append(column)
    return {name if len(found) > 1 else found[0]: found for name, found in grouped.items()}


def _column_gone(
    table: str,
    name: str,
    pairs: Sequence[Pair],
    *,
    fields: int,
    rows: int,
    share: float,
    is_exact: bool,
) -> SchemaChange:
    """A column, or an object of several fields, stopped arriving.

    Args:
        share: of the rows that had the object, as far as that is known.
        is_exact: whether it was counted.
    """
    shares = {old.name: old.profile.presence for old, _ in pairs if old.profile}
    itself = shares.pop(name, 0.0)  # a row has a field as a scalar or as an object
    most = min(itself + max([share, *shares.values()]), 1.0)
    before = percent(most) if is_exact else f"about {most:.0%}"
    columns = [new for _, new in pairs]
    merges = any(column.primary_key or column.merge_key for column in columns)
    cursor = any(column.cursor for column in columns)
    role = "the key " if merges else "the cursor " if cursor else ""
    arrives = "no longer arrives"
    if fields:
        role, arrives = "", f"and its {quantity(fields, 'field')} no longer arrive"
    return SchemaChange(
        kind="column_gone",
        table=table,
        column=name,
        old=before,
        new="0%",
        severity="breaking" if merges or cursor else "risky",
        message=f"{role}`{name}` {arrives}: in none of {quantity(rows, 'row')}, before in {before}",
    )


def _lists_gone(
    old: SchemaVersion,
    new: SchemaVersion,
    told: Collection[tuple[str, str]],
    loads: Sequence[Profile] | None,
    seen: Sequence[Profile],
) -> Iterator[SchemaChange]:
    """Nested lists of which this load has no item, though it has rows that could hold them.

    Args:
        told: tables and their objects that are told as renamed or gone, with the lists in them.
        loads: what each recent load saw; those before the list came say nothing of its share.
    """
    for table in new.tables:
        was, parent = old.table.get(table.name), new.table.get(table.parent or "")
        if was is None or parent is None or parent.name not in old.table or rows_of(table) != 0:
            continue
        holders, lists, before = rows_of(parent), lists_of(was), rows_of(old.table[parent.name])
        if loads is not None:
            before = _rows_since(table.name, parent.name, loads)
        if not holders or not lists or not before:
            continue
        name = table.name.removeprefix(f"{parent.name}{SEPARATOR}")
        # of a field that was a list, then a scalar, and now is neither, one change tells
        if any((parent.name, around) in told for around in (name, *objects_around(name))):
            continue
        arriving = arriving_shapes(parent, new)
        if arriving.get(name, set()) - {"list"} or any(
            arriving.get(around, set()) - {"object"} for around in objects_around(name)
        ):
            continue  # in another shape
        if {*map_columns(old.table[parent.name]).values()}.intersection(objects_around(name)):
            continue  # of a key of a map
        if rename := list_rename(was, old, new, seen):
            yield describe(parent.name, rename, what="the list ")
        elif _by_chance(lists, max(before, lists), holders) < log(CHANCE):
            share = percent(lists / max(before, lists))
            yield SchemaChange(
                kind="column_gone",
                table=parent.name,
                column=name,
                old=share,
                new="0%",
                severity="risky",
                message=f"the list `{name}` no longer arrives: in none of "
                f"{quantity(holders, 'row')}, "
                f"before in {share}",
            )


def _rows_since(table: str, parent: str, loads: Sequence[Profile]) -> int:
    """Rows of a parent in the loads from the first one on that had its child table."""
    since = dropwhile(lambda load: not load.get(table), loads)
    return sum(_rows_of(load, parent) for load in since)


def _by_chance(hits: int, rows: int, more: int) -> float:
    """The logarithm of how likely none of `more` rows has what `hits` of `rows` had.

    Of no prior opinion on the share: the beta-binomial; one row of one proves no 100%.
    """
    a, b = hits + 1, rows - hits + 1
    return lgamma(b + more) + lgamma(a + b) - lgamma(b) - lgamma(a + b + more)
