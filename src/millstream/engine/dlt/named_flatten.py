"""dlt's flattening of one row, with names that `key_names` and the destination decide."""

from __future__ import annotations

from typing import Any

from millstream.formats.key_names import KeyNames
from millstream.formats.system_columns import free_column, has_any


def name_keys(normalizer: Any, names: KeyNames, dialect: str | None) -> None:
    """Let dlt's relational normalizer call the keys of a root table's rows by these names.

    Args:
        normalizer: dlt's `DataItemNormalizer`, of one schema; other roots keep dlt's names.
        dialect: of the destination's SQL; it refuses some names.
    """
    as_before: Any = type(normalizer)._flatten

    def flatten(table: str, dict_row: dict[str, Any], level: int) -> Any:
        base = names.paths.get(table)
        if base is None:
            return as_before(normalizer, table, dict_row, level)
        is_whole, shorten = normalizer._is_nested_type, normalizer._shorten_fragments
        row: dict[str, Any] = {}
        lists: dict[tuple[str, ...], Any] = {}
        todo: list[tuple[dict[str, Any], int, tuple[str, ...]]] = [(dict_row, level, ())]
        while todo:
            current, left, path = todo.pop()
            known = names.scope((*base, *path))
            if not current.keys() <= known.keys():
                names.decide((*base, *path), current)
            for key, value in current.items():
                here = (*path, known[key])
                name = shorten(*here)
                kind = type(value)
                if kind is dict and not is_whole(table, name, left):
                    todo.append((value, left - 1, here))
                elif kind is list and not is_whole(table, name, left):
                    lists[here] = value
                    below = (*base, *here)
                    names.paths[shorten(names.root, *below)] = below
                else:
                    row[free_column(name, dialect)] = value
        return row, lists

    normalizer._flatten = flatten


def keep_columns_free(normalizer: Any, dialect: str | None) -> None:
    """Let dlt's normalizer call no column by a name that the destination refuses."""
    if not has_any(dialect) or "_flatten" in vars(normalizer):
        return
    as_before: Any = type(normalizer)._flatten

    def flatten(table: str, dict_row: dict[str, Any], level: int) -> Any:
        row, lists = as_before(normalizer, table, dict_row, level)
        refused = [name for name in row if free_column(name, dialect) != name]
        for name in refused:
            row[free_column(name, dialect)] = row.pop(name)
        return row, lists

    normalizer._flatten = flatten
