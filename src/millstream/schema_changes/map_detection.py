"""Objects used as maps: `{"0df0": {...}, "3f1a": {...}}` becomes a column per key and leaf.

A nested list in each of them becomes a table per key.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import replace

from millstream.model import Column, SchemaChange, SchemaVersion, Severity, Table
from millstream.schema_changes.renames import is_own

SEPARATOR = "__"
KEYS = 20
"""So many new keys of one object in one run, and it may be a map."""
MANY = 100
"""So many new columns and tables of one object are breaking: held before they exist."""
ALIKE = 0.8
"""The share of the keys that must have the commonest shape."""

TABLE_OF_KEYS = "table of keys"
"""What an object has become that the configuration names as a map."""

# ids, hashes, dates: digits in bulk or a long hexadecimal word; `field_1` is none of them
_GENERATED = re.compile(r"\d{3,}|(?=[a-f_]*\d)[0-9a-f_]{8,}", re.ASCII)


def explosions(
    old: Table | None, new: Table, version: SchemaVersion | None = None
) -> Iterator[SchemaChange]:
    """Objects that got `KEYS` or more new keys of one shape at once, outermost first.

    One that would make `MANY` columns and tables is breaking, unless it was let in before: nobody
    wants to accept the new keys of each load.

    Args:
        version: the schema that `new` is a table of, for the tables below it.
    """
    known = set(old.column) if old else set()
    objects = _objects(column for column in new.columns if column.name not in known)
    known_objects = {
        SEPARATOR.join(name.split(SEPARATOR)[:end])
        for name in known
        for end in range(1, name.count(SEPARATOR) + 2)
    }
    told: list[str] = []
    for name, keys in sorted(objects.items(), key=lambda item: item[0].count(SEPARATOR)):
        if any(
            name == outer or name.startswith(f"{outer}{SEPARATOR}") or not outer for outer in told
        ):
            continue
        fresh = {
            key: shape
            for key, shape in keys.items()
            if (f"{name}{SEPARATOR}{key}" if name else key) not in known_objects
        }
        if not _is_map(fresh):
            continue
        told.append(name)
        columns = sum(len(shape) for shape in fresh.values())
        tables = _tables_below(new, name, fresh, version)
        made = f"{columns:,} columns" + (f" and {tables:,} tables" if tables else "")
        let_in = sum(key not in fresh for key in _keys(name, known)) >= KEYS
        severity: Severity = "risky" if let_in or columns + tables < MANY else "breaking"
        where = f"`{name}`" if name else f"rows of `{new.name}`"
        yield SchemaChange(
            kind="map_explosion",
            table=new.name,
            column=name or None,
            new=made,
            severity=severity,
            message=f"{where}: {len(fresh):,} new keys of the same shape (`{min(fresh)}`, ...) "
            f"make {made}; it looks like a map, whose keys are data{_remedy(new, name, version)}",
        )


def map_columns(table: Table) -> dict[str, str]:
    """The columns of a table that are keys of maps, with the name of the map of each.

    A map that was let in as columns: its keys come and go, as data does.
    """
    objects = _objects(table.columns)
    maps = [name for name, keys in objects.items() if name and _is_map(keys)]
    return {
        column.name: name
        for name in sorted(maps, key=lambda name: -name.count(SEPARATOR))  # the outermost last
        for column in table.columns
        if column.name.startswith(f"{name}{SEPARATOR}")
    }


def _objects(columns: Iterable[Column]) -> dict[str, dict[str, dict[str, str]]]:
    """Each object with its keys, and of each key the shape of what lies below it.

    The rows themselves are the object without a name.
    """
    objects: dict[str, dict[str, dict[str, str]]] = {}
    for column in columns:
        if column.variant_of is not None or is_own(column):
            continue
        parts = column.name.split(SEPARATOR)
        for end in range(len(parts)):
            if not all(parts[: end + 1]):
                break  # a name that begins with two underscores
            inside = objects.setdefault(SEPARATOR.join(parts[:end]), {})
            inside.setdefault(parts[end], {})[SEPARATOR.join(parts[end + 1 :])] = column.data_type
    return objects


def _tables_below(
    table: Table, name: str, keys: dict[str, dict[str, str]], version: SchemaVersion | None
) -> int:
    """The tables of lists in the entries of a map."""
    start = SEPARATOR.join(filter(None, (table.name, name))) + SEPARATOR
    below = [each.name for each in (version.tables if version else ())]
    return sum(
        each.removeprefix(start).split(SEPARATOR)[0] in keys or _split(each, start) in keys
        for each in below
        if each.startswith(start)
    )


def _split(name: str, start: str) -> str:
    """The key behind `start`, one that itself begins with an underscore included."""
    rest = name.removeprefix(start)
    head, _, _ = rest.lstrip("_").partition(SEPARATOR)
    return rest[: len(rest) - len(rest.lstrip("_"))] + head


def _keys(name: str, known: set[str]) -> set[str]:
    """The keys of an object among columns."""
    start = f"{name}{SEPARATOR}" if name else ""
    return {_split(each, start) for each in known if each.startswith(start) and SEPARATOR in each}


def _remedy(table: Table, name: str, version: SchemaVersion | None) -> str:
    """The key in `defs.yaml` that makes rows of them; empty where the rows themselves are maps."""
    parents = {each.name: each.parent for each in (version.tables if version else ())}
    root = table.name
    while parent := parents.get(root):
        root = parent
    path = [*table.name.removeprefix(root).split(SEPARATOR), *_path(table, name)]
    dotted = ".".join(filter(None, path))
    if not name:
        return ""
    return f". `maps: {{{root}: [{dotted}]}}` in defs.yaml makes it a table with a row per key"


def _path(table: Table, name: str) -> list[str]:
    """The keys that lead to an object, as the JSON has them where that is known."""
    depth = name.count(SEPARATOR) + 1
    for column in table.columns:
        if column.path and column.name.startswith(f"{name}{SEPARATOR}"):
            keys = column.path.rpartition("[].")[2].split(".")
            if len(keys) > depth:
                return keys[:depth]
    return name.split(SEPARATOR)


def is_map_at(path: str, name: str | None) -> bool:
    """Whether a path of the JSON, `a.b`, leads to the object that a change calls `name`.

    >>> is_map_at("tierAndDetails", "tier_and_details"), is_map_at("a.b", "b"), is_map_at("a", "b")
    (True, True, False)
    """
    ours, theirs = (
        re.sub(r"[\W_]", "", text.lower()) for text in (path, (name or "").replace(SEPARATOR, "."))
    )
    return bool(theirs) and ours.endswith(theirs)


def describe_maps(
    changes: Iterable[SchemaChange], version: SchemaVersion, paths: Iterable[str]
) -> tuple[SchemaChange, ...]:
    """Changes, with those in words of their own that `maps` makes of objects loaded as columns.

    Args:
        version: what would be loaded.
        paths: those that the configuration names as maps.
    """
    wanted = {_folded(path) for path in paths}

    def described(change: SchemaChange) -> SchemaChange:
        if not wanted or _folded(_whole_path(change, version)) not in wanted:
            return change
        if change.kind == "became_list" and change.old == "object":
            return _made_a_table(change)
        if change.kind == "column_gone":  # its rows are a list's, and its source has an object
            message = change.message.replace("the list ", "the object ", 1)
            return replace(change, message=message)
        return change

    return tuple(map(described, changes))


def _made_a_table(change: SchemaChange) -> SchemaChange:
    name = change.column
    return replace(
        change,
        new=TABLE_OF_KEYS,
        message=f"`{name}`, an object before, is now the table `{change.table}__{name}` with a row "
        f"per key, as `maps` says; rows loaded before keep its columns `{name}__*`",
    )


def _whole_path(change: SchemaChange, version: SchemaVersion) -> str:
    """The names that lead from a row of the root table to what a change is of."""
    parents = {table.name: table.parent for table in version.tables}
    root = change.table
    while parent := parents.get(root):
        root = parent
    return f"{change.table.removeprefix(root)}{change.column}"


def _folded(path: str) -> str:
    return re.sub(r"[\W_]", "", path).lower()


def _is_map(keys: dict[str, dict[str, str]]) -> bool:
    if len(keys) < KEYS:
        return False
    objects = {key: shape for key, shape in keys.items() if "" not in shape}
    if len(objects) >= ALIKE * len(keys):
        # a leaf that is null in one entry is missing there: compare what most entries have
        counts: dict[str, int] = {}
        for shape in objects.values():
            for leaf in shape:
                counts[leaf] = counts.get(leaf, 0) + 1
        common = {leaf for leaf, count in counts.items() if count >= ALIKE * len(objects)}
        alike = sum(common <= shape.keys() and bool(common) for shape in objects.values())
        return len(counts) <= max(8, 3 * len(common)) and alike >= ALIKE**2 * len(keys)
    types = [shape[""] for shape in keys.values() if "" in shape]
    if len(types) < ALIKE * len(keys) or len(set(types)) > 1:
        return False
    return sum(bool(_GENERATED.search(key)) for key in keys) >= ALIKE * len(keys)
