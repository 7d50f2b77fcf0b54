"""Names that a destination has columns of its own by, or refuses for columns.

`xmin` is a coordinate in many rows, and a system column of each PostgreSQL table. A column that
would be called so gets a digest, as the column of a key does whose name another key has. Objects
and tables keep their names: `box__xmin` is free.
"""

from __future__ import annotations

from collections.abc import Mapping
from hashlib import sha1

# https://www.postgresql.org/docs/current/ddl-system-columns.html
_POSTGRES = frozenset({"tableoid", "xmin", "cmin", "xmax", "cmax", "ctid"})
_NAMES: Mapping[str, frozenset[str]] = {
    "postgres": _POSTGRES,
    # https://docs.aws.amazon.com/redshift/latest/dg/c_unsupported-postgresql-features.html
    "redshift": _POSTGRES | {"oid"},
}
# https://cloud.google.com/bigquery/docs/schemas#column_names
_PREFIXES: Mapping[str, tuple[str, ...]] = {
    "bigquery": (
        "_table_",
        "_file_",
        "_partition",
        "_row_timestamp",
        "__root__",
        "_colidentifier",
        "_change_sequence_number",
        "_change_type",
        "_change_timestamp",
    )
}


def has_any(dialect: str | None) -> bool:
    """Whether a destination, by its SQL dialect as dlt names it, refuses names at all."""
    return dialect in _NAMES or dialect in _PREFIXES


def free_column(name: str, dialect: str | None) -> str:
    """A column's name, or another where the destination refuses this one.

    >>> free_column("xmin", "duckdb"), free_column("xmin", "postgres")
    ('xmin', 'xmin_x2e15ed')
    >>> free_column("_partition_date", "bigquery")
    'x_partition_date_xa99af7'
    """
    if dialect is None:
        return name
    if name in _NAMES.get(dialect, ()):
        return f"{name}_x{_digest(name)}"
    if name.casefold().startswith(_PREFIXES.get(dialect, ())):
        return f"x{name}_x{_digest(name)}"
    return name


def _digest(name: str) -> str:
    return sha1(name.encode(), usedforsecurity=False).hexdigest()[:6]
