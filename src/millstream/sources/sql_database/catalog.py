"""What tables there are, asked once and kept in a file beside `defs.yaml`.

Definitions are then known with the server down, and reading the file needs neither dlt nor
SQLAlchemy.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING, Any

from millstream.config import SqlDatabaseConfig
from millstream.errors import ConfigError, SourceNotFoundError
from millstream.sources import catalog_file
from millstream.sources.sql_database.connection import unknown_types_are_texts
from millstream.sources.table_names import did_you_mean, is_pattern

if TYPE_CHECKING:
    import sqlalchemy as sa

FILE = "tables.yaml"
_OWN = ("_dlt_", "_millstream_", "sqlite_")


@dataclass(frozen=True, slots=True)
class TableInfo:
    """One table or view.

    Attributes:
        kind: `table` or `view`.
        columns: by name, the type as the database writes it.
        lists: columns that are lists, which become tables.
    """

    name: str
    kind: str = "table"
    primary_key: tuple[str, ...] = ()
    columns: Mapping[str, str] = field(default_factory=dict)
    lists: tuple[str, ...] = ()


Catalog = Mapping[str, TableInfo]
"""The tables of a schema by name, sorted."""


def locate(config: SqlDatabaseConfig, catalog: Catalog | None) -> Sequence[TableInfo]:
    """The tables that are configured, in the order of the configuration, patterns resolved.

    Raises:
        ConfigError: there are patterns, and nothing was discovered yet, or one matches nothing.
    """
    found: dict[str, TableInfo] = {}
    for name in config.tables:
        for each in _named(catalog, name):
            found.setdefault(each.name, each)
    for name in config.settings:
        if name not in found:
            raise ConfigError(
                f"`settings` name {name!r}, which is not a table of this source",
                hint=did_you_mean(name, found),
            )
    return tuple(found.values())


def is_complete(config: SqlDatabaseConfig) -> bool:
    """True where every table is named, so that there is nothing to discover first."""
    return not any(is_pattern(each) for each in config.tables)


def missing(config: SqlDatabaseConfig, catalog: Catalog) -> str | None:
    """A table that is configured and not in the catalog."""
    names = (name for name in config.tables if not is_pattern(name))
    return next((name for name in names if name not in catalog), None)


def _named(catalog: Catalog | None, name: str) -> Sequence[TableInfo]:
    """The tables that one entry of `tables` stands for."""
    if catalog is not None and name in catalog:
        return [catalog[name]]
    if not is_pattern(name):
        return [TableInfo(name)]
    if catalog is None:
        raise ConfigError(
            f"the tables that {name!r} stands for are not known yet",
            hint="`millstream discover` asks the database once and keeps the answer beside "
            "defs.yaml",
        )
    found = [each for each in catalog.values() if fnmatchcase(each.name, name)]
    if not found:
        raise ConfigError(
            f"`tables`: {name!r} matches no table",
            hint=f"{did_you_mean(name, catalog)} `millstream discover` asks the database anew",
        )
    return found


def ask(connection: sa.Connection, schema: str | None) -> Catalog:
    """The tables and views of a schema, without the partitions of a table.

    Raises:
        SourceNotFoundError: there is no such schema.
    """
    import sqlalchemy as sa
    from sqlalchemy.engine.reflection import ObjectKind

    inspector = sa.inspect(connection)
    if schema is not None and schema not in (known := inspector.get_schema_names()):
        raise SourceNotFoundError(
            f"no such schema: {schema}", hint=did_you_mean(schema, known, "this user sees none")
        )
    with unknown_types_are_texts():
        views = {name for _, name in inspector.get_multi_columns(schema, kind=ObjectKind.ANY_VIEW)}
        keys = inspector.get_multi_pk_constraint(schema, kind=ObjectKind.ANY)
        described = inspector.get_multi_columns(schema, kind=ObjectKind.ANY)
    hidden = _partitions(connection, schema)
    found = {}
    for place, columns in described.items():
        name = place[1]
        if name.startswith(_OWN) or name in hidden:
            continue
        key: Any = keys.get(place) or {}
        found[name] = TableInfo(
            name,
            "view" if name in views else "table",
            tuple(key.get("constrained_columns") or ()),
            {each["name"]: _type(each["type"], connection) for each in columns},
            tuple(each["name"] for each in columns if isinstance(each["type"], sa.ARRAY)),
        )
    return {name: found[name] for name in sorted(found)}


def names(connection: sa.Connection, schema: str | None) -> Iterable[str]:
    """What may be read, by name alone."""
    import sqlalchemy as sa

    inspector = sa.inspect(connection)
    return [*inspector.get_table_names(schema), *inspector.get_view_names(schema)]


def save(catalog: Catalog, folder: Path) -> Path:
    """Write the catalog beside `defs.yaml`, in an order that keeps differences small.

    Raises:
        ConfigError: the folder can't be written.
    """
    content = {
        name: {
            "kind": each.kind,
            "primary_key": list(each.primary_key),
            "columns": dict(each.columns),
            **({"lists": list(each.lists)} if each.lists else {}),
        }
        for name, each in catalog.items()
    }
    return catalog_file.write(folder / FILE, "the database", {"tables": content})


def load(folder: Path | None) -> Catalog | None:
    """The catalog beside `defs.yaml`; None where nothing was discovered yet.

    Raises:
        ConfigError: the file is not one.
    """
    if folder is None:
        return None

    def made(content: Any) -> Catalog:
        return {
            name: TableInfo(
                name,
                found["kind"],
                tuple(found.get("primary_key") or ()),
                dict(found["columns"]),
                tuple(found.get("lists") or ()),
            )
            for name, found in content["tables"].items()
        }

    return catalog_file.read(folder / FILE, "tables", made)


def _type(sql_type: Any, connection: sa.Connection) -> str:
    from sqlalchemy.exc import CompileError

    try:
        return str(sql_type.compile(dialect=connection.dialect))
    except CompileError:  # one that SQLAlchemy does not know
        return "unknown"


def _partitions(connection: sa.Connection, schema: str | None) -> frozenset[str]:
    """Tables of PostgreSQL that hold a part of another's rows."""
    import sqlalchemy as sa

    if connection.dialect.name != "postgresql":
        return frozenset()
    rows = connection.execute(
        sa.text(
            "SELECT c.relname FROM pg_catalog.pg_class c "
            "JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace "
            "WHERE c.relispartition AND n.nspname = COALESCE(:schema, current_schema())"
        ),
        {"schema": schema},
    )
    return frozenset(row[0] for row in rows)
