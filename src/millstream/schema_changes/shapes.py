"""Whether a field is a scalar, an object or a list, before and in a load."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from millstream.formats.object_names import is_list_index, objects_around
from millstream.model import Column, SchemaChange, SchemaVersion, Table
from millstream.schema_changes.messages import type_words
from millstream.schema_changes.renames import SEPARATOR
from millstream.schema_changes.snapshot import Profile


def reshaped(
    was: Table, table: Table, old: SchemaVersion, new: SchemaVersion
) -> Iterator[SchemaChange]:
    """Scalars that became objects or lists, and the reverse: dlt adds columns or a table."""
    old_shapes, new_shapes = _shapes(was, old), _shapes(table, new)
    for name, now in new_shapes.items():
        before = old_shapes.get(name, {})
        for shape, words in now.items():
            if not before or shape in before or _in_one_row(name, table, new):
                continue
            yield SchemaChange(
                kind={"object": "became_object", "list": "became_list"}.get(shape, "became_scalar"),  # type: ignore[arg-type]
                table=table.name,
                column=name,
                old=" and ".join(before.values()),
                new=words,
                severity="breaking",
                message=f"`{name}` was {' and '.join(map(_article, before.values()))}, "
                f"now it is also {_article(words)}",
            )


def _in_one_row(name: str, table: Table, version: SchemaVersion) -> bool:
    """Whether a row has both `name` and what looks like its fields or items.

    Then they are fields of their own whose names begin alike, as `Region` and `Region__c` do: a
    field holds one thing in a row.
    """
    scalar = table.column.get(name)
    child = version.table.get(f"{table.name}{SEPARATOR}{name}")
    *_, second, most = sorted(
        [
            0,
            scalar.profile.present if scalar and scalar.profile else 0,
            max(
                (
                    column.profile.present
                    for column in table.columns
                    if column.name.startswith(f"{name}{SEPARATOR}")
                    and column.variant_of is None
                    and column.profile
                ),
                default=0,
            ),
            lists_of(child) if child else 0,
        ]
    )
    return second + most > (rows_of(table) or 0) > 0


def in_other_shapes(table: Table, version: SchemaVersion) -> set[str]:
    """Columns of fields that this load holds in another shape: as an object, a list or a scalar.

    What such a column lacks is there. That its field changed its shape was told when it did.
    """
    arriving = arriving_shapes(table, version)
    return {
        column.name
        for column in table.columns
        if column.variant_of is None
        and (
            arriving.get(column.name, set()) - {"scalar"}
            or any(
                arriving.get(around, set()) - {"object"}
                for around in objects_of(column.name, column.path)
            )
        )
    }


def replaced_shapes(
    table: Table, version: SchemaVersion, loads: Iterable[Profile]
) -> set[tuple[str, str]]:
    """Fields with a shape in which loads, oldest first, no longer had them, but in another one.

    What their columns lack was told when the shape changed.
    """
    last: dict[str, set[str]] = {}
    for load in loads:
        last.update(arriving_shapes(table, version, load))
    shapes = {"scalar", "object", "list"}
    return {(name, shape) for name, having in last.items() for shape in shapes - having}


def shapes_of(column: Column) -> Iterator[tuple[str, str]]:
    """What a column makes of its field, and of the objects around it."""
    yield column.name, "scalar"
    for around in objects_of(column.name, column.path):
        yield around, "object"


def arriving_shapes(
    table: Table, version: SchemaVersion, load: Profile | None = None
) -> dict[str, set[str]]:
    """The shapes in which a load holds each field of a table: `scalar`, `object`, `list`.

    Args:
        load: what it saw; what the version carries where left out.
    """

    def has(table: Table, column: Column) -> bool:
        seen = column.profile if load is None else load.get(table.name, {}).get(column.name)
        return seen is not None and seen.present > 0

    arriving: dict[str, set[str]] = {}
    for column in table.columns:
        if column.variant_of is None and has(table, column):
            arriving.setdefault(column.name, set()).add("scalar")
            for around in objects_of(column.name, column.path):
                arriving.setdefault(around, set()).add("object")
    prefix = f"{table.name}{SEPARATOR}"
    for child in version.tables:
        if child.parent == table.name and child.name.startswith(prefix):
            if not any(has(child, column) for column in child.columns):
                continue
            name = child.name.removeprefix(prefix)
            arriving.setdefault(name, set()).add("list")
            for around in objects_of(name, list_path(child)):
                arriving.setdefault(around, set()).add("object")
    return arriving


def _shapes(table: Table, version: SchemaVersion) -> dict[str, dict[str, str]]:
    """For each field of a table, `scalar` (with its type), `object` and `list`, as was seen.

    In that order, whatever the order of the columns, which no stored schema keeps.
    """
    shapes: dict[str, dict[str, str]] = {}
    for column in table.columns:
        if column.variant_of is not None or column.name.startswith("_"):
            continue
        shapes.setdefault(column.name, {})["scalar"] = type_words(column)
        for name in objects_of(column.name, column.path):
            shapes.setdefault(name, {})["object"] = "object"
    prefix = f"{table.name}{SEPARATOR}"
    for child in version.tables:
        if child.parent == table.name and child.name.startswith(prefix):
            name = child.name.removeprefix(prefix)
            shapes.setdefault(name, {})["list"] = "list"
            for ancestor in objects_of(name, list_path(child)):
                shapes.setdefault(ancestor, {})["object"] = "object"
    return {
        name: {shape: seen[shape] for shape in ("scalar", "object", "list") if shape in seen}
        for name, seen in shapes.items()
    }


def objects_of(name: str, path: str) -> Iterator[str]:
    """The objects that hold a column or a list, by their names; `path` is the JSON path.

    A key may have a `__` of its own: of an object `tags` and a key `tags__count` only the path
    tells which is which.
    """
    keys = path.rpartition("[].")[2].removesuffix("[]").split(".")
    if not path or SEPARATOR.join(keys) != name:  # of a name that was cut, or without a path
        yield from objects_around(name)
        return
    for end in range(1, len(keys)):
        yield SEPARATOR.join(keys[:end])


def list_path(child: Table) -> str:
    """The JSON path of the lists that a child table's rows come from; empty where none is known."""
    path = next((column.path for column in child.columns if "[]" in column.path), "")
    return path.rpartition("[]")[0]


def _article(words: str) -> str:
    return {"object": "an object", "list": "a list"}.get(words, words)


def rows_of(table: Table) -> int | None:
    """Rows of the load, or loads, that a version tells of; None where nothing was counted."""
    return max((column.profile.rows for column in table.columns if column.profile), default=None)


def lists_of(table: Table) -> int:
    """Lists, not empty ones, that a child table's rows come from."""
    for column in table.columns:
        if is_list_index(column.name) and column.profile:
            return column.profile.present
    return 0
