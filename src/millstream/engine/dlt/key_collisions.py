"""Keys of one row that become one column or one table: dlt keeps the last one's value.

`Id` and `id` are such keys, and so are `a b` and `a.b`, or `a__b` and the `b` of an object `a`. The
columnar pass leaves them to dlt's own code; whoever runs that counts here what is lost, so that
somebody can be told. Only what dlt sources yield has such keys: for all others `key_names` decides.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

_REMEMBERED = 10_000
_NESTED = (dict, list)


class Collision(NamedTuple):
    """Two keys, dots between levels, and what both become."""

    table: str
    what: str
    """`column` or `table`."""
    name: str
    keys: tuple[str, str]


class Finder:
    """Finds them as dlt's relational normalizer comes upon them; for one schema.

    A row with two lists of different paths in one table (`a__b`, and `b` in `a`) is refused before:
    `row_refusals`.
    """

    def __init__(self, normalizer: Any) -> None:
        self._normalizer = normalizer
        self._apart: dict[tuple[str, ...], bool] = {}

    def suspects(self, rows: Sequence[Any]) -> list[Any]:
        """The rows in which two keys of one object may share a name. One look-up an object."""
        return [row for row in rows if not self._all_apart(row)]

    def count(self, root: str, rows: Sequence[Any]) -> Mapping[Collision, int]:
        """How many values, or lists, are lost when dlt normalizes these rows."""
        found: Counter[Collision] = Counter()
        normalizer = self._normalizer
        flatten = normalizer._flatten

        def noticing(table: str, row: Any, level: int) -> Any:
            found.update(self._in_one(table, row, level))
            return flatten(table, row, level)

        normalizer._flatten = noticing
        try:
            level = normalizer._get_table_nesting_level(root, normalizer.max_nesting)
            for each in rows:
                # dlt wraps what is not an object
                row = each if type(each) is dict else {normalizer.c_value: each}
                for _ in normalizer._normalize_row(row, {}, (root,), _r_lvl=level, is_root=True):
                    pass
        finally:
            del normalizer._flatten
        return found

    def _all_apart(self, row: Any) -> bool:
        todo = [row]
        while todo:
            value = todo.pop()
            if type(value) is dict:
                keys = tuple(value)
                apart = self._apart.get(keys)
                if apart is None:
                    names = {*map(self._name, keys)}
                    # a name with `__` may meet one that two levels make
                    apart = len(names) == len(keys) and not any("__" in name for name in names)
                    if len(self._apart) < _REMEMBERED:
                        self._apart[keys] = apart
                if not apart:
                    return False
                value = value.values()
            elif type(value) is not list:
                continue
            todo += [each for each in value if type(each) in _NESTED]
        return True

    def _in_one(self, table: str, row: Any, level: int) -> Iterator[Collision]:
        """What `_flatten` writes over, in its own order."""
        normalizer = self._normalizer
        seen: dict[tuple[str, ...], tuple[str, Any]] = {}
        stack: list[tuple[Any, int, tuple[str, ...], str]] = [(row, level, (), "")]
        while stack:
            current, level, path, above = stack.pop()
            for key, value in current.items():
                own = self._name(key)
                name = normalizer._shorten_fragments(*path, own) if path else own
                at: tuple[str, ...] = (name,)
                whole = type(value) not in _NESTED or normalizer._is_nested_type(table, name, level)
                if not whole and type(value) is dict:
                    stack.append((value, level - 1, (*path, own), f"{above}{key}."))
                    continue
                if not whole:
                    at = ("", *path, normalizer._normalize_table_identifier(key))
                    name = normalizer._shorten_fragments(table, *at[1:])
                before, lost = seen.get(at, ("", None))
                seen[at] = (f"{above}{key}", value)
                if lost is not None and lost != [] and (type(lost), lost) != (type(value), value):
                    first, second = sorted((before, f"{above}{key}"))
                    yield Collision(table, "column" if whole else "table", name, (first, second))

    def _name(self, key: str) -> str:
        blank = not key or key.isspace()
        normalizer = self._normalizer
        name = normalizer.EMPTY_KEY_IDENTIFIER if blank else normalizer._normalize_identifier(key)
        return str(name)


def describe_collisions(found: Mapping[Collision, int]) -> Iterator[str]:
    """A sentence for each two keys."""
    for (table, what, name, (first, second)), count in found.items():
        one = "value" if what == "column" else "list"
        lost = f"1 {one} was lost" if count == 1 else f"{count:,} {one}s were lost"
        yield (
            f"{table}: {lost}: `{first}` and `{second}` become the {what} `{name}`, and only the "
            "last one's value is kept; rename one of them at the source"
        )
