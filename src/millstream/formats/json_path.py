"""Where values lie in the JSON, as far as dlt's normalized names still tell."""

from __future__ import annotations

from collections.abc import Iterable

KEY_PATH = "x-key-path"
"""A hint of a column, or of a child table: the names of the keys that lead to it from its row,
where one of them has a separator of its own."""

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


def list_path(table: str, child: str, separator: str = "__") -> str:
    """The JSON path of a child table's rows within a row of its parent.

    >>> list_path("issues", "issues__user__emails")
    'user.emails[].'
    """
    field = child.removeprefix(f"{table}{separator}")
    return f"{field.replace(separator, '.')}[]."


def json_path(prefix: str, column: str, separator: str = "__") -> str:
    """The JSON path of a column.

    >>> json_path("", "user__login"), json_path("labels[].", "name"), json_path("tags[].", "value")
    ('user.login', 'labels[].name', 'tags[]')
    """
    if prefix and column == LIST_ITEM:
        return prefix.removesuffix(".")
    return prefix + column.replace(separator, ".")


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
