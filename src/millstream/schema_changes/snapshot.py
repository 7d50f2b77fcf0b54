"""A dlt schema, and what the load counted, as a SchemaVersion."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from millstream.common.metadata_tables import is_own
from millstream.formats.json_path import json_path, list_path, spelled, variant_base
from millstream.formats.key_names import keys_by_name
from millstream.model import Column, ColumnProfile, SchemaVersion, Table

if TYPE_CHECKING:
    import dlt

Profile = Mapping[str, Mapping[str, ColumnProfile]]
"""What one load saw, by table and column name."""

Keys = Mapping[tuple[str, ...], str]
"""A stream's keys, by the names that lead to each."""


def snapshot(
    schema: dlt.Schema, profile: Profile | None = None, *, resource: str | None = None
) -> SchemaVersion:
    """The data tables of a dlt schema: copied, so that nothing done to the result touches it.

    Leaves out dlt's own tables, columns without a data type (only ever null so far) and tables
    without a single complete column. A table's parent is what dlt says it is, never guessed from
    the name. Root tables come first in the schema's order, each followed by its children.

    Args:
        schema: read only; dlt keeps and changes it.
        profile: what the load saw, by table and column; None where nothing was counted.
        resource: only the root tables of this dlt resource, and their children; a schema holds
            those of every stream of its source. None takes all.

    A child whose parent is missing or incomplete is kept, as a root.
    """
    own = schema.version_table_name[: -len("version")]  # `_dlt_`, as this naming writes it
    tables = {
        str(table["name"]): table
        for table in schema.data_tables()
        if not is_own(str(table["name"]))
    }
    separator = schema.naming.PATH_SEPARATOR
    profile = profile or {}
    return SchemaVersion(
        tuple(
            Table(
                name=name,
                parent=parent,
                columns=tuple(
                    _column(column, own, separator, prefix, keys, profile.get(name, {}))
                    for column in tables[name]["columns"].values()
                    if _is_complete(column)
                ),
            )
            for name, parent, prefix, keys in _walk(tables, separator, resource)
        )
    )


def column_from(column: Mapping[str, Any]) -> Column:
    """One column of a dlt schema, complete, without its JSON path."""
    return _column(column, column["name"], "__", "", {}, {})


def _is_complete(column: Mapping[str, Any]) -> bool:
    return bool(column.get("name")) and bool(column.get("data_type"))


def _walk(
    tables: Mapping[str, Any], separator: str, resource: str | None
) -> list[tuple[str, str | None, str, Keys]]:
    """Name, parent, JSON path and remembered keys of tables, parents first, depth first."""
    children: dict[str | None, list[str]] = {}
    for name, table in tables.items():
        parent = table.get("parent")
        children.setdefault(parent if parent in tables else None, []).append(name)
    found: list[tuple[str, str | None, str, Keys]] = []
    pending: list[tuple[str, str | None, str, Keys]] = [
        (name, None, "", keys_by_name(tables[name]))
        for name in reversed(children.get(None, []))
        if resource is None or tables[name].get("resource", name) == resource
    ]
    while pending:
        name, parent, path, names = pending.pop()
        found.append((name, parent, path, names))
        for child in reversed(children.get(name, [])):
            lists = list_path(name, child, separator, tables[child])
            pending.append((child, name, path + lists, names))
    return found


def _column(
    column: Mapping[str, Any],
    own: str,
    separator: str,
    prefix: str,
    names: Keys,
    profile: Mapping[str, ColumnProfile],
) -> Column:
    name = column["name"]
    base = variant_base(name, column["data_type"], separator) if column.get("variant") else None
    is_own = name.startswith(own)
    path = "" if is_own else json_path(prefix, base or name, separator, column)
    return Column(
        name=name,
        data_type=column["data_type"],
        nullable=column.get("nullable") is not False,
        primary_key=bool(column.get("primary_key")),
        variant_of=base,
        precision=column.get("precision"),
        scale=column.get("scale"),
        timezone=False if column.get("timezone") is False else None,  # dlt: True is the default
        merge_key=bool(column.get("merge_key")),
        cursor=bool(column.get("incremental")),
        path=path,
        source_path=spelled(path, names.get) if names and path else "",
        profile=profile.get(name),
    )
