"""Which table was read: by what the database calls it inside, where it has such a number.

PostgreSQL numbers its clusters, databases and tables: a table that is dropped and created again is
another one, a renamed host or role changes nothing. A view is known by its definition. Elsewhere
the address decides: of SQLite the file, from the project on.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, MutableMapping
from datetime import date, datetime
from decimal import Decimal
from hashlib import sha1
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy.exc import DBAPIError

from millstream.sources import findings
from millstream.sources.file_listing import key_of
from millstream.sources.typed_columns import Column

_POSTGRES = """
SELECT CAST((SELECT system_identifier FROM pg_control_system()) AS text),
       CAST((SELECT oid FROM pg_database WHERE datname = current_database()) AS text),
       CASE WHEN c.relkind IN ('v', 'm') THEN md5(pg_get_viewdef(c.oid))
       ELSE CAST(c.oid AS text) END
FROM pg_class c WHERE c.oid = to_regclass(:name)
"""
_STATE = "table"
_KEYLESS = "keyless"
"""In the state of a table without a key, which each run replaces."""


def identify(connection: sa.Connection, table: sa.Table, project: Path) -> str:
    """What the state of a table is kept for; the same for as long as it is the same table."""
    name = connection.dialect.identifier_preparer.format_table(table)
    if connection.dialect.name == "postgresql":
        try:
            with connection.begin_nested():
                found = connection.execute(sa.text(_POSTGRES), {"name": name}).first()
        except DBAPIError:  # what speaks its protocol, such as CockroachDB, has no such numbers
            found = None
        if found is not None and all(found):
            return "/".join(("postgresql", *found))
    url = connection.engine.url
    if url.get_backend_name() == "sqlite" and url.database:
        place = key_of(f"file://{Path(url.database).absolute()}", project)
    else:
        place = f"{(url.host or '').lower()}:{url.port or ''}/{url.database or ''}"
    # a hash, as the state is kept in the destination
    return sha1(
        f"{url.get_backend_name()} {place} {name}".encode(), usedforsecurity=False
    ).hexdigest()


_TYPES: Mapping[str, tuple[type, ...]] = {
    "bigint": (int, float, Decimal),
    "double": (int, float, Decimal),
    "decimal": (int, float, Decimal),
    "timestamp": (datetime,),
    "date": (date,),
    "text": (str,),
}
"""By the kind of a cursor's column, what its values may be."""


def has_order(cursor: Column, value: Any) -> bool:
    """Whether a value compares with others of the cursor's column."""
    is_day = isinstance(value, date) and not isinstance(value, datetime)
    return isinstance(value, _TYPES[cursor.kind]) and is_day == (cursor.kind == "date")


def settle(
    what: str, disposition: str, identity: str, cursor: Column | None, *, has_key: bool
) -> Callable[[MutableMapping[str, Any]], bool]:
    """What looks at the state before a table is read, any number of times.

    It forgets the cursor of another table, or a value that its column can't be compared with, and
    says whether the rows replace those of another table, or of this one from before it had a key.
    """
    replaces = False

    def look(state: MutableMapping[str, Any]) -> bool:
        nonlocal replaces
        known = state.get(_STATE)
        state[_STATE] = identity
        if known not in (None, identity):
            state.pop("incremental", None)
            replaces = disposition == "merge"
            findings.warn(
                f"{what}: earlier runs read another table: the database is another one, or the "
                "table was dropped and created again. All of it is read, and "
                + (
                    "replaces the rows in the destination"
                    if replaces
                    else f"the rows are loaded by `{disposition}`"
                )
            )
        elif state.get(_KEYLESS) and disposition == "merge":
            replaces = True
            findings.warn(
                f"{what}: it has a primary key now, which the rows in the destination were loaded "
                "without: all of it is read, and replaces them"
            )
        if disposition == "replace" and not has_key:
            state[_KEYLESS] = True
        else:
            state.pop(_KEYLESS, None)
        cursors = state.get("incremental", {})
        last = cursors.get(cursor.name, {}).get("last_value") if cursor is not None else None
        if cursor is not None and last is not None and not has_order(cursor, last):
            del cursors[cursor.name]
            findings.warn(
                f"{what}: the cursor `{cursor.source}` is {cursor.kind} now, which can't "
                "be compared with the last run's highest value; all rows are read"
            )
        return replaces

    return look
