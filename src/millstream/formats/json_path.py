"""Where values lie in the JSON, as far as dlt's normalized names still tell."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any

KEY_PATH = "x-key-path"
"""A hint of a column, or of a child table: the names of the keys that lead to it from its row,
where one of them has a separator of its own."""

_PLAIN_KEY = re.compile(r"[\w$@/:-]+( [\w$@/:-]+)*")
"""Keys that stand in a path without quotes."""

_KEY = re.compile(r'(?:("(?:[^"\\]|\\.)*")(?:\[\])*|([^.]*))\.')
"""A key of a path, in quotes or without, up to the dot behind it."""

LIST_ITEM = "value"
"""dlt's name for the column that holds a list's items when these are not objects."""


def variant_base(name: str, data_type: str, separator: str = "__") -> str:
    """The column that a variant belongs to.

    >>> variant_base("n__v_text", "text")
    'n'
    """
    # a long name is cut and tagged by dlt's naming: then the suffix is not there to be found
    suffix = f"{separator}v_{data_type}"
    return name[: -len(suffix)] if name.endswith(suffix) else name.split(f"{separator}v_")[0]


def list_path(
    table: str, child: str, separator: str = "__", hints: Mapping[str, Any] | None = None
) -> str:
    """The JSON path of a child table's rows within a row of its parent.

    Args:
        hints: of the child table, as dlt's schema has it.

    >>> list_path("issues", "issues__user__emails")
    'user.emails[].'
    """
    if keys := (hints or {}).get(KEY_PATH):
        return f"{'.'.join(keys)}[]."
    field = child.removeprefix(f"{table}{separator}")
    return f"{field.replace(separator, '.')}[]."


def json_path(
    prefix: str, column: str, separator: str = "__", hints: Mapping[str, Any] | None = None
) -> str:
    """The JSON path of a column.

    Args:
        prefix: the path of its table's rows.
        hints: of the column, as dlt's schema has it.

    >>> json_path("", "user__login"), json_path("labels[].", "name"), json_path("tags[].", "value")
    ('user.login', 'labels[].name', 'tags[]')
    """
    if keys := (hints or {}).get(KEY_PATH):
        return prefix + ".".join(keys)
    if prefix and column == LIST_ITEM:
        return prefix.removesuffix(".")
    return prefix + column.replace(separator, ".")


def rows_path(tables: Mapping[str, Any], root: str, table: str, separator: str = "__") -> str:
    """The JSON path of a table's rows within a row of its root table.

    Args:
        tables: of a dlt schema; `table` itself may be none of them yet.

    >>> tables = {"orders__lines": {"parent": "orders"}}
    >>> rows_path(tables, "orders", "orders__lines__parts"), rows_path(tables, "orders", "orders")
    ('lines[].parts[].', '')
    """
    if table == root:
        return ""
    hints = tables.get(table, {})
    parent = hints.get("parent")
    if not parent:
        above = [name for name in tables if table.startswith(f"{name}{separator}")]
        parent = max((root, *above), key=len)
    lists = list_path(parent, table, separator, hints)
    return rows_path(tables, root, parent, separator) + lists


def spelled(path: str, key_of: Callable[[tuple[str, ...], str], str]) -> str:
    """A JSON path by the keys as the source has them; in quotes, where a key would be misread.

    Args:
        key_of: the key by the names that lead to it, whether objects or lists lie between them;
            or the name, which is given behind them.

    >>> keys = {("orders",): "Orders", ("orders", "id"): "orderId", ("orders", "v_1"): "v.1"}
    >>> spelled("orders[].id", keys.get), spelled("orders[2].v_1", keys.get)
    ('Orders[].orderId', 'Orders[2]."v.1"')
    """
    found: list[str] = []
    names: tuple[str, ...] = ()
    for part in path.split("."):
        name = part.partition("[")[0]
        names = (*names, name)
        key = key_of(names, name)
        if not _PLAIN_KEY.fullmatch(key):
            text = json.dumps(key, ensure_ascii=not key.isprintable())
            key = text.replace("[", "\\u005b")  # none but a list's is followed by a dot
        found.append(key + part[len(name) :])
    return ".".join(found)


def keys_of(path: str) -> list[str]:
    """The keys of a JSON path, as `spelled` or a person writes it.

    >>> keys_of('users[].email'), keys_of('"user.mail"[].at')
    (['users', 'email'], ['user.mail', 'at'])

    Raises:
        ValueError: what stands in quotes is not a JSON string.
    """
    return [
        json.loads(each[1], strict=False) if each[1] else each[2].replace("[]", "")
        for each in _KEY.finditer(f"{path}.")
    ]


def source_keys(path: str, source_path: str) -> str | None:
    """The keys at the end of a JSON path as the source has them, where the names are others.

    >>> source_keys("lines[].unit_price", "Lines[].unitPrice"), source_keys("ids[]", "Ids[]")
    ('unitPrice', None)
    """
    found = source_path.rpartition("[].")[2]
    return None if path.endswith("[]") or found == path.rpartition("[].")[2] else found or None


def own_keys(path: str, name: str, separator: str = "__") -> str | None:
    """The keys at the end of a JSON path, where the name alone would be split into others.

    >>> own_keys("labels[].color__code", "color__code"), own_keys("user.login", "user__login")
    ('color__code', None)
    """
    keys = path.rpartition("[].")[2]
    split = name.split(separator)
    return keys if keys.split(".") != split and keys.replace(".", separator) == name else None


def list_keys(columns: Iterable[str], table: str, child: str, separator: str = "__") -> str | None:
    """As `own_keys`, of a list, by the JSON paths of its table's columns."""
    path = next((path for path in columns if "[]" in path), "").rpartition("[]")[0]
    return own_keys(path, child.removeprefix(f"{table}{separator}"), separator)


def list_source_keys(columns: Iterable[tuple[str, str]]) -> str | None:
    """As `source_keys`, of a list, by both paths of its table's columns."""
    for path, source_path in columns:
        if "[]" in path and source_path:
            return source_keys(path.rpartition("[]")[0], source_path.rpartition("[]")[0])
    return None
